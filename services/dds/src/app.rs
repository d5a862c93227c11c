//! Wires the streams to their handlers.

use std::future::ready;

use strata_events::StageId;
use strata_events::StreamSpec;
use strata_runtime::kafka::worker::Runnable;
use strata_runtime::{App, Assembled, Lane, ServiceSpec};
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::order::ORDER;

use crate::order::handler::OrderHandler;
use crate::search::handler::SearchHandler;

/// Name, port and API description of the service.
pub const SPEC: ServiceSpec =
    ServiceSpec { name: "dds_service", port_variable: "DDS_PORT", openapi: include_str!("../openapi.json") };

/// Makes the loop of one stream.
type Build = fn(&App, &Lane) -> anyhow::Result<Box<dyn Runnable>>;

/// What this layer does with each stream; a new one is one more line.
const STREAMS: &[(&StreamSpec, Build)] = &[(&ORDER, order), (&HOTEL_SEARCH, search)];

fn order(app: &App, lane: &Lane) -> anyhow::Result<Box<dyn Runnable>> {
    let output = lane.output()?;
    Ok(lane.worker(app, writers(app, || OrderHandler::new(output.clone()))))
}

fn search(app: &App, lane: &Lane) -> anyhow::Result<Box<dyn Runnable>> {
    let output = lane.output()?;
    Ok(lane.worker(app, writers(app, || SearchHandler::new(output.clone()))))
}

/// A handler per transaction side by side: this layer computes and writes most, each as long as the other.
fn writers<H>(app: &App, handler: impl Fn() -> H) -> impl Iterator<Item = H> {
    (0..app.settings.batch.writers).map(move |_| handler())
}

/// Builds the service: one loop per stream.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    let lane = |stream| Lane::new(&app.settings.topics, StageId::Dds, stream);
    let workers = STREAMS.iter().filter_map(|&(stream, build)| Some(build(&app, &lane(stream)?)));
    let workers = workers.collect::<anyhow::Result<_>>();
    ready(workers.map(|workers| Assembled { workers, needs_postgres: true, ..Assembled::default() }))
}
