//! A consumer that tells about its assignment instead of starting to read by itself.
//!
//! librdkafka would begin at Kafka's committed offset; here the loop first asks the store where it
//! stands and only then starts the partitions. Assignments and revocations arrive inside `poll`, on
//! the loop's own thread, when no batch is in hand.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use serde::Deserialize;

use crate::connection::{self, Refusals};
use crate::failure::kafka_refusal;
use crate::metrics::lag::Lag;
use crate::record::Record;
use crate::seams::{Assignment, Collected, Pace, Source};
use strata_service::config::{BatchSettings, KafkaSettings};

/// Longest wait for a first record; bounds how late a stop is noticed.
const IDLE_POLL: Duration = Duration::from_millis(100);

/// Time between two commits to Kafka while batch follows batch: lag monitors look no closer.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// From this share of a full batch on, one is large: much arrives, and waiting makes fewer writes of it.
const LARGE: usize = 16;

struct Context {
    assignment: Mutex<Assignment>,
    lag: Lag,
    refusals: Refusals,
    /// What Kafka denies us, until it gives partitions.
    denied: Mutex<Option<&'static str>>,
}

/// The part of librdkafka's statistics that is used here.
///
/// **Source**: librdkafka, STATISTICS.md.
#[derive(Deserialize)]
struct Statistics {
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    partitions: BTreeMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    partition: i32,
    /// Negative until it is known.
    hi_offset: i64,
}

impl Context {
    fn change(&self, partitions: Option<Vec<i32>>) {
        if partitions.is_none() {
            self.lag.revoked();
        }
        if partitions.is_some() {
            *self.denied() = None;
        }
        let mut assignment = self.lock();
        assignment.epoch += 1;
        assignment.partitions = partitions;
    }

    fn denied(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.refusals.heard(&error, reason);
    }

    /// Learns where the partitions end, without a question of its own to Kafka.
    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        for own in statistics.topics.values().flat_map(|topic| topic.partitions.values()) {
            self.lag.reached(own.partition, own.hi_offset);
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let mut partitions: Vec<i32> = list.elements().iter().map(|e| e.partition()).collect();
            partitions.sort_unstable();
            self.change(Some(partitions));
            return;
        }
        self.change(None);
        if let Err(e) = consumer.unassign() {
            tracing::error!(error = %e, "partitions cannot be given back");
        }
    }
}

/// A consumer of one topic.
pub struct Consumer {
    topic: Arc<str>,
    consumer: BaseConsumer<Context>,
    /// When Kafka was last told where we stand.
    committed: Instant,
    /// Whether we have moved since.
    moved: bool,
}

impl Consumer {
    /// Joins the group.
    ///
    /// `refusals` take what the consumer hears against its connection.
    pub fn subscribe(
        settings: &KafkaSettings,
        group: &str,
        topic: &str,
        refusals: Refusals,
    ) -> KafkaResult<Self> {
        let context =
            Context { assignment: Mutex::default(), lag: Lag::of(topic), refusals, denied: Mutex::default() };
        let consumer = connect(settings, group, context)?;
        consumer.subscribe(&[topic])?;
        Ok(Self { topic: topic.into(), consumer, committed: Instant::now(), moved: false })
    }

    fn list(&self, offsets: impl Iterator<Item = (i32, i64)>) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        Ok(list)
    }

    fn assignment_changed(&self, epoch: u64) -> bool {
        self.consumer.context().lock().epoch != epoch
    }
}

impl Source for Consumer {
    fn leave(&self) {
        self.consumer.unsubscribe();
    }

    fn assignment(&self) -> Assignment {
        self.consumer.context().lock().clone()
    }

    fn lag(&self) -> &Lag {
        &self.consumer.context().lag
    }

    fn idle(&self, duration: Duration) {
        let end = Instant::now() + duration;
        loop {
            let wait = end.saturating_duration_since(Instant::now()).min(IDLE_POLL);
            if let Some(Err(error)) = self.consumer.poll(wait)
                && let Some(denied) = denial(&error)
            {
                *self.consumer.context().denied() = Some(denied);
            }
            if Instant::now() >= end {
                return;
            }
        }
    }

