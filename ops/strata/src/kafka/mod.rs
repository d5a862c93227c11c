//! Kafka as the operator's tool needs it: a range of a topic.

mod range;

pub use range::read_ranges;
