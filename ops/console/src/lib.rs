//! The console: the fleet as a living picture at `/`, and the REST of the control plane.
//!
//! One sampler looks at the fleet for all who watch, and only while somebody does; what it sees reaches the
//! browsers as server-sent events. Everything the page needs lies in this binary.

mod assets;
mod events;
mod forward;
mod lag;
mod latency;
mod offers;
mod reconcile;
mod reconciliation;
mod sampler;
mod top;

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use sqlx::PgPool;
use strata_observe::Observer;
use strata_pipeline::Producer;
use strata_service::http::require_api_key;
use strata_service::redis::{Connection, MetricsKeys};
use strata_service::{App, Assembled, Client, ServiceSpec, Settings};

use sampler::Sampler;

/// Name, port and API description of the console.
pub const SPEC: ServiceSpec = ServiceSpec {
    name: "console",
    port_variable: "CONSOLE_PORT",
    openapi: include_str!("../openapi.json"),
    has_events: false,
};

/// What the pages read from.
#[derive(Clone)]
struct Sources {
    settings: Settings,
    postgres: PgPool,
    redis: Connection,
    keys: MetricsKeys,
}

/// Builds the console.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    tokio::spawn(reconciliation::watch(app.postgres.clone(), app.shutdown.clone()));
    ready(assemble(&app))
}

fn assemble(app: &App) -> anyhow::Result<Assembled> {
    tokio::spawn(lag::watch(Observer::called(&app.settings, "strata-lag")?, app.shutdown.clone()));
    // It sends nothing, but `/health` says whether Kafka answers.
    let kafka: Arc<dyn Client> = Arc::new(Producer::new(&app.settings.kafka)?);
    let (routes, clients) = (routes(app)?, vec![kafka]);
    Ok(Assembled { routes, clients, needs_postgres: true, needs_redis: true, ..Assembled::default() })
}

/// The routes; nothing looks at the fleet yet.
fn routes(app: &App) -> anyhow::Result<Router> {
    let sources = Sources {
        settings: app.settings.clone(),
        postgres: app.http_postgres.clone(),
        redis: app.http_redis.clone(),
        keys: MetricsKeys::new(&app.settings.redis_prefix),
    };
    let history = latency::History::keep(&app.shutdown)?;
    let hotels = Router::new()
        .route("/dashboard/hotels/{hotel_id}/offers", get(offers::of_hotel))
        .with_state(sources.clone());
    let live = events::Live { sampler: Arc::new(Sampler::new(sources, history)), stop: app.shutdown.clone() };
    // An EventSource cannot send the key, so what wants it has a route of its own.
    let events = Router::new()
        .route("/dashboard/people", get(events::people))
        .route_layer(from_fn_with_state(app.settings.api_key.clone(), require_api_key))
        .route("/dashboard/events", get(events::stream))
        .with_state(live);
    let forwarded = Router::new()
        .route("/dashboard/push", post(forward::push))
        .route("/dashboard/users/{user_id}/products", get(forward::products))
        .route("/dashboard/users/{user_id}/categories", get(forward::categories))
        .with_state(forward::Forward::new()?);
    Ok(assets::routes().merge(hotels).merge(events).merge(forwarded).merge(reconcile::routes(app)))
}
