//! The HTTP surface that all services share.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::Secret;
use crate::health::Health;
use crate::metrics::{self, Metrics};
use crate::{linger, same_origin, trace};

pub use crate::api_error::{ApiError, Checked};

/// Time that a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(1);

/// Middleware: so many requests at once; one more waits a moment and is then told to come back.
async fn take_turns(State(turns): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match timeout(PATIENCE, turns.acquire()).await {
        Ok(Ok(_turn)) => next.run(request).await,
        _ => {
            let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many requests at once; try again");
            ([(header::RETRY_AFTER, "1")], error).into_response()
        }
    }
}

/// Adds health, metrics and API description to a service's own routes, and JSON for unknown paths.
///
/// Of its own routes `requests` are worked on at once; the others always answer. None takes a change from
/// another web page.
pub fn with_base_routes(
    routes: Router,
    health: Health,
    metrics: Metrics,
    docs: Router,
    requests: usize,
) -> Router {
    let turns = Arc::new(Semaphore::new(requests));
    let report = |State(health): State<Health>| async move {
        let report = health.report().await;
        let status = if report.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, axum::Json(report)).into_response()
    };
    Router::new()
        .route("/health", get(report))
        .route("/readyz", get(report))
        .route(
            "/metrics",
            get(async move |State(health): State<Health>| {
                let text = metrics.render(&health).await;
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            }),
        )
        .route("/livez", get(live))
        .with_state(health)
        .merge(docs)
        .merge(routes.layer(from_fn_with_state(turns, take_turns)).layer(from_fn(trace::http::follow)))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "no such path; see /openapi.json") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method; see /openapi.json")
        })
        .layer(from_fn(same_origin::require))
        .layer(from_fn(linger::linger))
        .layer(from_fn(metrics::http::measure))
}

/// Whether the process is of any use: not so when a loop of it hangs, however well its servers are.
async fn live(State(health): State<Health>) -> Response {
    if health.is_stalled() {
        let message = "a consumer loop hangs; start the service again";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    }
    axum::Json(serde_json::json!({"status": "ok"})).into_response()
}

/// Middleware for routes that change state or tell of a person: lets a request pass when it carries the key.
pub async fn require_api_key(State(key): State<Option<Secret>>, request: Request, next: Next) -> Response {
    let Some(key) = key else { return next.run(request).await };
    let given = request.headers().get("APIKEY").map(|value| value.as_bytes()).unwrap_or_default();
    // Constant time, so that the answer's delay tells nothing about the key.
    if bool::from(given.ct_eq(key.expose().as_bytes())) {
        return next.run(request).await;
    }
    let body = serde_json::json!({"message": "Error: Unauthorised with 'APIKEY'"});
    (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response()
}
