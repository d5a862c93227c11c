//! Data Vault layer. Reads enriched orders, cleaned searches and clicks, writes hubs, links and satellites in bulk,
//! insert-only, and tells cdm what became countable.
//!
//! Guarantee: whatever the order, duplication or concurrency of the input, the vault ends the same, and
//! every (order, user, product), every (order, user, category) and every search is announced exactly once.

pub mod app;
pub mod click;
mod hooks;
pub mod order;
pub mod search;
