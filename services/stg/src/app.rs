//! Wires the streams to their handlers.

use std::future::ready;

use strata_events::StageId;
use strata_events::StreamSpec;
use strata_pipeline::Loops;
use strata_pipeline::parked::Parked;
use strata_service::redis::ReferenceKeys;
use strata_service::{App, Assembled, Route, Runnable, ServiceSpec};
use strata_streams::click::CLICK;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::order::ORDER;

use crate::click::handler::ClickHandler;
use crate::order::handler::OrderHandler;
use crate::reference::ReferenceCache;
use crate::search::handler::SearchHandler;

/// Name, port and API description of the service.
pub const SPEC: ServiceSpec = ServiceSpec {
    name: "stg_service",
    port_variable: "STG_PORT",
    openapi: include_str!("../openapi.json"),
    has_events: true,
};

/// Makes the loop of one stream.
type Build = fn(&Loops<'_>, &Route) -> anyhow::Result<Box<dyn Runnable>>;

/// What this layer does with each stream; a new one is one more line.
const STREAMS: &[(&StreamSpec, Build)] = &[(&ORDER, order), (&HOTEL_SEARCH, search), (&CLICK, click)];

fn order(loops: &Loops<'_>, route: &Route) -> anyhow::Result<Box<dyn Runnable>> {
    let keys = ReferenceKeys { prefix: loops.app.settings.redis_prefix.clone() };
    let reference = || ReferenceCache::new(loops.app.redis.clone(), keys.clone());
    Parked::start(loops, route, reference());
    Ok(loops.postgres(route, [OrderHandler::new(reference(), route.next()?)]))
}

fn search(loops: &Loops<'_>, route: &Route) -> anyhow::Result<Box<dyn Runnable>> {
    Ok(loops.postgres(route, [SearchHandler::new(route.next()?)]))
}

fn click(loops: &Loops<'_>, route: &Route) -> anyhow::Result<Box<dyn Runnable>> {
    Ok(loops.postgres(route, [ClickHandler::new(route.next()?)]))
}

/// Builds the service: one loop a stream.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    ready(assemble(&app))
}

fn assemble(app: &App) -> anyhow::Result<Assembled> {
    let loops = Loops::of(app)?;
    let route = |stream| app.settings.topics.route(stream, StageId::Stg);
    let workers =
        STREAMS.iter().filter_map(|&(stream, build)| route(stream).map(|route| build(&loops, &route)));
    let workers = workers.collect::<Result<_, _>>()?;
    Ok(Assembled { needs_redis: true, ..loops.assemble(workers) })
}
