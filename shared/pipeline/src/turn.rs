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
use futures::FutureExt as _;
use strata_events::Reject;
use strata_service::SchemaRegistry;
use strata_service::config::{BatchSettings, KafkaSettings, Route};
use strata_service::restart::RestartNeeded;
use strata_service::status::REPORTS_WITHIN;
use strata_service::status::WorkerStatus;
use strata_service::{failpoint, pg};
use tokio::runtime::Handle;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::entrance::Entrance;
use crate::error::StageError;
use crate::failure::{Described, Failure};
use crate::metrics::latency::Latency;
use crate::metrics::{self as names, Phases};
use crate::record::{Output, Record};
use crate::seams::ProduceError;
use crate::seams::{Collected, Pace};
use crate::seams::{Sink, Source};
use crate::stage::{Span, Stage};
use crate::trace::BatchTrace;
use crate::watchdog::{Stalls, Unserved};
use crate::writers::Writers;

/// A transaction that takes longer is given up; well below Kafka's limit between two polls.
const APPLY_TIMEOUT: Duration = Duration::from_secs(90);
const _: () = assert!(APPLY_TIMEOUT.as_secs() + 30 <= REPORTS_WITHIN.as_secs());
/// Acknowledgements that take longer let the loop poll in between, to stay in the group.
const ACK_SLICE: Duration = Duration::from_millis(500);
/// Pause before the first retry; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest pause between retries: recovery shows soon after the cause is gone.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Names and limits of one loop.
#[derive(Debug, Clone)]
pub struct LoopSettings {
    /// What is read and written.
    pub route: Route,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// Batches.
    pub batch: BatchSettings,
    /// How long settled dead letters are kept.
    pub keep_settled: Duration,
    /// Who knows the schemas that records name.
    pub registry: SchemaRegistry,
}

/// What a loop is made of.
pub(crate) struct Parts<'a, S, R, O> {
    pub(crate) settings: LoopSettings,
    pub(crate) writers: Writers<S>,
    pub(crate) entrance: Entrance,
    pub(crate) source: R,
    pub(crate) sink: O,
    /// What it reports to.
    pub(crate) status: Arc<WorkerStatus>,
    pub(crate) handle: &'a Handle,
    pub(crate) token: &'a CancellationToken,
}

/// A running loop and where it stands.
pub(crate) struct Loop<'a, S, R, O> {
    pub(crate) settings: LoopSettings,
    pub(crate) writers: Writers<S>,
    pub(crate) entrance: Entrance,
    pub(crate) source: R,
    pub(crate) sink: O,
    pub(crate) status: Arc<WorkerStatus>,
    pub(crate) handle: &'a Handle,
    pub(crate) token: &'a CancellationToken,
    /// Assignment that `positions` belongs to; 0 when the position must be found.
    pub(crate) epoch: u64,
    /// Whether a position was ever found.
    pub(crate) has_started: bool,
    /// Next offset by partition, as the store has it.
    pub(crate) positions: BTreeMap<i32, i64>,
    /// Partitions whose acknowledged outputs the store still keeps.
    pub(crate) acknowledged: BTreeSet<i32>,
    /// When the positions were last compared with the store's.
    pub(crate) verified: Instant,
    /// Since when a partition has ended before the stored offset.
    pub(crate) in_doubt: Option<Instant>,
    pub(crate) backoff: Duration,
    /// Notices partitions that do not bring what Kafka holds.
    pub(crate) stalls: Stalls,
    /// Notices that Kafka gives the consumer no partitions though it is there.
    pub(crate) unserved: Unserved,
    /// Notices that what the loop asks of Kafka, by whichever client, only fails though it is there.
    pub(crate) failing: Unserved,
    /// Ages of records at their commit.
    pub(crate) latency: Arc<Latency>,
}

impl<'a, S: Stage, R: Source, O: Sink> Loop<'a, S, R, O> {
    /// A loop that has not turned yet.
    pub(crate) fn new(parts: Parts<'a, S, R, O>) -> Self {
        let Parts { settings, writers, entrance, source, sink, status, handle, token } = parts;
        let (unserved, latency) = (Unserved::new(&settings.kafka), Latency::of(settings.route.stream));
        Self {
            settings,
            writers,
            entrance,
            source,
            sink,
            status,
            handle,
            token,
            epoch: 0,
            has_started: false,
            positions: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            verified: Instant::now(),
            in_doubt: None,
            backoff: BACKOFF_MIN,
            stalls: Stalls::default(),
            failing: unserved.clone(),
            unserved,
            latency,
        }
    }

