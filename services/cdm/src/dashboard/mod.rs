//! The dashboard: the fleet as a living picture at `/`.
//!
//! One sampler looks at the fleet for all who watch, and only while somebody does; what it sees reaches the
//! browsers as server-sent events. Everything the page needs lies in this binary.

mod assets;
mod events;
mod latency;
mod offers;
mod push;
mod sampler;
mod top;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use redis::aio::ConnectionManager;
use sqlx::PgPool;
use strata_runtime::http::require_api_key;
use strata_runtime::redis::MetricsKeys;
use strata_runtime::{App, Settings};
use tokio_util::sync::CancellationToken;

use crate::metrics::ranking::Ranking;
use sampler::Sampler;

/// What the dashboard reads from.
#[derive(Clone)]
struct Sources {
    settings: Settings,
    postgres: PgPool,
    ranking: Ranking,
    redis: ConnectionManager,
    keys: MetricsKeys,
}

/// The routes of the dashboard; nothing looks at the fleet yet.
pub fn routes(app: &App) -> anyhow::Result<Router> {
    let sources = Sources {
        settings: app.settings.clone(),
        postgres: app.postgres.clone(),
        ranking: Ranking::new(app.redis.clone()),
        redis: app.redis.clone(),
        keys: MetricsKeys::new(&app.settings.redis_prefix),
    };
    let history = latency::History::keep(app.shutdown.clone());
    let stop: CancellationToken = app.shutdown.clone();
    let hotels = Router::new()
        .route("/dashboard/hotels/{hotel_id}/offers", get(offers::of_hotel))
        .with_state(sources.clone());
    // An EventSource cannot send the key, so what wants it has a route of its own.
    let events = Router::new()
        .route("/dashboard/people", get(events::people))
        .route_layer(from_fn_with_state(app.settings.api_key.clone(), require_api_key))
        .route("/dashboard/events", get(events::stream))
        .with_state(events::Live { sampler: Arc::new(Sampler::new(sources, history)), stop });
    let push = Router::new().route("/dashboard/push", post(push::forward)).with_state(push::Forward::new()?);
    Ok(assets::routes().merge(hotels).merge(events).merge(push))
}
