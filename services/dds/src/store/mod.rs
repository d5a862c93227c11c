//! Statements of the vault: one a table and batch, column arrays in, keys sorted.
//!
//! Statements of one shape differ only in names, so each shape is written once and the names are put in
//! at compile time.

pub mod hubs;
pub mod links;
pub mod orders;
pub mod satellites;
pub mod searches;
