//! Wires the streams to their stores.

use std::future::ready;

use anyhow::Context as _;
use strata_events::{StageId, StreamSpec};
use strata_pipeline::Loops;
use strata_service::redis::MetricsKeys;
use strata_service::{App, Assembled, Route, Runnable};
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::order::ORDER;

use crate::handler::OrderHandler;
use crate::metrics::stage::MetricsStage;
use crate::metrics::store::MetricsStore;
use crate::{api, metrics};

/// Makes the loop of one stream.
type Build = fn(&Loops<'_>, &Route) -> Box<dyn Runnable>;

/// What this layer does with each stream; a new one is one more line.
const STREAMS: &[(&StreamSpec, Build)] = &[(&ORDER, counters), (&HOTEL_SEARCH, search_metrics)];

fn counters(loops: &Loops<'_>, route: &Route) -> Box<dyn Runnable> {
    let mut settings = loops.settings(route);
    settings.batch.max_rows *= settings.batch.counters_factor;
    settings.batch.max_bytes *= settings.batch.counters_factor;
    settings.batch.patience = settings.batch.counters_patience;
    loops.worker(settings, vec![loops.pg_stage(route, OrderHandler)])
}

fn search_metrics(loops: &Loops<'_>, route: &Route) -> Box<dyn Runnable> {
    let store =
        MetricsStore::new(loops.app.redis.clone(), MetricsKeys::new(&loops.app.settings.redis_prefix));
    let stage = MetricsStage::new(store, loops.app.postgres.clone(), route);
    loops.worker(loops.settings(route), vec![stage])
}

/// Builds the service: one loop a stream, and what reads their stores.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    ready(assemble(&app))
}

fn assemble(app: &App) -> anyhow::Result<Assembled> {
    let loops = Loops::of(app).context("no client of Kafka can be made")?;
    let route = |stream| app.settings.topics.route(stream, StageId::Cdm);
    let workers =
        STREAMS.iter().filter_map(|&(stream, build)| route(stream).map(|route| build(&loops, &route)));
    let workers = workers.collect();
    let (keys, api_key) = (MetricsKeys::new(&app.settings.redis_prefix), app.settings.api_key.clone());
    let counters = api::routes(app.http_postgres.clone(), api_key.clone());
    let routes = counters.merge(metrics::api::routes(app.http_redis.clone(), keys, api_key));
    Ok(Assembled { routes, needs_redis: true, ..loops.assemble(workers) })
}