    /// Turns until the service stops, or only a new process helps; the source goes to whoever drops it.
    pub(crate) fn turn(mut self) -> (Result<(), RestartNeeded>, R) {
        let ended = self.turn_until_stopped();
        match &ended {
            Ok(()) => {
                self.source.commit(&self.positions, Pace::Idle);
                self.forget_acknowledged();
            }
            Err(stuck) => self.status.waiting(stuck.to_string()),
        }
        (ended, self.source)
    }

    fn turn_until_stopped(&mut self) -> Result<(), RestartNeeded> {
        while !self.token.is_cancelled() {
            self.turn_once()?;
        }
        Ok(())
    }

    /// Finds the position, applies a batch, or waits for one or the other.
    pub(crate) fn turn_once(&mut self) -> Result<(), RestartNeeded> {
        let assignment = self.source.assignment();
        let Some(partitions) = assignment.partitions else { return self.await_partitions() };
        let is_placed = self.epoch == assignment.epoch;
        let outcome = if is_placed { self.step() } else { self.find_position(&partitions).map(|()| false) };
        match outcome {
            // What failed before may fail again with the next batch: nothing is well yet.
            Ok(_) if !is_placed => {
                (self.epoch, self.has_started) = (assignment.epoch, true);
                self.unserved.is_over();
            }
            Ok(is_applied) => {
                self.unserved.is_over();
                self.failing.passed(is_applied, Instant::now());
                self.backoff = BACKOFF_MIN;
                match self.stalls.doubt() {
                    Some(doubt) => self.status.waiting(doubt),
                    None => self.status.ok(),
                }
            }
            Err(Failure::Stuck(stuck)) => return Err(stuck),
            Err(failure) => self.recover(failure)?,
        }
        Ok(())
    }

    /// Serves the group until it gives partitions.
    fn await_partitions(&mut self) -> Result<(), RestartNeeded> {
        // A rebalance is no failure, but a loop that has never had an assignment is not well yet.
        let is_in_doubt = self.unserved.is_in_doubt();
        match self.source.denied() {
            Some(denied) => self.status.waiting(format!("kafka {denied}")),
            None if is_in_doubt => {
                self.status.waiting("kafka answers a new client, but gives ours no partitions");
            }
            None if self.has_started => self.status.ok(),
            None => self.status.waiting("joining the consumer group"),
        }
        self.source.idle(Duration::from_millis(100));
        match self.source.assignment().partitions {
            Some(_) => Ok(()),
            None => self.check_partitions(),
        }
    }

