//! One layer's loop over one topic of a real Kafka, as the frame of a service starts and watches it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sqlx::PgPool;
use strata_events::StageId;
use strata_service::Runnable;
use strata_service::config::{KafkaSettings, Route};
use strata_service::status::WorkerStatus;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::ensure_topics;
use crate::consumer::Consumer;
use crate::entrance::Entrance;
use crate::failure::kafka_refusal;
use crate::metrics;
use crate::producer::Producer;
use crate::retention::Retention;
use crate::seams::{Sink, Source};
use crate::stage::Stage;
use crate::topic_check;
use crate::turn::{BACKOFF_MAX, Loop, LoopSettings, Parts, waiting_for_kafka};
use crate::writers::Writers;

/// Time between two looks whether the schema registry has agreed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Turns the loop of a stage over other ends than Kafka's, on this thread, until `token` stops it: so a stage is tested
/// with its handler and its store.
///
/// **Errors**: where only a new process would help.
pub fn turn_over<S: Stage>(
    settings: LoopSettings,
    pool: PgPool,
    stages: Vec<S>,
    (source, sink): (impl Source, impl Sink),
    status: Arc<WorkerStatus>,
    (handle, token): (&Handle, &CancellationToken),
) -> anyhow::Result<()> {
    // Timeouts are made on this thread, before the runtime polls them.
    let _entered = handle.enter();
    let (writers, entrance) = (
        Writers::new(stages, &settings.batch),
        Entrance::new(&settings.route, pool, settings.registry.clone()),
    );
    let parts = Parts { settings, writers, entrance, source, sink, status, handle, token };
    Ok(Loop::new(parts).turn().0?)
}

/// One layer's loop over one topic.
pub struct Worker<S> {
    settings: LoopSettings,
    writers: Writers<S>,
    pool: PgPool,
    producer: Producer,
    status: Arc<WorkerStatus>,
}

impl<S: Stage> Worker<S> {
    /// Makes a loop that is not running yet; large batches are written by all `stages` side by side.
    ///
    /// `pool` leads to the Postgres that keeps the offsets of the stage before, and the dead letters.
    pub fn new(settings: LoopSettings, pool: PgPool, stages: Vec<S>, producer: Producer) -> Self {
        let writers = Writers::new(stages, &settings.batch);
        Self { settings, writers, pool, producer, status: Arc::default() }
    }

    /// Waits until the schema registry has agreed to our schemas; false where the service stops before.
    fn has_schemas(&self, handle: &Handle, token: &CancellationToken) -> bool {
        while let Some(waiting) = self.settings.registry.waits_for() {
            self.status.waiting(waiting);
            if handle.block_on(timeout(LOOK_EVERY, token.cancelled())).is_ok() {
                return false;
            }
        }
        true
    }

    /// Creates topics that are missing; false where the service stops before Kafka has answered.
    fn has_topics(&self, topics: &[String], handle: &Handle, token: &CancellationToken) -> bool {
        while let Err(e) = handle.block_on(ensure_topics(&self.settings.kafka, topics)) {
            tracing::warn!(error = %e, "waiting for kafka to create topics");
            self.status.waiting(match kafka_refusal(&e) {
                Some(refusal) => format!("kafka {refusal}"),
                None => waiting_for_kafka(&self.producer),
            });
            if handle.block_on(timeout(BACKOFF_MAX, token.cancelled())).is_ok() {
                return false;
            }
        }
        true
    }
}

/// The consumer group in which the instances of a stage share a topic.
pub fn group(kafka: &KafkaSettings, stage: StageId, topic: &str) -> String {
    format!("{}{stage}-{topic}", kafka.group_prefix)
}

impl<S: Stage> Runnable for Worker<S> {
    fn status(&self) -> Arc<WorkerStatus> {
        Arc::clone(&self.status)
    }

    fn run(self: Box<Self>, handle: &Handle, token: &CancellationToken) -> anyhow::Result<()> {
        // Timeouts are made on this thread, before the runtime polls them.
        let _entered = handle.enter();
        let Route { stage, stream, input, upstream, .. } = self.settings.route.clone();
        let mut topics = self.settings.route.written();
        topics.push(input.clone());
        if !self.has_schemas(handle, token) || !self.has_topics(&topics, handle, token) {
            return Ok(());
        }
        let Self { settings, writers, pool, producer, status } = *self;
        let (kafka, keep) = (settings.kafka.clone(), settings.keep_settled);
        let retention =
            Retention { stage: stage.as_str(), topic: input.clone(), is_first: upstream.is_none(), keep };
        handle.spawn(retention.run(pool.clone(), token.clone()));
        handle.spawn(topic_check::watch(kafka.clone(), topics, Arc::clone(&status), token.clone()));
        let group = group(&kafka, stage, &input);
        let source = Consumer::subscribe(&kafka, &group, &input, producer.refusals().clone())?;
        metrics::announce_stream(stream);
        let entrance = Entrance::new(&settings.route, pool, settings.registry.clone());
        let parts = Parts { settings, writers, entrance, source, sink: producer, status, handle, token };
        let (ended, source) = Loop::new(parts).turn();
        if ended.is_err() {
            // It leaves its group meanwhile, and may wait for an answer that never comes.
            thread::spawn(move || drop(source));
        }
        Ok(ended?)
    }
}
