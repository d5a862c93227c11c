//! Prometheus metrics: the recorder and the names of what the runtime measures.

use metrics::{Unit, describe_counter, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Records by stream and outcome: `applied` or `dead_letter`.
pub const EVENTS: &str = "strata_events_total";
/// Records per batch, by stream.
pub const BATCH_ROWS: &str = "strata_batch_rows";
/// Seconds from the first record of a batch to its commit and acknowledged outputs, by stream.
pub const BATCH_SECONDS: &str = "strata_batch_seconds";
/// Dead letters by stream and reason.
pub const DEAD_LETTERS: &str = "strata_dead_letters_total";
/// Batches that had to be repeated, by stream and cause.
pub const RETRIES: &str = "strata_batch_retries_total";

/// Installs the recorder and returns what renders `/metrics`.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let rows = [1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(metrics_exporter_prometheus::Matcher::Full(BATCH_SECONDS.into()), &seconds)?
        .set_buckets_for_metric(metrics_exporter_prometheus::Matcher::Full(BATCH_ROWS.into()), &rows)?
        .install_recorder()?;
    describe_counter!(EVENTS, "Records by stream and outcome");
    describe_counter!(DEAD_LETTERS, "Dead letters by stream and reason");
    describe_counter!(RETRIES, "Batches repeated, by stream and cause");
    describe_histogram!(BATCH_ROWS, Unit::Count, "Records per batch");
    describe_histogram!(BATCH_SECONDS, Unit::Seconds, "Batch duration, outputs acknowledged");
    Ok(handle)
}
