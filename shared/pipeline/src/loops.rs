//! What the loops of one service are made with.

use std::sync::Arc;

use rdkafka::error::KafkaError;
use strata_service::{App, Assembled, Route, Runnable};

use crate::stage::{Handler, Stage};
use crate::turn::LoopSettings;
use crate::worker::Worker;
use crate::{Partitions, PgStage, Producer};

/// Makes loops over the connections of a service.
pub struct Loops<'a> {
    /// Settings and connections.
    pub app: &'a App,
    /// Sends the outputs of all of them.
    pub producer: Producer,
}

impl<'a> Loops<'a> {
    /// Makes the producer.
    pub fn of(app: &'a App) -> Result<Self, KafkaError> {
        let producer = Producer::new(&app.settings.kafka)?.naming(app.registry.clone());
        Ok(Self { app, producer })
    }

    /// The loop of a stage with its data in Postgres; it is not running yet.
    ///
    /// A large batch is written in as many transactions side by side as there are `handlers`.
    pub fn postgres<H: Handler>(
        &self,
        route: &Route,
        handlers: impl IntoIterator<Item = H>,
    ) -> Box<dyn Runnable> {
        let stages = handlers.into_iter().map(|handler| self.pg_stage(route, handler));
        self.worker(self.settings(route), stages.collect())
    }

    /// A stage with its data in Postgres.
    pub fn pg_stage<H: Handler>(&self, route: &Route, handler: H) -> PgStage<H> {
        let partitions = Partitions::of(self.producer.clone(), route.written());
        PgStage::new(self.app.postgres.clone(), route, partitions, handler)
    }

    /// The loop of stages that write a batch side by side.
    pub fn worker<S: Stage>(&self, settings: LoopSettings, stages: Vec<S>) -> Box<dyn Runnable> {
        Box::new(Worker::new(settings, self.app.postgres.clone(), stages, self.producer.clone()))
    }

    /// What a loop is told, as the service is told it.
    pub fn settings(&self, route: &Route) -> LoopSettings {
        let settings = &self.app.settings;
        LoopSettings {
            route: route.clone(),
            kafka: settings.kafka.clone(),
            batch: settings.batch,
            keep_settled: settings.keep_settled,
            registry: self.app.registry.clone(),
        }
    }

    /// A service of these loops, all of which need Postgres.
    pub fn assemble(self, workers: Vec<Box<dyn Runnable>>) -> Assembled {
        Assembled {
            workers,
            clients: vec![Arc::new(self.producer)],
            needs_postgres: true,
            ..Assembled::default()
        }
    }
}
