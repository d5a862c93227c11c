//! Raw layer. Reads a stream's first topic, enriches every event from the reference data in Redis,
//! keeps the newest version in `stg.*` and passes the enriched event on to dds.
//!
//! Guarantee: rows, dead letters, outputs and the next offset commit together; a repeat changes nothing.

pub mod app;
pub mod order;
pub mod reference;
