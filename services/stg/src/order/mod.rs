//! Orders: enriched from the reference data, the newest version staged.

pub mod handler;
pub mod store;
