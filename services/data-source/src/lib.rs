//! Where events come from: generated on request, or sent by callers.
//!
//! **Input**: HTTP. **Output**: `stg_topic`, `raw_data_topic` and the reference data in Redis.
//! **Guarantee**: what is answered as pushed or accepted is kept by Kafka; what cannot be used is
//! published too, without a key, so that stg, the one place that keeps dead letters, finds it unusable
//! and keeps it.
//!
//! A stream is an entry of [`stream::STREAMS`]; the routes know nothing about orders or searches.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test may panic"))]

pub mod app;
pub mod body;
pub mod catalog;
pub mod ingest;
pub mod metrics;
pub mod order;
pub mod pace;
pub mod publish;
pub mod push;
pub mod put;
pub mod reference;
pub mod request;
pub mod search;
pub mod search_log;
pub mod skew;
pub mod split;
pub mod stream;
pub mod summary;
