//! Clicks: staged as received, cleaned.

pub mod handler;
pub mod identified;
pub mod store;
