//! One stream's path through a layer: what it reads there, and what it passes on.

use anyhow::Context as _;
use strata_events::stream::dlq_topic;
use strata_events::{Hop, StageId, StreamSpec};

use crate::kafka::worker::{Runnable, Worker, WorkerSettings};
use crate::kafka::{Handler, Partitions, PgStage};
use crate::{App, Topics};

/// Where one stream enters a layer and where it leaves it.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The layer.
    pub stage: StageId,
    /// The stream.
    pub stream: &'static StreamSpec,
    /// Topic to read.
    pub input: String,
    /// Topic of the next layer; none where the stream ends here.
    pub output: Option<String>,
}

impl Lane {
    /// The lane of a stage that reads a hop of the stream; none where the stream does not pass it.
    pub fn new(topics: &Topics, stage: StageId, stream: &'static StreamSpec) -> Option<Self> {
        let name = |hop: &Hop| topics.name(hop.topic).to_owned();
        let input = stream.hop(stage).map(name)?;
        Some(Self { stage, stream, input, output: stream.after(stage).map(name) })
    }

    /// Topic of the next layer, for a stage that passes on what it reads.
    ///
    /// **Errors**: the stream ends here.
    pub fn output(&self) -> anyhow::Result<String> {
        let ends = || format!("the stream {} ends in {}", self.stream.name, self.stage);
        self.output.clone().with_context(ends)
    }

    /// Makes the loop of this lane, its data in Postgres; it is not running yet.
    ///
    /// A large batch is written in as many transactions side by side as there are `handlers`.
    pub fn worker<H: Handler>(&self, app: &App, handlers: impl IntoIterator<Item = H>) -> Box<dyn Runnable> {
        let letters = dlq_topic(&self.input);
        let stage = |handler| {
            let topics = [letters.clone()].into_iter().chain(self.output.clone()).collect();
            let partitions = Partitions::of(app.producer.clone(), topics);
            let names = [self.stage.as_str(), self.stream.name];
            PgStage::new(app.postgres.clone(), names, &self.input, partitions, handler)
        };
        let settings = WorkerSettings {
            stage: self.stage.as_str(),
            stream: self.stream.name,
            topic: self.input.clone(),
            upstream: app.settings.topics.upstream(self.stream, self.stage),
            topics: [letters.clone(), self.input.clone()].into_iter().chain(self.output.clone()).collect(),
            kafka: app.settings.kafka.clone(),
            batch: app.settings.batch,
            keep_settled: app.settings.keep_settled,
        };
        let stages = handlers.into_iter().map(stage).collect();
        Box::new(Worker::new(settings, app.postgres.clone(), stages, app.producer.clone()))
    }
}