    fn denied(&self) -> Option<&'static str> {
        *self.consumer.context().denied()
    }

    /// Resumed before they are assigned, never after: an assignment starts its fetchers on librdkafka's own
    /// thread, and a resume that overtakes one puts the partition's version back, so that all it fetches
    /// counts as outdated and is dropped without a word (librdkafka 2.12, about one start in a thousand).
    ///
    /// Asks for the assignment afterwards, which is answered when running fetchers have been told to stop: a
    /// rebalance that came before would have them stopped twice, and librdkafka aborts the process over the
    /// second answer (its issue 5573, fixed after the release that rdkafka builds).
    fn start_at(&self, offsets: &BTreeMap<i32, i64>) -> anyhow::Result<()> {
        let list = self.list(offsets.iter().map(|(&partition, &offset)| (partition, offset)))?;
        self.consumer.resume(&list)?;
        self.consumer.assign(&list)?;
        self.consumer.assignment()?;
        Ok(())
    }

    fn pause(&self) {
        if let Err(e) = self.consumer.assignment().and_then(|list| self.consumer.pause(&list)) {
            tracing::debug!(error = %e, "partitions cannot be paused");
        }
    }

    fn mute(&self, partitions: impl Iterator<Item = i32>) {
        let list = self.list(partitions.map(|partition| (partition, 0)));
        if let Err(e) = list.and_then(|list| self.consumer.pause(&list)) {
            tracing::debug!(error = %e, "partitions cannot be muted");
        }
    }

    fn watermarks(&self, partition: i32, within: Duration) -> anyhow::Result<(i64, i64)> {
        let marks = self.consumer.fetch_watermarks(&self.topic, partition, within)?;
        self.consumer.context().refusals.over();
        self.lag().reached(partition, marks.1);
        Ok(marks)
    }

    fn commit(&mut self, positions: &BTreeMap<i32, i64>, pace: Pace) {
        self.moved |= pace == Pace::Busy;
        if !self.moved || (pace == Pace::Busy && self.committed.elapsed() < COMMIT_EVERY) {
            return;
        }
        (self.moved, self.committed) = (false, Instant::now());
        let list = self.list(positions.iter().map(|(&partition, &offset)| (partition, offset)));
        if let Err(e) = list.and_then(|list| self.consumer.commit(&list, CommitMode::Async)) {
            tracing::debug!(error = %e, "offsets for lag monitors were not taken");
        }
    }

    fn collect(&self, limits: &BatchSettings, epoch: u64) -> Collected {
        let mut records = Vec::new();
        let (mut bytes, mut deadline, mut patience) = (0, None::<Instant>, limits.patience);
        let large = (limits.max_rows / LARGE).max(1);
        while records.len() < limits.max_rows && bytes < limits.max_bytes {
            // In whole milliseconds, and one more: the client would spin through a part of one.
            let wait = deadline.map_or(IDLE_POLL, |end| {
                let left = end.saturating_duration_since(Instant::now());
                Duration::from_millis(left.as_millis() as u64 + u64::from(!left.is_zero()))
            });
            let polled = self.consumer.poll(wait);
            if self.assignment_changed(epoch) {
                return Collected::Records(Vec::new());
            }
            match polled {
                Some(Ok(message)) => {
                    let record = Record::copy(&self.topic, &message);
                    bytes += record.payload.len();
                    records.push(record);
                    deadline.get_or_insert_with(|| Instant::now() + limits.linger);
                }
                Some(Err(error)) if is_out_of_range(&error) => return Collected::OutOfRange,
                Some(Err(error)) if denial(&error).is_some() => return Collected::Denied(error.into()),
                Some(Err(error)) => tracing::debug!(error = %error, "kafka consumer"),
                None if deadline.is_some_and(|end| Instant::now() < end) => {}
                None if !patience.is_zero() && records.len() >= large => {
                    deadline = Some(Instant::now() + mem::take(&mut patience));
                }
                None => break,
            }
        }
        Collected::Records(records)
    }
}

