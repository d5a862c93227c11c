//! The consumer loop: assignment → batch → transaction → outputs → lag commit, and again.
//!
//! One thread, one batch in hand; where a stage has two writers, each writes a share of it. Rebalances are
//! served only between batches, so a revoked partition is always drained, and the locked offset row fences
//! an instance that does not know yet. Any failure ends in the same place: ask the store where it stands,
//! send what it kept, start there.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures::FutureExt as _;
use sqlx::PgPool;
use strata_events::Reject;
use tokio::runtime::Handle;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::ensure_topics;
use crate::consumer::{Collected, Pace, Source};
use crate::entrance::Entrance;
use crate::metrics::latency::Latency;
use crate::metrics::{self as names, Phases};
use crate::producer::{ProduceError, Producer};
use crate::record::{Output, Record};
use crate::retention::Retention;
use crate::stage::{Span, Stage, StageError};
use crate::topic_check;
use crate::trace::BatchTrace;
use crate::trouble::{Described, Trouble, kafka_refusal, kafka_trouble};
use crate::watchdog::{Silence, Unserved};
use crate::writers::Writers;
use strata_service::Runnable;
use strata_service::config::Route;
use strata_service::config::{BatchSettings, KafkaSettings};
use strata_service::failpoint;
use strata_service::health::WorkerStatus;
use strata_service::pg;
use strata_service::restart::RestartNeeded;
use strata_service::service::REPORTS_WITHIN;

/// A transaction that takes longer is given up; well below Kafka's limit between two polls.
const APPLY_TIMEOUT: Duration = Duration::from_secs(90);
const _: () = assert!(APPLY_TIMEOUT.as_secs() + 30 <= REPORTS_WITHIN.as_secs());
/// Acknowledgements that take longer let the loop poll in between, to stay in the group.
const ACK_SLICE: Duration = Duration::from_millis(500);
/// Pause before the first retry; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest pause between retries: recovery shows soon after the cause is gone.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Names and limits of one loop.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// What is read and written.
    pub route: Route,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// Batches.
    pub batch: BatchSettings,
    /// How long settled dead letters are kept.
    pub keep_settled: Duration,
}

/// One layer's loop over one topic.
pub struct Worker<S> {
    pub(crate) settings: WorkerSettings,
    pub(crate) writers: Writers<S>,
    entrance: Entrance,
    pool: PgPool,
    producer: Producer,
    pub(crate) status: Arc<WorkerStatus>,
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
    /// `pool` leads to the Postgres that keeps the offsets of the stage before, and the dead letters.
    pub fn new(settings: WorkerSettings, pool: PgPool, stages: Vec<S>, producer: Producer) -> Self {
        let writers = Writers::new(stages, &settings.batch);
        let entrance = Entrance::new(pool.clone(), &settings.route);
        Self { settings, writers, entrance, pool, producer, status: Arc::default() }
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
        let mut topics = worker.settings.route.written();
        topics.push(worker.settings.route.input.clone());
        while let Err(e) = handle.block_on(ensure_topics(&worker.settings.kafka, &topics)) {
            tracing::warn!(error = %e, "waiting for kafka to create topics");
            let waiting = match kafka_refusal(&e) {
                Some(refusal) => format!("kafka {refusal}"),
                None => worker.waiting_for_kafka(),
            };
            worker.status.waiting(waiting);
            if handle.block_on(timeout(BACKOFF_MAX, token.cancelled())).is_ok() {
                return Ok(());
            }
        }
        let WorkerSettings {
            route: Route { stage, stream, input: topic, upstream, .. },
            kafka,
            keep_settled,
            ..
        } = &worker.settings;
        let retention = Retention {
            stage: stage.as_str(),
            topic: topic.clone(),
            is_first: upstream.is_none(),
            keep: *keep_settled,
        };
        handle.spawn(retention.run(worker.pool.clone(), token.clone()));
        handle.spawn(topic_check::watch(kafka.clone(), topics, worker.status(), token.clone()));
        let group = format!("{}{stage}-{topic}", kafka.group_prefix);
        let source = Source::subscribe(kafka, &group, topic, worker.producer.refusals().clone())?;
        let unserved = Unserved::new(kafka);
        let latency = Latency::of(stream);
        names::announce_stream(stream);
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
            in_doubt: None,
            backoff: BACKOFF_MIN,
            silence: Silence::default(),
            failing: unserved.clone(),
            unserved,
            latency,
        }
        .turn()?;
        Ok(())
    }
}

