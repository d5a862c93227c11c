//! What the newest reconcile found, as metrics: the fleet is well only as far as that was proven.

use std::time::Duration;

use metrics::{Unit, describe_gauge, gauge};
use sqlx::PgPool;
use strata_observe::last_reconcile;
use strata_observe::snapshot::Reconcile;
use tokio_util::sync::CancellationToken;

/// Rows that differed in the newest run; 0 means that all layers agreed.
const DIFFERENCES: &str = "strata_reconcile_differences";
/// Comparisons of that run.
const CHECKS: &str = "strata_reconcile_checks";
/// How long it took.
const DURATION: &str = "strata_reconcile_duration_seconds";
/// When it ended, Unix seconds.
const FINISHED: &str = "strata_reconcile_finished_timestamp_seconds";

/// Time between two looks; a run is rarer by far.
const EVERY: Duration = Duration::from_secs(10);

/// Shows the newest run until the service stops; nothing is shown before there is one.
pub async fn watch(pool: PgPool, stop: CancellationToken) {
    describe_gauge!(DIFFERENCES, "Rows that differed between the layers in the newest reconcile");
    describe_gauge!(CHECKS, "Comparisons that the newest reconcile made");
    describe_gauge!(DURATION, Unit::Seconds, "Duration of the newest reconcile");
    describe_gauge!(FINISHED, Unit::Seconds, "When the newest reconcile ended, Unix time");
    loop {
        match last_reconcile(&pool).await {
            Ok(Some(run)) => show(&run),
            Ok(None) => {}
            // Postgres may be away; /health says so.
            Err(e) => tracing::debug!(error = %e, "the newest reconcile is not known"),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn show(run: &Reconcile) {
    gauge!(DIFFERENCES).set(run.differences as f64);
    gauge!(CHECKS).set(run.checks);
    gauge!(DURATION).set(run.duration_ms as f64 / 1000.0);
    gauge!(FINISHED).set(run.finished_at.timestamp_millis() as f64 / 1000.0);
}