fn connect(settings: &KafkaSettings, group: &str, context: Context) -> KafkaResult<BaseConsumer<Context>> {
    connection::client(settings)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // The store decides where to start; an offset that is gone must be an error.
        .set("auto.offset.reset", "error")
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", settings.session_timeout_ms.to_string())
        .set("heartbeat.interval.ms", (settings.session_timeout_ms / 4).to_string())
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "100")
        // Read ahead little: a fetched chunk is unpacked as a whole, and what waits there is resident.
        .set("fetch.message.max.bytes", "131072")
        .set("queued.max.messages.kbytes", "1024")
        // Soon, for the leaders of a failover, and for partitions that are added.
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("statistics.interval.ms", "1000")
        .create_with_context(context)
}

/// What an error denies us; a topic that is not there yet is no denial.
fn denial(error: &KafkaError) -> Option<&'static str> {
    let code = error.rdkafka_error_code()?;
    let is_denial = matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed
    );
    is_denial.then(|| kafka_refusal(error)).flatten()
}

fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}

#[cfg(test)]
mod tests {
    use rdkafka::admin::{AdminClient, AdminOptions};
    use rdkafka::client::DefaultClientContext;
    use uuid::Uuid;

    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaApiKey;

    use super::*;
    use crate::admin::ensure_topics;
    use strata_service::config::Settings;

    #[test]
    fn a_group_that_kafka_denies_is_told_instead_of_waited_for() {
        // GIVEN a Kafka that denies our user the group; a real one would need users
        let kafka = MockCluster::new(1).expect("a mock of Kafka");
        kafka.create_topic("denied", 1, 1).expect("a topic");
        let denied = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 100];
        kafka.request_errors(RDKafkaApiKey::FindCoordinator, &denied);
        kafka.request_errors(RDKafkaApiKey::JoinGroup, &denied);
        let brokers = kafka.bootstrap_servers();
        let lookup = |name: &str| (name == "KAFKA_BROKERS").then(|| brokers.clone());
        let settings = Settings::from_lookup("STG_PORT", lookup).expect("settings fit").kafka;
        // WHEN a consumer joins it
        let source =
            Consumer::subscribe(&settings, "denied", "denied", Refusals::new(&settings)).expect("a consumer");
        // THEN it hears so
        let deadline = Instant::now() + Duration::from_secs(30);
        while source.denied().is_none() {
            assert!(Instant::now() < deadline, "nothing was denied");
            source.idle(IDLE_POLL);
        }
        assert!(source.denied().is_some_and(|words| words.contains("consumer group")));
    }

    /// Without the question after an assignment, librdkafka aborts within a few hundred of these.
    const ROUNDS: usize = 2000;

    #[tokio::test]
    async fn partitions_that_are_revoked_right_after_a_new_start_do_not_abort_the_process() {
        // GIVEN a consumer of a topic
        let settings = Settings::from_env("STG_PORT").expect("settings fit").kafka;
        let topic = format!("restarts_{}", Uuid::new_v4());
        ensure_topics(&settings, std::slice::from_ref(&topic))
            .await
            .expect("kafka does not answer: make servers");
        let source =
            Consumer::subscribe(&settings, &topic, &topic, Refusals::new(&settings)).expect("a consumer");
        while source.assignment().partitions.is_none() {
            source.idle(IDLE_POLL);
        }
        // WHEN its running partitions are started again and taken away at once
        let start = || source.start_at(&(0..settings.partitions).map(|partition| (partition, 0)).collect());
        for _ in 0..ROUNDS {
            start().expect("a start");
            start().expect("a start of what runs");
            source.consumer.unassign().expect("a revocation");
            source.idle(Duration::ZERO);
        }
        // THEN it is alive and starts once more
        start().expect("a start");
        drop(source);
        let admin: AdminClient<DefaultClientContext> =
            connection::client(&settings).create().expect("a client");
        admin.delete_topics(&[&topic], &AdminOptions::new()).await.expect("the topic is gone");
    }
}
