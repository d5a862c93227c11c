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
type Build = fn(&App, &Lane) -> anyhow::Result<Box<dyn Runnable>>;

/// What this layer does with each stream; a new one is one more line.
const STREAMS: &[(&StreamSpec, Build)] = &[(&ORDER, order), (&HOTEL_SEARCH, search)];

fn order(app: &App, lane: &Lane) -> anyhow::Result<Box<dyn Runnable>> {
    let keys = ReferenceKeys { prefix: app.settings.redis_prefix.clone() };
    let reference = || ReferenceCache::new(app.redis.clone(), keys.clone());
    let handler = OrderHandler::new(reference(), lane.output()?);
    Parked::start(app, lane, reference());
    Ok(lane.worker(app, [handler]))
}

fn search(app: &App, lane: &Lane) -> anyhow::Result<Box<dyn Runnable>> {
    Ok(lane.worker(app, [SearchHandler::new(lane.output()?)]))
}

/// Builds the service: one loop per stream.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    let lane = |stream| Lane::new(&app.settings.topics, StageId::Stg, stream);
    let workers = STREAMS.iter().filter_map(|&(stream, build)| Some(build(&app, &lane(stream)?)));
    ready(workers.collect::<anyhow::Result<_>>().map(|workers| Assembled {
        workers,
        needs_postgres: true,
        needs_redis: true,
        ..Assembled::default()
    }))
}
