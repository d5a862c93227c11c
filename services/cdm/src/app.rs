//! Wires the streams to their handlers.

use std::future::ready;

use strata_events::stream::{ORDER, dlq_topic};
use strata_runtime::kafka::PgStage;
use strata_runtime::kafka::worker::{Worker, WorkerSettings};
use strata_runtime::{App, Assembled, ServiceSpec};

use crate::api;
use crate::handler::OrderHandler;

/// Name, port and API description of the service.
pub const SPEC: ServiceSpec =
    ServiceSpec { name: "cdm_service", port_variable: "CDM_PORT", openapi: include_str!("../openapi.json") };

/// Layer name in offsets, dead letters and consumer groups.
pub(crate) const STAGE: &str = "cdm";

/// Builds the service: one loop a stream.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    let [_, _, input] = app.settings.topics.of(&ORDER).map(str::to_owned);
    let stage = PgStage::new(app.postgres.clone(), STAGE, ORDER.name, &input, OrderHandler);
    let settings = WorkerSettings {
        stage: STAGE,
        stream: ORDER.name,
        topics: vec![dlq_topic(&input), input.clone()],
        topic: input,
        kafka: app.settings.kafka.clone(),
        batch: app.settings.batch,
    };
    let worker = Worker::new(settings, stage, app.producer);
    ready(Ok(Assembled {
        routes: api::routes(app.postgres),
        workers: vec![Box::new(worker)],
        needs_postgres: true,
        ..Assembled::default()
    }))
}
