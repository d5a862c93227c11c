//! Clicks: staged as received, cleaned.

pub mod handler;
pub mod store;
