//! Wires the streams to their handlers.

use std::future::ready;

use strata_events::stream::dlq_topic;
use strata_events::{StageId, StreamSpec};
use strata_runtime::kafka::worker::{Worker, WorkerSettings};
use strata_runtime::kafka::{Partitions, PgStage};
use strata_runtime::redis::MetricsKeys;
use strata_runtime::{App, Assembled, ServiceSpec, Settings};
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::order::ORDER;

use crate::handler::OrderHandler;
use crate::metrics::stage::MetricsStage;
use crate::metrics::store::MetricsStore;
use crate::{api, metrics};

/// Name, port and API description of the service.
pub const SPEC: ServiceSpec =
    ServiceSpec { name: "cdm_service", port_variable: "CDM_PORT", openapi: include_str!("../openapi.json") };

/// Layer name in offsets, dead letters and consumer groups.
pub(crate) const STAGE: &str = StageId::Cdm.as_str();

/// Builds the service: one loop a stream.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    let App { settings, postgres, http_postgres, redis, http_redis, producer, .. } = app;
    let (mut orders, searches) = (input(&settings, &ORDER), input(&settings, &HOTEL_SEARCH));
    orders.batch.max_rows *= settings.batch.counters_factor;
    orders.batch.max_bytes *= settings.batch.counters_factor;
    orders.batch.patience = settings.batch.counters_patience;
    let order_stage = PgStage::new(
        postgres.clone(),
        [STAGE, ORDER.name],
        &orders.topic,
        Partitions::of(producer.clone(), vec![dlq_topic(&orders.topic)]),
        OrderHandler,
    );
    let keys = MetricsKeys::new(&settings.redis_prefix);
    let store = MetricsStore::new(redis, keys.clone());
    let search_stage = MetricsStage::new(store, postgres.clone(), &searches.topic);
    ready(Ok(Assembled {
        routes: api::routes(http_postgres, settings.api_key.clone()).merge(metrics::api::routes(
            http_redis,
            keys,
            settings.api_key,
        )),
        workers: vec![
            Box::new(Worker::new(orders, postgres.clone(), vec![order_stage], producer.clone())),
            Box::new(Worker::new(searches, postgres, vec![search_stage], producer)),
        ],
        needs_postgres: true,
        needs_redis: true,
    }))
}

/// What the loop of a stream reads.
fn input(settings: &Settings, stream: &StreamSpec) -> WorkerSettings {
    let topic = settings.topics.name(stream.topic(StageId::Cdm)).to_owned();
    WorkerSettings {
        stage: STAGE,
        stream: stream.name,
        upstream: settings.topics.upstream(stream, StageId::Cdm),
        topics: vec![dlq_topic(&topic), topic.clone()],
        topic,
        kafka: settings.kafka.clone(),
        batch: settings.batch,
        keep_settled: settings.keep_settled,
    }
}
