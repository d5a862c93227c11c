//! Data Vault layer. Reads enriched events, writes hubs, links and satellites in bulk, insert-only, and
//! tells cdm what became countable.
//!
//! Guarantee: whatever the order, duplication or concurrency of the input, the vault ends the same, and
//! every (order, user, product) and (order, user, category) is announced exactly once.

pub mod app;
pub mod order;
pub mod rows;
pub mod store;
