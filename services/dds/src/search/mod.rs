//! Hotel searches: each one link with its offers, announced when the vault sees it first.

pub mod handler;
