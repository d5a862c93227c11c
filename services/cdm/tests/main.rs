//! The metrics against a real Redis.

mod metrics;
mod ranking;
mod support;
