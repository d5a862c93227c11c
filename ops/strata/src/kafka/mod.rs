//! Kafka as the operator's tool needs it: a range of a topic, and where a key goes.

mod partitioner;
mod range;

pub use partitioner::partition_of;
pub use range::read_ranges;
