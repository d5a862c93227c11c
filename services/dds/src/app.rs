//! Wires the streams to their handlers.

use std::future::ready;

use strata_events::stream::{ORDER, dlq_topic};
use strata_runtime::kafka::PgStage;
use strata_runtime::kafka::worker::{Worker, WorkerSettings};
use strata_runtime::{App, Assembled, ServiceSpec};

use crate::order::handler::OrderHandler;

/// Name, port and API description of the service.
pub const SPEC: ServiceSpec = ServiceSpec {
    name: "dds_service",
    port_variable: "DDS_PORT",
    openapi: include_str!("../../../shared/runtime/openapi/worker.json"),
};

/// Layer name in offsets, dead letters and consumer groups.
const STAGE: &str = "dds";

/// Builds the service: one loop a stream.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    let [_, input, output] = app.settings.topics.of(&ORDER).map(str::to_owned);
    let handler = OrderHandler::new(output.clone());
    let stage = PgStage::new(app.postgres, STAGE, ORDER.name, &input, handler);
    let settings = WorkerSettings {
        stage: STAGE,
        stream: ORDER.name,
        topics: vec![dlq_topic(&input), input.clone(), output],
        topic: input,
        kafka: app.settings.kafka.clone(),
        batch: app.settings.batch,
    };
    let worker = Worker::new(settings, stage, app.producer);
    ready(Ok(Assembled { workers: vec![Box::new(worker)], needs_postgres: true, ..Assembled::default() }))
}
