//! Reconcile by schedule and by request: one at a time over all instances, each outcome in
//! `ops.reconciliations`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgPool};
use strata_observe::reconcile_is_due;
use strata_service::http::{ApiError, require_api_key};
use strata_service::{App, SessionLock, Settings};
use tokio_util::sync::CancellationToken;

/// Number of the advisory lock under which one instance compares the layers.
const LOCK: i64 = 0x0073_7472_6174_6133;

/// Time between two questions whether it is time again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a reconcile works with.
struct Reconciler {
    settings: Settings,
    pool: PgPool,
}

/// The newest outcome.
#[derive(Serialize, FromRow)]
struct Outcome {
    finished_at: DateTime<Utc>,
    duration_ms: i64,
    checks: i32,
    differences: i64,
    /// The checks that found a difference, with the first rows of each.
    failed: Value,
}

/// The routes, which tell of persons where layers differ; starts the schedule.
pub fn routes(app: &App) -> Router {
    let reconciler = Arc::new(Reconciler { settings: app.settings.clone(), pool: app.postgres.clone() });
    tokio::spawn(Arc::clone(&reconciler).repeat(app.shutdown.clone()));
    Router::new()
        .route("/reconcile", get(newest).post(start))
        .route_layer(from_fn_with_state(app.settings.api_key.clone(), require_api_key))
        .with_state(reconciler)
}

impl Reconciler {
    /// Compares whenever the last outcome of any instance is older than the setting says.
    async fn repeat(self: Arc<Self>, stop: CancellationToken) {
        let every = self.settings.reconcile_every;
        while !every.is_zero() {
            // Postgres may be away; /health says so.
            if reconcile_is_due(&self.pool, every).await.unwrap_or_default()
                && let Ok(Some(lock)) = SessionLock::try_take(&self.pool, LOCK).await
                // Another instance may have ended one in between.
                && reconcile_is_due(&self.pool, every).await.unwrap_or_default()
            {
                self.run(lock).await;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Compares the layers and keeps the outcome.
    async fn run(&self, lock: SessionLock) {
        let outcome = async {
            let report = strata_audit::reconcile(&self.settings, |_| {}).await?;
            report.store(&self.pool, self.settings.keep_settled).await?;
            anyhow::Ok(report)
        };
        match outcome.await {
            Ok(report) if report.is_clean() => {
                tracing::info!(seconds = report.took.as_secs_f64(), "all layers agree");
            }
            Ok(report) => {
                let differences = report.differences();
                tracing::error!(differences, "layers differ; GET /reconcile names the first rows");
            }
            Err(e) => tracing::error!(error = format!("{e:#}"), "the layers could not be compared"),
        }
        drop(lock);
    }
}

/// Starts to compare the layers, unless that is being done; answers at once.
async fn start(State(reconciler): State<Arc<Reconciler>>) -> Result<Response, ApiError> {
    let lock = SessionLock::try_take(&reconciler.pool, LOCK).await;
    if let Some(lock) = lock.map_err(|e| ApiError::unavailable("postgres", &e))? {
        tokio::spawn(async move { reconciler.run(lock).await });
    }
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, "/reconcile")], Json(json!({"running": true})))
        .into_response())
}

/// The newest outcome, and whether another is on its way.
async fn newest(State(reconciler): State<Arc<Reconciler>>) -> Result<Json<Value>, ApiError> {
    let read = async {
        // In this order, so that what has just ended is not missed.
        let running = SessionLock::is_held(&reconciler.pool, LOCK).await?;
        let last: Option<Outcome> = sqlx::query_as(include_str!("../sql/select_newest_reconcile.sql"))
            .fetch_optional(&reconciler.pool)
            .await?;
        Ok(json!({"running": running, "last": last}))
    };
    read.await.map(Json).map_err(|e: sqlx::Error| ApiError::unavailable("postgres", &e))
}
