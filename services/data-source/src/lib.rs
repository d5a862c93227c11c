//! Where events come from: generated on request, or sent by callers.
//!
//! **Input**: HTTP. **Output**: the first topic of every stream, and the reference data in Redis.
//! **Guarantee**: what is answered as pushed or accepted is kept by Kafka; what cannot be used is
//! published too, without a key, so that stg, the one place that keeps dead letters, finds it unusable
//! and keeps it.
//!
//! How a stream's events are made and checked is said in [`strata_streams::STREAMS`]; here are HTTP, pace and publishing.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test may panic"))]

pub mod app;
pub mod body;
pub mod context;
pub mod description;
pub mod ingest;
pub mod metrics;
pub mod pace;
pub mod publish;
pub mod push;
pub mod put;
pub mod reference;
pub mod request;
pub mod sent;
pub mod split;
pub mod summary;
