//! The consumer loop: assignment → batch → transaction → outputs → lag commit, and again.
//!
//! One thread, one batch in hand; where a stage has two writers, each writes a share of it. Rebalances are
//! served only between batches, so a revoked partition is always drained, and the locked offset row fences
//! an instance that does not know yet. Any failure ends in the same place: ask the store where it stands,
//! send what it kept, start there.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use sqlx::PgPool;
use strata_events::Reject;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::admin::ensure_topics;
use super::astray::Astray;
use super::consumer::{Collected, Pace, Source};
use super::entrance::{Entrance, Upstream};
use super::loss::{self, Gone};
use super::producer::{ProduceError, Producer};
use super::record::{Output, Record};
use super::silence::Silence;
use super::stage::{Position, Span, Stage, StageError};
use super::starts::Starts;
use super::trouble::{Described, Trouble, kafka_trouble};
use super::writers::Writers;
use crate::config::{BatchSettings, KafkaSettings};
use crate::failpoint;
use crate::health::WorkerStatus;
use crate::metrics::latency::Latency;
use crate::metrics::{self as names, Phases};
use crate::trace::BatchTrace;

/// A transaction that takes longer is given up; well below Kafka's limit between two polls.
const APPLY_TIMEOUT: Duration = Duration::from_secs(90);
/// Acknowledgements that take longer let the loop poll in between, to stay in the group.
const ACK_SLICE: Duration = Duration::from_millis(500);
/// An end of a partition before the stored offset is a loss when it lasts this long.
const DOUBT: Duration = Duration::from_secs(5);
/// Kafka tells within this where a partition begins and ends.
const MARKS_WITHIN: Duration = Duration::from_secs(5);
/// Pause before the first retry; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest pause between retries: recovery shows soon after the cause is gone.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Longest wait for the end of a partition that is quiet.
const ASK_WITHIN: Duration = Duration::from_millis(500);
/// Time between two comparisons of the loop's positions with the store's.
const VERIFY_EVERY: Duration = Duration::from_secs(1);

/// A loop that the service's frame can start and watch.
pub trait Runnable: Send {
    /// What `/health` shows of it.
    fn status(&self) -> Arc<WorkerStatus>;
    /// Runs until `token` is cancelled; blocks the thread it is called on.
    fn run(self: Box<Self>, handle: &Handle, token: &CancellationToken) -> anyhow::Result<()>;
}

/// Names and limits of one loop.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Layer, for the consumer group.
    pub stage: &'static str,
    /// Stream, for metrics.
    pub stream: &'static str,
    /// Topic to read.
    pub topic: String,
    /// Who writes the topic; none for a stream's first.
    pub upstream: Option<Upstream>,
    /// Topics to create where missing: inputs, outputs, dead letters.
    pub topics: Vec<String>,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// Batches.
    pub batch: BatchSettings,
}

/// One layer's loop over one topic.
pub struct Worker<S> {
    settings: WorkerSettings,
    writers: Writers<S>,
    entrance: Entrance,
    producer: Producer,
    status: Arc<WorkerStatus>,
}

impl<S> Worker<S> {
    /// What the loop waits for while Kafka is of no use.
    fn waiting_for_kafka(&self) -> String {
        match self.producer.refusal() {
            Some(refusal) => format!("kafka: {refusal}"),
            None => "waiting for kafka".to_owned(),
        }
    }
}

impl<S: Stage> Worker<S> {
    /// Makes a loop that is not running yet; large batches are written by all `stages` side by side.
    ///
    /// `pool` leads to the Postgres that keeps the offsets of the stage before.
    pub fn new(settings: WorkerSettings, pool: PgPool, stages: Vec<S>, producer: Producer) -> Self {
        let writers = Writers::new(stages, &settings.batch);
        let WorkerSettings { stage, topic, upstream, .. } = &settings;
        let entrance = Entrance::new(pool, stage, topic, upstream.clone());
        Self { settings, writers, entrance, producer, status: Arc::default() }
    }
}

impl<S: Stage> Runnable for Worker<S> {
    fn status(&self) -> Arc<WorkerStatus> {
        Arc::clone(&self.status)
    }

