//! One stage with its handler on a database of its own, without Kafka: the loop itself, over topics in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage, Timestamp};
use sqlx::PgPool;
use strata_events::{StageId, StreamSpec};
use strata_pipeline::metrics::lag::Lag;
use strata_pipeline::seams::{Assignment, Collected, Pace, ProduceError, Sink, Source};
use strata_pipeline::stage::Stage;
use strata_pipeline::worker::turn_over;
use strata_pipeline::{Handler, LoopSettings, Output, Partitions, PgStage, Record};
use strata_service::config::{BatchSettings, Route};
use strata_service::{SchemaRegistry, Settings};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::database::TestDatabase;
use crate::eventually::{eventually, holds};
use crate::kafka::{NewRecord, TopicRecord};
use crate::servers::Servers;

/// Partitions of every topic.
pub const PARTITIONS: i32 = 6;

/// A stage that has not read its topic to the end within this does not get there.
const AT_REST_WITHIN: Duration = Duration::from_secs(60);

/// Collections at the end of the topic after which nothing more comes of what was read before.
const IDLE_COLLECTIONS: usize = 2;

/// Pause of an instance that finds nothing to read.
const IDLE: Duration = Duration::from_millis(2);

/// A stage that no instance runs of yet.
pub struct Alone {
    database: TestDatabase,
    settings: Settings,
    route: Route,
    topics: Topics,
}

impl Alone {
    /// A stage of a stream whose topic is empty; `variables` are those of its service.
    pub async fn new(stream: &StreamSpec, stage: StageId, variables: &[(&str, &str)]) -> Self {
        let servers = Servers::configured();
        let database = TestDatabase::create(&servers).await;
        let mut all = servers.variables(database.name());
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let settings = Settings::from_lookup("STG_PORT", |name| {
            all.iter().rev().find(|(variable, _)| variable == name).map(|(_, value)| value.clone())
        });
        let settings = settings.unwrap_or_else(|e| panic!("{e}"));
        let route = settings.topics.route(stream, stage);
        let route = route.unwrap_or_else(|| panic!("{} does not pass {stage}", stream.name));
        Self { database, settings, route, topics: Topics::default() }
    }

    /// The database of this stage.
    pub fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    /// The topic that it reads.
    pub fn input(&self) -> &str {
        &self.route.input
    }

    /// The topic that it writes.
    ///
    /// **Panics** for the last stage of a stream.
    pub fn output(&self) -> Arc<str> {
        self.route.output.as_deref().expect("the stage has a next one").into()
    }

    /// A handler with its offsets, dead letters and kept outputs in this database.
    pub fn stage<H: Handler>(&self, handler: H) -> PgStage<H> {
        let written = self.route.written();
        let partitions = Partitions::told_by(move || {
            Ok(written.iter().map(|topic| (topic.clone(), PARTITIONS)).collect())
        });
        PgStage::new(self.pool().clone(), &self.route, partitions, handler)
    }

    /// Records reach the topic of the stage; returns them as they lie there.
    pub fn arrive(&self, records: &[NewRecord]) -> Vec<TopicRecord> {
        records.iter().map(|record| self.topics.add(self.input(), record)).collect()
    }

    /// Everything that a topic holds, by partition and offset.
    pub fn records(&self, topic: &str) -> Vec<TopicRecord> {
        self.topics.lock().get(topic).map(|log| log.concat()).unwrap_or_default()
    }

    /// Starts an instance of the stage, has it read to the end of its topic, and stops it.
    ///
    /// `stages` are the transactions side by side. **Panics** when it does not get there.
    pub async fn run<S: Stage>(&self, stages: Vec<S>) {
        self.run_during(vec![stages], async {}).await;
    }

    /// As [`Alone::run`], with instances that run during the work and then to the end, each with its share of the
    /// partitions.
    pub async fn run_during<S: Stage>(&self, instances: Vec<Vec<S>>, work: impl Future<Output = ()>) {
        let count = i32::try_from(instances.len()).expect("few instances");
        let is_done = Arc::new(AtomicBool::new(false));
        let start = |(number, stages)| {
            let own = (0..PARTITIONS).filter(|partition| partition % count == number).collect();
            let source = Memory::new(self, own, Arc::clone(&is_done));
            self.start(stages, source)
        };
        // All run before the first is waited for.
        let runs: Vec<_> = (0..).zip(instances).map(start).collect();
        work.await;
        is_done.store(true, Ordering::Relaxed);
        for run in runs {
            run.await.expect("the stage comes to rest");
        }
    }

