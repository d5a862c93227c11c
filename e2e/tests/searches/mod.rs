//! The hotel-search stream, from the request to the metrics.

mod bad_input;
mod duplicates;
mod golden;
mod load;
mod log;
mod noticed;
mod partitions;
mod rebuild;
mod rest;
pub mod support;
