//! Wires the streams to their handlers.

use std::future::ready;

use strata_events::stream::{ORDER, dlq_topic};
use strata_runtime::kafka::PgStage;
use strata_runtime::kafka::worker::{Worker, WorkerSettings};
use strata_runtime::redis::ReferenceKeys;
use strata_runtime::{App, Assembled, ServiceSpec};

use crate::order::handler::OrderHandler;
use crate::reference::ReferenceCache;

/// Name, port and API description of the service.
pub const SPEC: ServiceSpec = ServiceSpec {
    name: "stg_service",
    port_variable: "STG_PORT",
    openapi: include_str!("../../../shared/runtime/openapi/worker.json"),
};

/// Layer name in offsets, dead letters and consumer groups.
const STAGE: &str = "stg";

/// Builds the service: one loop a stream.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    let [input, output, _] = app.settings.topics.of(&ORDER).map(str::to_owned);
    let keys = ReferenceKeys { prefix: app.settings.redis_prefix.clone() };
    let handler = OrderHandler::new(ReferenceCache::new(app.redis, keys), output.clone());
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
    ready(Ok(Assembled {
        workers: vec![Box::new(worker)],
        needs_postgres: true,
        needs_redis: true,
        ..Assembled::default()
    }))
}