    fn run(self: Box<Self>, handle: &Handle, token: &CancellationToken) -> anyhow::Result<()> {
        let worker = *self;
        // Timeouts are made on this thread, before the runtime polls them.
        let _entered = handle.enter();
        while let Err(e) = handle.block_on(ensure_topics(&worker.settings.kafka, &worker.settings.topics)) {
            tracing::warn!(error = %e, "waiting for kafka to create topics");
            worker.status.waiting(worker.waiting_for_kafka());
            if handle.block_on(timeout(BACKOFF_MAX, token.cancelled())).is_ok() {
                return Ok(());
            }
        }
        let WorkerSettings { stage, topic, kafka, .. } = &worker.settings;
        let group = format!("{}{stage}-{topic}", kafka.group_prefix);
        let source = Source::subscribe(kafka, &group, topic, worker.producer.refusals().clone())?;
        let astray = Astray::new(kafka);
        let latency = Latency::of(worker.settings.stream);
        names::announce_stream(worker.settings.stream);
        Loop {
            source,
            worker,
            handle,
            token,
            epoch: 0,
            has_started: false,
            positions: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            verified: Instant::now(),
            starts: Starts::default(),
            in_doubt: None,
            backoff: BACKOFF_MIN,
            silence: Silence::default(),
            astray,
            latency,
        }
        .turn();
        Ok(())
    }
}

/// A running loop: the worker and where it stands.
struct Loop<'a, S> {
    worker: Worker<S>,
    source: Source,
    handle: &'a Handle,
    token: &'a CancellationToken,
    /// Assignment that `positions` belongs to; 0 when the position must be found.
    epoch: u64,
    /// Whether a position was ever found.
    has_started: bool,
    /// Next offset by partition, as the store has it.
    positions: BTreeMap<i32, i64>,
    /// Partitions whose acknowledged outputs the store still keeps.
    unsettled: BTreeSet<i32>,
    /// When the positions were last compared with the store's.
    verified: Instant,
    /// Makes sure that started partitions begin where they were told to.
    starts: Starts,
    /// Since when a partition has ended before the stored offset.
    in_doubt: Option<Instant>,
    backoff: Duration,
    /// Notices partitions that bring nothing though Kafka holds more.
    silence: Silence,
    /// Notices clients that get nothing out of Kafka though it is there.
    astray: Astray,
    /// Ages of records at their commit.
    latency: Arc<Latency>,
}