/// A running loop: the worker and where it stands.
pub(crate) struct Loop<'a, S> {
    pub(crate) worker: Worker<S>,
    pub(crate) source: Source,
    pub(crate) handle: &'a Handle,
    pub(crate) token: &'a CancellationToken,
    /// Assignment that `positions` belongs to; 0 when the position must be found.
    pub(crate) epoch: u64,
    /// Whether a position was ever found.
    pub(crate) has_started: bool,
    /// Next offset by partition, as the store has it.
    pub(crate) positions: BTreeMap<i32, i64>,
    /// Partitions whose acknowledged outputs the store still keeps.
    pub(crate) unsettled: BTreeSet<i32>,
    /// When the positions were last compared with the store's.
    pub(crate) verified: Instant,
    /// Since when a partition has ended before the stored offset.
    pub(crate) in_doubt: Option<Instant>,
    pub(crate) backoff: Duration,
    /// Notices partitions that do not bring what Kafka holds.
    pub(crate) silence: Silence,
    /// Notices that Kafka gives the consumer no partitions though it is there.
    pub(crate) unserved: Unserved,
    /// Notices that what the loop asks of Kafka, by whichever client, only fails though it is there.
    pub(crate) failing: Unserved,
    /// Ages of records at their commit.
    pub(crate) latency: Arc<Latency>,
}