    fn start<S: Stage>(&self, stages: Vec<S>, source: Memory) -> JoinHandle<()> {
        let (settings, pool, sink) = (self.loop_settings(), self.pool().clone(), Sent(self.topics.clone()));
        let (token, is_overdue) = (source.token.clone(), Arc::clone(&source.is_overdue));
        let (status, handle) = (Arc::default(), Handle::current());
        tokio::task::spawn_blocking(move || {
            let ended =
                turn_over(settings, pool, stages, (source, sink), Arc::clone(&status), (&handle, &token));
            ended.unwrap_or_else(|e| panic!("only a new process would help: {e}"));
            assert!(!is_overdue.load(Ordering::Relaxed), "it is not at rest: {status:?}");
        })
    }

    /// Waits until the running instances have read all that has arrived, and sent what they made of it.
    pub async fn at_rest(&self) {
        let ends: i64 = self.records(self.input()).len().try_into().expect("few records");
        eventually(AT_REST_WITHIN, "a stage at the end of its topic", async || {
            let (read, kept): (Option<i64>, i64) = sqlx::query_as(
                "select (select sum(next_offset)::bigint from ops.consumer_offsets where stage = $1 and topic = $2), \
                 (select count(*) from ops.pending_outputs)",
            )
            .bind(self.route.stage.as_str())
            .bind(self.input())
            .fetch_one(self.pool())
            .await
            .map_err(|e| e.to_string())?;
            holds(read == Some(ends) && kept == 0, || format!("{read:?} of {ends} read, {kept} packs kept"))
        })
        .await;
    }

    fn loop_settings(&self) -> LoopSettings {
        let Settings { kafka, batch, keep_settled, .. } = &self.settings;
        LoopSettings {
            route: self.route.clone(),
            kafka: kafka.clone(),
            batch: *batch,
            keep_settled: *keep_settled,
            registry: SchemaRegistry::default(),
        }
    }

    /// Reasons and bodies of the dead letters, in order.
    pub async fn dead_letters(&self) -> Vec<(String, Vec<u8>)> {
        let kept =
            sqlx::query_as("select reason, payload from ops.dead_letters order by partition, \"offset\"");
        kept.fetch_all(self.pool()).await.expect("the dead letters")
    }
}

/// Records by topic, partition and offset.
#[derive(Debug, Clone, Default)]
struct Topics(Arc<Mutex<BTreeMap<String, Vec<Vec<TopicRecord>>>>>);

impl Topics {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Vec<TopicRecord>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, topic: &str, record: &NewRecord) -> TopicRecord {
        let chosen_by_key = || {
            let output = Output {
                topic: topic.into(),
                key: record.key.clone(),
                payload: record.payload.clone().unwrap_or_default(),
                timestamp_ms: 0,
                headers: Vec::new(),
                partition: None,
            };
            output.partition_among(PARTITIONS)
        };
        let partition = record.partition.unwrap_or_else(chosen_by_key);
        let mut topics = self.lock();
        let log = topics.entry(topic.to_owned()).or_insert_with(|| vec![Vec::new(); PARTITIONS as usize]);
        let log = &mut log[usize::try_from(partition).expect("a partition")];
        let record = TopicRecord {
            partition,
            offset: i64::try_from(log.len()).expect("few records"),
            timestamp_ms: record.timestamp_ms.unwrap_or_else(|| Utc::now().timestamp_millis()),
            key: record.key.clone(),
            payload: record.payload.clone(),
            headers: record.headers.clone(),
        };
        log.push(record.clone());
        record
    }

    /// The records of a partition from an offset on.
    fn from(&self, topic: &str, partition: i32, offset: i64) -> Vec<TopicRecord> {
        let (partition, offset) = (usize::try_from(partition), usize::try_from(offset));
        let (partition, offset) = (partition.expect("a partition"), offset.expect("an offset"));
        self.lock()
            .get(topic)
            .map(|log| log[partition].iter().skip(offset).cloned().collect())
            .unwrap_or_default()
    }
}

