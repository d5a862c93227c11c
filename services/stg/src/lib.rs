//! Raw layer. Reads a stream's first topic, keeps what it receives in `stg.*` and passes every event on
//! to dds: orders enriched from the reference data in Redis, searches cleaned.
//!
//! Guarantee: rows, dead letters, outputs and the next offset commit together; a repeat changes nothing.

pub mod app;
pub mod click;
pub mod order;
pub mod reference;
pub mod search;