    /// One batch, or one idle moment; true when a batch was applied.
    fn step(&mut self) -> Result<bool, Failure> {
        self.verify()?;
        let mut records = match self.source.collect(&self.settings.batch, self.epoch) {
            Collected::Records(records) => records,
            Collected::OutOfRange => return Err(Failure::Interrupted),
            Collected::Denied(error) => return Err(Failure::Kafka(error)),
        };
        let BatchSettings { max_rows, max_bytes, .. } = self.settings.batch;
        let bytes: usize = records.iter().map(|record| record.payload.len()).sum();
        let drained = records.len() < max_rows && bytes < max_bytes;
        records.retain(|record| self.positions.get(&record.partition).is_some_and(|&at| record.offset >= at));
        self.check_stalls(&records, drained)?;
        self.pass_windows_of_consumers();
        if records.is_empty() {
            self.source.commit(&self.positions, Pace::Idle);
            self.forget_acknowledged();
            return Ok(false);
        }
        let started = Instant::now();
        let Route { stage, stream, input, .. } = self.settings.route.clone();
        metrics::histogram!(names::BATCH_ROWS, "stream" => stream).record(records.len() as f64);
        failpoint::pass("after_fetch")?;
        let traced = BatchTrace::start(stage.as_str(), &input, &records);
        let logged = traced.as_ref().map(BatchTrace::log);
        let rows = records.len();
        self.examine(&mut records)?;
        let parts = self.writers.split(records);
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
    fn examine(&mut self, records: &mut [Record]) -> Result<(), Failure> {
        ask(self.handle, self.entrance.examine(records))?;
        self.status.turned();
        Ok(())
    }

    /// Applies parts side by side; where the store refuses a value, halves until the culprit stands alone.
    fn process(&mut self, parts: &[&[Record]]) -> Result<(), Failure> {
        for (records, cause) in self.apply(parts, None)? {
            if let [_] = records {
                let reject = self.refused_by_store(&cause);
                if let Some((_, cause)) = self.apply(&[records], Some(&reject))?.pop() {
                    return Err(Failure::Stage(StageError::Data(cause)));
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
        match is_value && self.settings.route.upstream.is_none() {
            true => reject,
            false => reject.suspicious(),
        }
    }

    /// Applies parts and sends what came of them; returns those of which the store refuses a value.
    fn apply<'r>(
        &mut self,
        parts: &[&'r [Record]],
        refuse_as: Option<&Reject>,
    ) -> Result<Vec<(&'r [Record], anyhow::Error)>, Failure> {
        let parts: Vec<(&[Record], Span)> =
            parts.iter().map(|records| (*records, self.span(records))).collect();
        self.status.turned();
        let applying = self.writers.apply(&parts, refuse_as);
        let applied = ask(self.handle, applying.map(Ok))?;
        self.status.turned();
        let (mut outputs, mut committed, mut refused, mut failed) =
            (Vec::new(), Vec::new(), Vec::new(), None);
        for ((records, span), result) in parts.into_iter().zip(applied) {
            match result {
                Ok(made) => {
                    self.positions.extend(span.iter().map(|(&partition, &(_, next))| (partition, next)));
                    self.measure(records);
                    outputs.extend(made);
                    committed.extend(span.into_keys());
                }
                Err(StageError::Data(cause)) => refused.push((records, cause)),
                Err(error) => failed = Some(error),
            }
        }
        // Whatever the other parts have committed is kept, and sent from there.
        if let Some(error) = failed {
            return Err(error.into());
        }
        if !committed.is_empty() {
            failpoint::pass("after_commit")?;
        }
        if !outputs.is_empty() {
            // What the store keeps of these is not acknowledged now: a stop that interrupts the waiting must
            // leave it there.
            self.acknowledged.retain(|partition| !committed.contains(partition));
            let mut phases = Phases::start(self.settings.route.stream);
            self.deliver(&outputs)?;
            phases.end("produce");
            self.acknowledged.extend(committed);
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
    pub(crate) fn deliver(&mut self, outputs: &[Output]) -> Result<(), Failure> {
        let before = self.source.assignment().epoch;
        let sink = self.sink.clone();
        let mut sending = pin!(sink.send_all(outputs));
        let mut slow = false;
        loop {
            match self.handle.block_on(async { timeout(ACK_SLICE, &mut sending).await }) {
                Ok(Ok(())) if slow => {
                    // Records were skipped while waiting: find the position again, without a resend.
                    self.acknowledged.extend(self.positions.keys());
                    self.forget_acknowledged();
                    return Err(Failure::Interrupted);
                }
                Ok(Err(missing @ ProduceError::NoPartition { .. })) => {
                    return Err(StageError::NeedsOperator(missing.to_string()).into());
                }
                Ok(result) => return result.map_err(|e| Failure::Kafka(e.into())),
                Err(_) => {
                    if !slow {
                        self.source.pause();
                        slow = true;
                    }
                    self.status.waiting("waiting for kafka to acknowledge outputs");
                    self.source.idle(Duration::ZERO);
                    // Whoever owns the partition now sends the kept outputs again.
                    if self.token.is_cancelled() || self.source.assignment().epoch != before {
                        return Err(Failure::Interrupted);
                    }
                }
            }
        }
    }

    /// Lets the store forget acknowledged outputs; a failure costs a few duplicates, never a loss.
    pub(crate) fn forget_acknowledged(&mut self) {
        if self.acknowledged.is_empty() {
            return;
        }
        let at = |partition: &i32| Some((*partition, *self.positions.get(partition)?));
        let positions: Vec<(i32, i64)> = self.acknowledged.iter().filter_map(at).collect();
        match self
            .handle
            .block_on(timeout(Duration::from_secs(2), self.writers.stage().forget_acknowledged(&positions)))
        {
            Ok(Ok(())) => self.acknowledged.clear(),
            // The next idle moment tries again.
            Ok(Err(e)) => tracing::debug!(error = %e, "acknowledged outputs stay kept"),
            Err(_) => tracing::debug!("acknowledged outputs stay kept"),
        }
    }

    /// Reports the failure, waits a little while serving the group, and has the position found again.
    fn recover(&mut self, failure: Failure) -> Result<(), RestartNeeded> {
        self.epoch = 0;
        let Some(Described { cause, mut message, error }) = failure.describe() else { return Ok(()) };
        if cause == "kafka" {
            message = waiting_for_kafka(&self.sink);
        }
        metrics::counter!(names::RETRIES, "stream" => self.settings.route.stream, "cause" => cause)
            .increment(1);
        if matches!(cause, "lost" | "operator") {
            tracing::error!(error, "{message}");
        } else {
            tracing::warn!(error, retry_ms = self.backoff.as_millis(), "{message}");
        }
        self.status.waiting(message);
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

/// What the loop waits for while Kafka is of no use.
pub(crate) fn waiting_for_kafka(sink: &impl Sink) -> String {
    match sink.refusal() {
        Some(refusal) => format!("kafka: {refusal}"),
        None => "waiting for kafka".to_owned(),
    }
}
