//! What each stream means, without I/O: one folder per stream, with enrichment and cleaning, rows of the vault, what
//! becomes countable, and the folds.
//!
//! A service brings the servers: it reads and writes what is decided here, and so do `strata rebuild` and
//! `strata reconcile`.

pub mod hotel_search;
pub mod order;
pub mod vault;
