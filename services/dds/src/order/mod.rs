//! Orders: spread over the vault; what becomes countable is announced.

pub mod handler;
mod states;
