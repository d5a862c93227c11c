//! The data marts: counters in a cloned Postgres and metrics in a real Redis, without Kafka and other stages.

mod counters;
mod metrics;
mod ranking;
mod support;