impl<S: Stage> Loop<'_, S> {
    /// Turns until the service stops, or only a new process helps.
    fn turn(mut self) -> Result<(), RestartNeeded> {
        let ended = self.turn_until_stopped();
        match &ended {
            Ok(()) => {
                self.source.commit(&self.positions, Pace::Idle);
                self.settle();
            }
            Err(stuck) => {
                self.worker.status.waiting(stuck.to_string());
                // It leaves its group meanwhile, and may wait for an answer that never comes.
                thread::spawn(move || drop(self.source));
            }
        }
        ended
    }

    fn turn_until_stopped(&mut self) -> Result<(), RestartNeeded> {
        while !self.token.is_cancelled() {
            let assignment = self.source.assignment();
            let Some(partitions) = assignment.partitions else {
                self.await_partitions()?;
                continue;
            };
            let outcome = if self.epoch == assignment.epoch {
                self.step()
            } else {
                self.find_position(&partitions).map(|()| {
                    self.epoch = assignment.epoch;
                    self.has_started = true;
                    false
                })
            };
            match outcome {
                Ok(is_applied) => {
                    self.unserved.is_over();
                    self.failing.passed(is_applied, Instant::now());
                    self.backoff = BACKOFF_MIN;
                    match self.silence.suspicion() {
                        Some(suspicion) => self.worker.status.waiting(suspicion),
                        None => self.worker.status.ok(),
                    }
                }
                Err(Trouble::Stuck(stuck)) => return Err(stuck),
                Err(trouble) => self.recover(trouble)?,
            }
        }
        Ok(())
    }

    /// Serves the group until it gives partitions.
    fn await_partitions(&mut self) -> Result<(), RestartNeeded> {
        // A rebalance is no trouble, but a loop that has never had an assignment is not well yet.
        let is_suspected = self.unserved.is_suspected();
        match self.source.denied() {
            Some(denied) => self.worker.status.waiting(format!("kafka {denied}")),
            None if is_suspected => {
                self.worker.status.waiting("kafka answers a new client, but gives ours no partitions");
            }
            None if self.has_started => self.worker.status.ok(),
            None => self.worker.status.waiting("joining the consumer group"),
        }
        self.source.idle(Duration::from_millis(100));
        match self.source.assignment().partitions {
            Some(_) => Ok(()),
            None => self.check_partitions(),
        }
    }

    /// One batch, or one idle moment; true when a batch was applied.
    fn step(&mut self) -> Result<bool, Trouble> {
        self.verify()?;
        let mut records = match self.source.collect(&self.worker.settings.batch, self.epoch) {
            Collected::Records(records) => records,
            Collected::OutOfRange => return Err(Trouble::Interrupted),
            Collected::Denied(error) => return Err(kafka_trouble(error)),
        };
        let BatchSettings { max_rows, max_bytes, .. } = self.worker.settings.batch;
        let bytes: usize = records.iter().map(|record| record.payload.len()).sum();
        let drained = records.len() < max_rows && bytes < max_bytes;
        records.retain(|record| self.positions.get(&record.partition).is_some_and(|&at| record.offset >= at));
        self.check_silence(&records, drained)?;
        self.pass_windows_of_consumers();
        if records.is_empty() {
            self.source.commit(&self.positions, Pace::Idle);
            self.settle();
            return Ok(false);
        }
        let started = Instant::now();
        let Route { stage, stream, input, .. } = self.worker.settings.route.clone();
        metrics::histogram!(names::BATCH_ROWS, "stream" => stream).record(records.len() as f64);
        failpoint::pass("after_fetch")?;
        let traced = BatchTrace::start(stage.as_str(), &input, &records);
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
        Ok(true)
    }

    /// Finds records that are refused whatever their bodies say.
    fn examine(&mut self, records: &mut [Record]) -> Result<(), Trouble> {
        ask(self.handle, self.worker.entrance.examine(records))?;
        self.worker.status.turned();
        Ok(())
    }

    /// Applies parts side by side; where the store refuses a value, halves until the culprit stands alone.
    fn process(&mut self, parts: &[&[Record]]) -> Result<(), Trouble> {
        for (records, cause) in self.apply(parts, None)? {
            if let [_] = records {
                let reject = self.refused_by_store(&cause);
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

    /// The reason of a record that the store refuses. Bytes that no JSON of Postgres can hold are the sender's fault
    /// where a sender wrote them; a constraint that fails is ours.
    fn refused_by_store(&self, cause: &anyhow::Error) -> Reject {
        let reject = Reject::new("refused_by_store", format!("{cause:#}"));
        let is_value = cause.chain().any(|cause| cause.downcast_ref().is_some_and(pg::is_value_error));
        match is_value && self.worker.settings.route.upstream.is_none() {
            true => reject,
            false => reject.suspicious(),
        }
    }

    /// Applies parts and sends what came of them; returns those of which the store refuses a value.
    fn apply<'r>(
        &mut self,
        parts: &[&'r [Record]],
        condemned: Option<&Reject>,
    ) -> Result<Vec<(&'r [Record], anyhow::Error)>, Trouble> {
        let parts: Vec<(&[Record], Span)> =
            parts.iter().map(|records| (*records, self.span(records))).collect();
        self.worker.status.turned();
        let applying = self.worker.writers.apply(&parts, condemned);
        let applied = ask(self.handle, applying.map(Ok))?;
        self.worker.status.turned();
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
            let mut phases = Phases::start(self.worker.settings.route.stream);
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
    pub(crate) fn deliver(&mut self, outputs: &[Output]) -> Result<(), Trouble> {
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
                }
            }
        }
    }

    /// Lets the store forget acknowledged outputs; a failure costs a few duplicates, never a loss.
    pub(crate) fn settle(&mut self) {
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
    fn recover(&mut self, trouble: Trouble) -> Result<(), RestartNeeded> {
        self.epoch = 0;
        let Some(Described { cause, mut message, error }) = trouble.describe() else { return Ok(()) };
        if cause == "kafka" {
            message = self.worker.waiting_for_kafka();
        }
        metrics::counter!(names::RETRIES, "stream" => self.worker.settings.route.stream, "cause" => cause)
            .increment(1);
        if matches!(cause, "lost" | "operator") {
            tracing::error!(error, "{message}");
        } else {
            tracing::warn!(error, retry_ms = self.backoff.as_millis(), "{message}");
        }
        self.worker.status.waiting(message);
        self.source.pause();
        self.source.idle(self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        if cause == "kafka" {
            return self.check_errors();
        }
        self.failing.is_over();
        self.look_ahead();
        Ok(())
    }
}

/// Asks the store, which must answer within the time of a batch.
pub(crate) fn ask<T>(
    handle: &Handle,
    question: impl Future<Output = Result<T, StageError>>,
) -> Result<T, StageError> {
    let too_late =
        |elapsed: Elapsed| StageError::Transient { dependency: "the store", source: elapsed.into() };
    handle.block_on(timeout(APPLY_TIMEOUT, question)).map_err(too_late)?
}