impl<S: Stage> Loop<'_, S> {
    fn turn(mut self) {
        while !self.token.is_cancelled() {
            let assignment = self.source.assignment();
            let Some(partitions) = assignment.partitions else {
                self.await_partitions();
                continue;
            };
            let outcome = if self.epoch == assignment.epoch {
                self.step()
            } else {
                self.find_position(&partitions).map(|()| {
                    self.epoch = assignment.epoch;
                    self.has_started = true;
                })
            };
            match outcome {
                Ok(()) => {
                    self.astray.is_over();
                    self.backoff = BACKOFF_MIN;
                    match self.silence.suspicion() {
                        Some(suspicion) => self.worker.status.waiting(suspicion),
                        None => self.worker.status.ok(),
                    }
                }
                Err(trouble) => self.recover(trouble),
            }
        }
        self.source.commit(&self.positions, Pace::Idle);
        self.settle();
    }

    /// Serves the group until it gives partitions.
    fn await_partitions(&mut self) {
        // A rebalance is no trouble, but a loop that has never had an assignment is not well yet.
        if self.has_started {
            self.worker.status.ok();
        } else {
            self.worker.status.waiting("joining the consumer group");
        }
        self.source.idle(Duration::from_millis(100));
        if self.source.assignment().partitions.is_none() && self.astray.lasts() {
            self.join_again();
        }
    }

    /// Replaces a consumer that has lost its way.
    fn join_again(&mut self) {
        let WorkerSettings { topic, stream, .. } = &self.worker.settings;
        metrics::counter!(names::RETRIES, "stream" => *stream, "cause" => "client").increment(1);
        match self.source.join_again() {
            Ok(()) => {
                tracing::warn!(kafka.topic = topic, "kafka answers, but not our consumer; made it anew");
            }
            Err(e) => tracing::error!(kafka.topic = topic, error = %e, "kafka consumer cannot be replaced"),
        }
    }

    /// One batch, or one idle moment.
    fn step(&mut self) -> Result<(), Trouble> {
        self.verify()?;
        let mut records = match self.source.collect(&self.worker.settings.batch, self.epoch) {
            Collected::Records(records) => records,
            Collected::OutOfRange => return Err(Trouble::Interrupted),
        };
        let BatchSettings { max_rows, max_bytes, .. } = self.worker.settings.batch;
        let bytes: usize = records.iter().map(|record| record.payload.len()).sum();
        let drained = records.len() < max_rows && bytes < max_bytes;
        records.retain(|record| self.positions.get(&record.partition).is_some_and(|&at| record.offset >= at));
        self.check_silence(&records, drained)?;
        if records.is_empty() {
            self.source.commit(&self.positions, Pace::Idle);
            self.settle();
            return Ok(());
        }
        if self.starts.lack_records(&records, &self.positions) {
            return Err(Trouble::Interrupted);
        }
        let started = Instant::now();
        let stream = self.worker.settings.stream;
        metrics::histogram!(names::BATCH_ROWS, "stream" => stream).record(records.len() as f64);
        failpoint::pass("after_fetch")?;
        let WorkerSettings { stage, topic, .. } = &self.worker.settings;
        let traced = BatchTrace::start(stage, topic, &records);
        let logged = traced.as_ref().map(BatchTrace::log);
        let rows = records.len();
        self.examine(&mut records)?;
        let parts = self.worker.writers.deal(records);
        let parts: Vec<&[Record]> = parts.iter().map(Vec::as_slice).collect();
        let processed = self.process(&parts);
        drop(logged);
        if let Some(traced) = traced {
            traced.end(processed.is_ok());
        }
        processed?;
        failpoint::pass("after_ack")?;
        metrics::histogram!(names::BATCH_SECONDS, "stream" => stream).record(started.elapsed().as_secs_f64());
        tracing::debug!(batch.rows = rows, duration_ms = started.elapsed().as_millis(), "batch applied");
        self.source.commit(&self.positions, Pace::Busy);
        Ok(())
    }

    /// Finds records that are refused whatever their bodies say.
    fn examine(&mut self, records: &mut [Record]) -> Result<(), Trouble> {
        let examined = self.handle.block_on(timeout(APPLY_TIMEOUT, self.worker.entrance.examine(records)));
        let examined = examined
            .map_err(|elapsed| StageError::Transient { dependency: "postgres", source: elapsed.into() })?;
        Ok(examined?)
    }

    /// Starts anew when a partition brings nothing though Kafka holds more.
    fn check_silence(&mut self, records: &[Record], drained: bool) -> Result<(), Trouble> {
        let now = Instant::now();
        self.silence.collected(records.iter().map(|record| record.partition), drained, now);
        for partition in self.silence.due(now) {
            let Some(&position) = self.positions.get(&partition) else { continue };
            // Kafka being away is noticed elsewhere.
            let high = self.source.watermarks(partition, ASK_WITHIN).map_or(position, |(_, high)| high);
            if self.silence.ends_at(partition, position, high, now) {
                let topic = &self.worker.settings.topic;
                return Err(Trouble::Silent(format!(
                    "{topic}/{partition} brings nothing, though kafka holds offsets {position} to {high}; starting again"
                )));
            }
        }
        if failpoint::pass("silent_partition").is_err() {
            self.source.silence(self.positions.keys().copied().take(1));
        }
        if failpoint::pass("forgotten_consumer").is_err() {
            self.source.leave();
        }
        Ok(())
    }

    /// Asks the store, once in a while, whether it still holds what it confirmed.
    fn verify(&mut self) -> Result<(), Trouble> {
        if self.verified.elapsed() < VERIFY_EVERY {
            return Ok(());
        }
        let verified =
            self.handle.block_on(timeout(APPLY_TIMEOUT, self.worker.writers.stage().verify(&self.positions)));
        verified
            .map_err(|elapsed| StageError::Transient { dependency: "the store", source: elapsed.into() })??;
        self.verified = Instant::now();
        Ok(())
    }

    /// Applies parts side by side; where the store refuses a value, halves until the culprit stands alone.
    fn process(&mut self, parts: &[&[Record]]) -> Result<(), Trouble> {
        for (records, cause) in self.apply(parts, None)? {
            if let [_] = records {
                let reject = Reject::new("refused_by_store", format!("{cause:#}")).suspicious();
                if let Some((_, cause)) = self.apply(&[records], Some(&reject))?.pop() {
                    return Err(Trouble::Stage(StageError::Data(cause)));
                }
                continue;
            }
            let (first, second) = records.split_at(records.len() / 2);
            self.process(&[first])?;
            self.process(&[second])?;
        }
        Ok(())
    }

    /// Applies parts and sends what came of them; returns those of which the store refuses a value.
    fn apply<'r>(
        &mut self,
        parts: &[&'r [Record]],
        condemned: Option<&Reject>,
    ) -> Result<Vec<(&'r [Record], anyhow::Error)>, Trouble> {
        let parts: Vec<(&[Record], Span)> =
            parts.iter().map(|records| (*records, self.span(records))).collect();
        let applying = self.worker.writers.apply(&parts, condemned);
        let applied = self.handle.block_on(timeout(APPLY_TIMEOUT, applying));
        let applied = applied
            .map_err(|elapsed| StageError::Transient { dependency: "the store", source: elapsed.into() })?;
        let (mut outputs, mut settled, mut refused, mut failed) = (Vec::new(), Vec::new(), Vec::new(), None);
        for ((records, span), result) in parts.into_iter().zip(applied) {
            match result {
                Ok(made) => {
                    self.positions.extend(span.iter().map(|(&partition, &(_, next))| (partition, next)));
                    self.measure(records);
                    outputs.extend(made);
                    settled.extend(span.into_keys());
                }
                Err(StageError::Data(cause)) => refused.push((records, cause)),
                Err(error) => failed = Some(error),
            }
        }
        // Whatever the other parts have committed is kept, and sent from there.
        if let Some(error) = failed {
            return Err(error.into());
        }
        if !settled.is_empty() {
            failpoint::pass("after_commit")?;
        }
        if !outputs.is_empty() {
            // What the store keeps of these is not acknowledged now: a stop that interrupts the waiting must
            // leave it there.
            self.unsettled.retain(|partition| !settled.contains(partition));
            let mut phases = Phases::start(self.worker.settings.stream);
            self.deliver(&outputs)?;
            phases.end("produce");
            self.unsettled.extend(settled);
        }
        Ok(refused)
    }

    /// The offsets that records of assigned partitions lead from and to.
    fn span(&self, records: &[Record]) -> Span {
        let mut span = Span::new();
        for record in records {
            let expected = self.positions.get(&record.partition).copied().unwrap_or_default();
            span.entry(record.partition).or_insert((expected, expected)).1 = record.offset + 1;
        }
        span
    }

    /// Notes how old the records of a committed batch are, and how far the loop has come.
    fn measure(&self, records: &[Record]) {
        let now_ms = Utc::now().timestamp_millis();
        self.latency.observe(records.iter().map(|record| now_ms - record.clamped_timestamp_ms()));
        let newest: BTreeMap<i32, i64> =
            records.iter().map(|record| (record.partition, record.timestamp_ms.min(now_ms))).collect();
        for (partition, timestamp_ms) in newest {
            let next = self.positions.get(&partition).copied().unwrap_or_default();
            self.source.lag().applied(partition, next, timestamp_ms);
        }
    }

    /// Sends committed outputs and waits until Kafka holds them all, staying in the group meanwhile.
    fn deliver(&mut self, outputs: &[Output]) -> Result<(), Trouble> {
        let before = self.source.assignment().epoch;
        let producer = self.worker.producer.clone();
        let mut sending = pin!(producer.send_all(outputs));
        let mut slow = false;
        loop {
            match self.handle.block_on(async { timeout(ACK_SLICE, &mut sending).await }) {
                Ok(Ok(())) if slow => {
                    // Records were skipped while waiting: find the position again, without a resend.
                    self.unsettled.extend(self.positions.keys());
                    self.settle();
                    return Err(Trouble::Interrupted);
                }
                Ok(Err(missing @ ProduceError::NoPartition { .. })) => {
                    return Err(StageError::NeedsOperator(missing.to_string()).into());
                }
                Ok(result) => return result.map_err(|e| Trouble::Kafka(e.into())),
                Err(_) => {
                    if !slow {
                        self.source.pause();
                        slow = true;
                    }
                    self.worker.status.waiting("waiting for kafka to acknowledge outputs");
                    self.source.idle(Duration::ZERO);
                    // Whoever owns the partition now sends the kept outputs again.
                    if self.token.is_cancelled() || self.source.assignment().epoch != before {
                        return Err(Trouble::Interrupted);
                    }
                    if self.astray.lasts() {
                        tracing::warn!("kafka answers, but not our producer; made it anew");
                        producer.renew();
                        return Err(Trouble::Interrupted);
                    }
                }
            }
        }
    }

    /// Asks the store where it stands, sends the outputs it kept, and starts there.
    fn find_position(&mut self, partitions: &[i32]) -> Result<(), Trouble> {
        let found =
            self.handle.block_on(timeout(APPLY_TIMEOUT, self.worker.writers.stage().positions(partitions)));
        let found = found
            .map_err(|elapsed| StageError::Transient { dependency: "the store", source: elapsed.into() })??;
        self.positions.clear();
        self.unsettled.clear();
        let (mut fresh, mut kept, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        let mut unsent = BTreeSet::new();
        for Position { partition, next_offset, pending } in found {
            let marks = self.source.watermarks(partition, MARKS_WITHIN).map_err(kafka_trouble)?;
            let next = next_offset.unwrap_or_else(|| {
                fresh.push((partition, marks.0));
                marks.0
            });
            gone.extend(Gone::check(partition, next, marks));
            self.positions.insert(partition, next);
            if !pending.is_empty() {
                unsent.insert(partition);
                kept.extend(pending);
            }
        }
        if !fresh.is_empty() {
            self.handle.block_on(self.worker.writers.stage().initialize(&fresh))?;
        }
        // Also when records are lost: what was made of those before them must not be.
        if !kept.is_empty() {
            tracing::info!(output.count = kept.len(), "sending outputs of the last batch again");
            self.deliver(&kept)?;
            self.unsettled = unsent;
            self.settle();
        }
        self.check_loss(&gone)?;
        self.source.start_at(self.positions.iter().map(|(&p, &o)| (p, o))).map_err(kafka_trouble)?;
        self.source.lag().assigned(&self.positions);
        self.starts.started(self.positions.keys().copied());
        self.silence.started(self.positions.keys().copied(), Instant::now());
        tracing::info!(positions = ?self.positions, kafka.topic = self.worker.settings.topic, "reading");
        Ok(())
    }

    /// Stops where Kafka does not hold the next offset.
    ///
    /// A broker that comes back after a crash may show an old end of a partition for a moment, so an
    /// end before the offset must last.
    fn check_loss(&mut self, gone: &[Gone]) -> Result<(), Trouble> {
        let WorkerSettings { stage, topic, .. } = &self.worker.settings;
        if gone.is_empty() {
            self.in_doubt = None;
            return Ok(());
        }
        let since = *self.in_doubt.get_or_insert_with(Instant::now);
        if gone.iter().all(|lost| lost.is_recreated()) && since.elapsed() < DOUBT {
            let doubt = anyhow::anyhow!("{topic} ends before the stored offset: {gone:?}; looking again");
            return Err(Trouble::Kafka(doubt));
        }
        Err(Trouble::Lost(loss::message(stage, topic, gone, self.worker.writers.stage().way_out())))
    }

    /// Lets the store forget acknowledged outputs; a failure costs a few duplicates, never a loss.
    fn settle(&mut self) {
        if self.unsettled.is_empty() {
            return;
        }
        let at = |partition: &i32| Some((*partition, *self.positions.get(partition)?));
        let positions: Vec<(i32, i64)> = self.unsettled.iter().filter_map(at).collect();
        match self
            .handle
            .block_on(timeout(Duration::from_secs(2), self.worker.writers.stage().settle(&positions)))
        {
            Ok(Ok(())) => self.unsettled.clear(),
            // The next idle moment tries again.
            Ok(Err(e)) => tracing::debug!(error = %e, "acknowledged outputs stay kept"),
            Err(_) => tracing::debug!("acknowledged outputs stay kept"),
        }
    }

    /// Reports the trouble, waits a little while serving the group, and has the position found again.
    fn recover(&mut self, trouble: Trouble) {
        self.epoch = 0;
        let Some(Described { cause, mut message, error }) = trouble.describe() else { return };
        if cause == "kafka" {
            message = self.worker.waiting_for_kafka();
        }
        metrics::counter!(names::RETRIES, "stream" => self.worker.settings.stream, "cause" => cause)
            .increment(1);
        if matches!(cause, "lost" | "operator" | "silent") {
            tracing::error!("{message}");
        } else {
            tracing::warn!(error, retry_ms = self.backoff.as_millis(), "{message}");
        }
        self.worker.status.waiting(message);
        self.source.pause();
        self.source.idle(self.backoff);
        if cause != "kafka" {
            self.astray.is_over();
            self.look_ahead();
        } else if self.astray.lasts() {
            self.worker.producer.renew();
            self.join_again();
        }
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    /// Asks where the partitions end: paused ones bring no news of it, and the lag must show all the same.
    fn look_ahead(&self) {
        let marks = |&partition: &i32| self.source.watermarks(partition, Duration::from_millis(500));
        if let Some(Err(e)) = self.positions.keys().map(marks).find(Result::is_err) {
            tracing::debug!(error = %e, "the ends of partitions are not known");
        }
    }
}
