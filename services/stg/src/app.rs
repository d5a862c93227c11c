//! Wires the streams to their handlers.

use std::future::ready;

use strata_events::StageId;
use strata_events::StreamSpec;
use strata_runtime::kafka::parked::Parked;
use strata_runtime::kafka::worker::Runnable;
use strata_runtime::redis::ReferenceKeys;
use strata_runtime::{App, Assembled, Lane, ServiceSpec};
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::order::ORDER;

use crate::order::handler::OrderHandler;
use crate::reference::ReferenceCache;
use crate::search::handler::SearchHandler;

/// Name, port and API description of the service.
pub const SPEC: ServiceSpec =
    ServiceSpec { name: "stg_service", port_variable: "STG_PORT", openapi: include_str!("../openapi.json") };

/// Makes the loop of one stream.
type Build = fn(&App, &Lane) -> Box<dyn Runnable>;

/// What this layer does with each stream; a new one is one more line.
const STREAMS: &[(&StreamSpec, Build)] = &[(&ORDER, order), (&HOTEL_SEARCH, search)];

fn order(app: &App, lane: &Lane) -> Box<dyn Runnable> {
    let keys = ReferenceKeys { prefix: app.settings.redis_prefix.clone() };
    let reference = || ReferenceCache::new(app.redis.clone(), keys.clone());
    Parked::start(app, lane, reference());
    lane.worker(app, [OrderHandler::new(reference(), lane.output.clone())])
}

fn search(app: &App, lane: &Lane) -> Box<dyn Runnable> {
    lane.worker(app, [SearchHandler::new(lane.output.clone())])
}

/// Builds the service: one loop a stream.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    let topics = &app.settings.topics;
    let workers = STREAMS.iter().filter_map(|&(stream, build)| {
        Lane::new(topics, StageId::Stg, stream).map(|lane| build(&app, &lane))
    });
    ready(Ok(Assembled {
        workers: workers.collect(),
        needs_postgres: true,
        needs_redis: true,
        ..Assembled::default()
    }))
}
