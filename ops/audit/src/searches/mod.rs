//! The hotel-search stream: stg → dds → the metrics in Redis.

pub mod counted;
pub mod staged;
pub mod vault;
