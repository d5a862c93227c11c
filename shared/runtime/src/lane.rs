//! One stream's way through a layer that passes on what it reads.

use strata_events::StreamSpec;
use strata_events::stream::dlq_topic;

use crate::App;
use crate::kafka::worker::{Runnable, Worker, WorkerSettings};
use crate::kafka::{Handler, PgStage};

/// Where one stream enters a layer and where it leaves it.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Layer name in offsets, dead letters and consumer groups.
    pub stage: &'static str,
    /// The stream.
    pub stream: StreamSpec,
    /// Topic to read.
    pub input: String,
    /// Topic of the next layer.
    pub output: String,
}

impl Lane {
    /// Makes the loop between the two topics, its data in Postgres; it is not running yet.
    ///
    /// A large batch is written in as many transactions side by side as there are `handlers`.
    pub fn worker<H: Handler>(&self, app: &App, handlers: impl IntoIterator<Item = H>) -> Box<dyn Runnable> {
        let stage =
            |handler| PgStage::new(app.postgres.clone(), self.stage, self.stream.name, &self.input, handler);
        let settings = WorkerSettings {
            stage: self.stage,
            stream: self.stream.name,
            topic: self.input.clone(),
            upstream: app.settings.topics.upstream(&self.stream, &self.input),
            topics: vec![dlq_topic(&self.input), self.input.clone(), self.output.clone()],
            kafka: app.settings.kafka.clone(),
            batch: app.settings.batch,
        };
        let stages = handlers.into_iter().map(stage).collect();
        Box::new(Worker::new(settings, app.postgres.clone(), stages, app.producer.clone()))
    }
}
