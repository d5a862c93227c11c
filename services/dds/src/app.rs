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
type Build = fn(&App, &Lane) -> Box<dyn Runnable>;

/// What this layer does with each stream; a new one is one more line.
const STREAMS: &[(&StreamSpec, Build)] = &[
    (&ORDER, |app, lane| lane.worker(app, writers(app, || OrderHandler::new(lane.output.clone())))),
    (&HOTEL_SEARCH, |app, lane| lane.worker(app, writers(app, || SearchHandler::new(lane.output.clone())))),
];

/// A handler per transaction side by side: this layer computes and writes most, each as long as the other.
fn writers<H>(app: &App, handler: impl Fn() -> H) -> impl Iterator<Item = H> {
    (0..app.settings.batch.writers).map(move |_| handler())
}

/// Builds the service: one loop per stream.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    let topics = &app.settings.topics;
    let workers = STREAMS.iter().filter_map(|&(stream, build)| {
        Lane::new(topics, StageId::Dds, stream).map(|lane| build(&app, &lane))
    });
    ready(Ok(Assembled { workers: workers.collect(), needs_postgres: true, ..Assembled::default() }))
}