/// What the loop reads: partitions that nobody takes away.
struct Memory {
    topics: Topics,
    topic: Arc<str>,
    own: Vec<i32>,
    /// Where it reads, by partition.
    reads: Mutex<BTreeMap<i32, i64>>,
    idle: AtomicUsize,
    begun: Instant,
    is_overdue: Arc<AtomicBool>,
    /// Nothing more arrives.
    is_done: Arc<AtomicBool>,
    /// Cancelled when it has come to the end.
    token: CancellationToken,
    lag: Lag,
}

impl Memory {
    fn new(alone: &Alone, own: Vec<i32>, is_done: Arc<AtomicBool>) -> Self {
        Self {
            topics: alone.topics.clone(),
            topic: alone.input().into(),
            own,
            reads: Mutex::default(),
            idle: AtomicUsize::new(0),
            begun: Instant::now(),
            is_overdue: Arc::default(),
            is_done,
            token: CancellationToken::new(),
            lag: Lag::of(alone.input()),
        }
    }

    fn reads(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_deadline(&self) {
        if self.begun.elapsed() > AT_REST_WITHIN {
            self.is_overdue.store(true, Ordering::Relaxed);
            self.token.cancel();
        }
    }

    /// A record as the consumer of a real Kafka makes it.
    fn record(&self, record: TopicRecord) -> Record {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let timestamp = Timestamp::CreateTime(record.timestamp_ms);
        let TopicRecord { partition, offset, key, payload, .. } = record;
        let message = OwnedMessage::new(
            payload,
            key,
            self.topic.to_string(),
            timestamp,
            partition,
            offset,
            Some(headers),
        );
        Record::copy(&self.topic, &message)
    }
}

impl Source for Memory {
    fn assignment(&self) -> Assignment {
        Assignment { epoch: 1, partitions: Some(self.own.clone()) }
    }

    fn denied(&self) -> Option<&'static str> {
        None
    }

    fn idle(&self, duration: Duration) {
        self.check_deadline();
        std::thread::sleep(duration);
    }

    fn start_at(&self, offsets: &BTreeMap<i32, i64>) -> anyhow::Result<()> {
        self.reads().clone_from(offsets);
        Ok(())
    }

    fn pause(&self) {
        self.reads().clear();
    }

    fn watermarks(&self, partition: i32, _within: Duration) -> anyhow::Result<(i64, i64)> {
        Ok((0, i64::try_from(self.topics.from(&self.topic, partition, 0).len())?))
    }

    fn collect(&self, limits: &BatchSettings, _epoch: u64) -> Collected {
        self.check_deadline();
        let mut records = Vec::new();
        let mut reads = self.reads();
        for (&partition, at) in reads.iter_mut() {
            let new = self.topics.from(&self.topic, partition, *at).into_iter();
            let new: Vec<Record> =
                new.take(limits.max_rows - records.len()).map(|record| self.record(record)).collect();
            *at += i64::try_from(new.len()).expect("few records");
            records.extend(new);
        }
        let is_done = self.is_done.load(Ordering::Relaxed);
        let is_at_end = records.is_empty() && reads.len() == self.own.len();
        drop(reads);
        let idle = if is_at_end && is_done { self.idle.load(Ordering::Relaxed) + 1 } else { 0 };
        self.idle.store(idle, Ordering::Relaxed);
        if idle >= IDLE_COLLECTIONS {
            self.token.cancel();
        } else if is_at_end {
            std::thread::sleep(IDLE);
        }
        Collected::Records(records)
    }

    fn commit(&mut self, _positions: &BTreeMap<i32, i64>, _pace: Pace) {}

    fn lag(&self) -> &Lag {
        &self.lag
    }

    fn mute(&self, _partitions: impl Iterator<Item = i32>) {}

    fn leave(&self) {}
}

/// Where the loop sends to.
#[derive(Clone)]
struct Sent(Topics);

impl Sink for Sent {
    async fn send_all(&self, outputs: &[Output]) -> Result<(), ProduceError> {
        for output in outputs {
            let headers =
                output.headers.iter().map(|(name, value)| (name.clone().into_owned(), value.clone()));
            self.0.add(
                &output.topic,
                &NewRecord {
                    partition: output.partition,
                    timestamp_ms: Some(output.timestamp_ms),
                    key: output.key.clone(),
                    payload: Some(output.payload.clone()),
                    headers: headers.collect(),
                },
            );
        }
        Ok(())
    }

    fn refusal(&self) -> Option<String> {
        None
    }
}
