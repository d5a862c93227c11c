//! The order stream: stg → dds → cdm.

pub mod counters;
pub mod staged;
pub mod vault;
