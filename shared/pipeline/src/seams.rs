//! What the loop needs of Kafka: records in, outputs out. With other implementations it runs without one.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::error::KafkaError;

use crate::metrics::lag::Lag;
use crate::record::{Output, Record};
use strata_service::config::BatchSettings;

/// A member of a consumer group that reads one topic.
pub trait Source {
    /// The assignment in force; it changes within [`Self::idle`] and [`Self::collect`] only.
    fn assignment(&self) -> Assignment;

    /// What Kafka denies us while it gives no partitions, as a predicate of it.
    fn denied(&self) -> Option<&'static str>;

    /// Serves rebalances for about `duration` without taking records.
    fn idle(&self, duration: Duration);

    /// Starts the assigned partitions at these offsets.
    fn start_at(&self, offsets: &BTreeMap<i32, i64>) -> anyhow::Result<()>;

    /// Stops fetching, so that nothing piles up in memory while the store is away.
    fn pause(&self);

    /// First offset that Kafka holds, and the one after its last.
    fn watermarks(&self, partition: i32, within: Duration) -> anyhow::Result<(i64, i64)>;

    /// Takes what has arrived: at most a batch, waiting no longer than the linger after the first record, and
    /// with a large one no longer than the patience after that.
    ///
    /// Returns nothing of an assignment that changed meanwhile.
    fn collect(&self, limits: &BatchSettings, epoch: u64) -> Collected;

    /// Tells Kafka where we stand, for lag monitors only: while busy, once in a while.
    fn commit(&mut self, positions: &BTreeMap<i32, i64>, pace: Pace);

    /// How far the loop is behind, as `/metrics` shows it.
    fn lag(&self) -> &Lag;

    /// Has partitions bring nothing any more without a word, for a test.
    fn mute(&self, partitions: impl Iterator<Item = i32>);

    /// Has the group forget us, for a test.
    fn leave(&self);
}

/// Where outputs go.
pub trait Sink: Clone {
    /// Sends a batch and waits until Kafka holds all of it. What is sent again goes to the partition that it has.
    fn send_all(&self, outputs: &[Output]) -> impl Future<Output = Result<(), ProduceError>>;

    /// What Kafka has against our connection, as a predicate of it.
    fn refusal(&self) -> Option<String>;
}

/// What the group gave this consumer, counted up with every change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Grows with every assignment and revocation.
    pub epoch: u64,
    /// Partitions; none before the first assignment and after a revocation.
    pub partitions: Option<Vec<i32>>,
}

/// What one collection brought.
pub enum Collected {
    /// Records, possibly none.
    Records(Vec<Record>),
    /// Kafka does not hold the offset that was asked for.
    OutOfRange,
    /// Kafka does not let us read.
    Denied(anyhow::Error),
}

/// Whether a batch follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Batch follows batch.
    Busy,
    /// Nothing is there to be read.
    Idle,
}

/// A record that could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The broker or librdkafka refused it.
    #[error("kafka refused a record")]
    Refused(#[source] KafkaError),
    /// The topic has no such partition.
    #[error(
        "kafka has no partition {partition} of {topic}, to which outputs were committed: the topic was recreated with \
         fewer partitions, or is another one; add partitions to it until it has {}",
        partition + 1
    )]
    NoPartition {
        /// Topic concerned.
        topic: String,
        /// Partition that the outputs were kept for.
        partition: i32,
    },
}
