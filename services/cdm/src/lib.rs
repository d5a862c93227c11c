//! Data marts. Reads what became countable, adds it to the counters of users, and serves them.
//!
//! Guarantee: a counter is not idempotent by nature, so the last applied origin is kept beside the offset,
//! in the same transaction; a message that comes again, from a resend or a replay, is skipped. The hotel
//! metrics do the same in Redis, see [`metrics`].

pub mod api;
pub mod app;
pub mod handler;
pub mod metrics;
pub mod store;
