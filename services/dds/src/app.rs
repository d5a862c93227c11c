//! Wires the streams to their handlers.

use std::future::ready;
use std::sync::Arc;

use strata_events::StageId;
use strata_events::StreamSpec;
use strata_pipeline::{Handler, Loops};
use strata_service::{App, Assembled, Route, Runnable, ServiceSpec};
use strata_streams::click::CLICK;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::order::ORDER;

use crate::click::handler::ClickHandler;
use crate::order::handler::OrderHandler;
use crate::search::handler::SearchHandler;

/// Name, port and API description of the service.
pub const SPEC: ServiceSpec = ServiceSpec {
    name: "dds_service",
    port_variable: "DDS_PORT",
    openapi: include_str!("../openapi.json"),
    has_events: true,
};

/// Makes the loop of one stream.
type Build = fn(&Loops<'_>, &Route) -> anyhow::Result<Box<dyn Runnable>>;

/// What this layer does with each stream; a new one is one more line.
const STREAMS: &[(&StreamSpec, Build)] = &[
    (&ORDER, |loops, route| side_by_side(loops, route, OrderHandler::new)),
    (&HOTEL_SEARCH, |loops, route| side_by_side(loops, route, SearchHandler::new)),
    (&CLICK, |loops, route| {
        Ok(loops.postgres(route, (0..loops.app.settings.batch.writers).map(|_| ClickHandler)))
    }),
];

/// A handler per transaction side by side: this layer computes and writes most, each as long as the other.
fn side_by_side<H: Handler>(
    loops: &Loops<'_>,
    route: &Route,
    handler: impl Fn(Arc<str>) -> H,
) -> anyhow::Result<Box<dyn Runnable>> {
    let output = route.next()?;
    let writers = loops.app.settings.batch.writers;
    Ok(loops.postgres(route, (0..writers).map(|_| handler(Arc::clone(&output)))))
}

/// Builds the service: one loop per stream.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    ready(assemble(&app))
}

fn assemble(app: &App) -> anyhow::Result<Assembled> {
    let loops = Loops::of(app)?;
    let route = |stream| app.settings.topics.route(stream, StageId::Dds);
    let workers =
        STREAMS.iter().filter_map(|&(stream, build)| route(stream).map(|route| build(&loops, &route)));
    let workers = workers.collect::<Result<_, _>>()?;
    Ok(loops.assemble(workers))
}
