//! Prometheus metrics: the names of what the runtime measures, and the text of `/metrics`.
//!
//! docs/METRICS.md lists every metric; a test compares it with what running services show. Nothing is
//! measured per record but [`latency`], which counts in place: no allocation, no lock.

pub mod http;
pub mod lag;
pub mod latency;
mod text;
pub mod written;

use std::time::{Duration, Instant};

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sqlx::PgPool;

use crate::health::Health;
use crate::kafka::Producer;

/// Records by stream and outcome, one of `OUTCOMES`.
pub const EVENTS: &str = "strata_events_total";
/// What becomes of a record; `duplicate` was applied before, `parked` waits for reference data.
const OUTCOMES: [&str; 4] = ["applied", "duplicate", "parked", "dead_letter"];
/// Records per batch, by stream.
pub const BATCH_ROWS: &str = "strata_batch_rows";
/// Seconds from the first record of a batch to its commit and acknowledged outputs, by stream.
pub const BATCH_SECONDS: &str = "strata_batch_seconds";
/// Seconds of a batch by stream and phase, see [`Phases`].
pub const BATCH_PHASE_SECONDS: &str = "strata_batch_phase_seconds";
/// Dead letters by stream and reason.
pub const DEAD_LETTERS: &str = "strata_dead_letters_total";
/// Batches that had to be repeated, by stream and cause.
pub const RETRIES: &str = "strata_batch_retries_total";
/// Every cause of [`RETRIES`], so that each shows from the start.
pub const RETRY_CAUSES: [&str; 6] = ["data", "fenced", "kafka", "lost", "operator", "transient"];

/// Records that wait for reference data, by stream.
pub const PARKED: &str = "strata_parked_records";

const BUILD_INFO: &str = "strata_build_info";
const HEALTHY: &str = "strata_healthy";
const POOL: &str = "strata_postgres_pool_connections";
const POOL_MAX: &str = "strata_postgres_pool_max_connections";
const PRODUCER_QUEUE: &str = "strata_producer_queue_messages";

/// Samples of histograms wait in memory until they are folded into buckets: by a scrape, or by this.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What renders `/metrics`.
#[derive(Clone)]
pub struct Metrics {
    recorded: PrometheusHandle,
    process: metrics_process::Collector,
    service: &'static str,
    pool: Option<PgPool>,
    producer: Producer,
}

impl Metrics {
    /// Installs the recorder; `pool` is absent where the service does not use Postgres.
    ///
    /// Call within the tokio runtime, once.
    pub fn install(service: &'static str, producer: Producer) -> anyhow::Result<Self> {
        let seconds =
            [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
        let rows = [1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0];
        let recorded = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)?
            .set_buckets_for_metric(Matcher::Full(BATCH_ROWS.into()), &rows)?
            .install_recorder()?;
        let upkeep = recorded.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP_EVERY).await;
                upkeep.run_upkeep();
            }
        });
        describe();
        let process = metrics_process::Collector::default();
        process.describe();
        metrics::gauge!(BUILD_INFO, "service" => service, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { recorded, process, service, pool: None, producer })
    }

    /// Shows the connections of this pool too.
    pub fn with_pool(self, pool: Option<PgPool>) -> Self {
        Self { pool, ..self }
    }

    /// The text of `/metrics`: what was recorded, and what is asked for only now.
    pub async fn render(&self, health: &Health) -> String {
        let report = health.report().await;
        for (check, ok) in report.results() {
            metrics::gauge!(HEALTHY, "service" => self.service, "check" => check)
                .set(f64::from(u8::from(ok)));
        }
        if let Some(pool) = &self.pool {
            let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
            metrics::gauge!(POOL, "state" => "idle").set(idle);
            metrics::gauge!(POOL, "state" => "used").set(pool.size().saturating_sub(idle));
            metrics::gauge!(POOL_MAX).set(pool.options().get_max_connections());
        }
        metrics::gauge!(PRODUCER_QUEUE).set(self.producer.queued());
        self.process.collect();
        let mut text = self.recorded.render();
        latency::write(&mut text);
        lag::write(&mut text);
        text
    }
}

fn describe() {
    describe_counter!(EVENTS, "Records by stream and outcome: applied, duplicate, parked or dead_letter");
    describe_counter!(DEAD_LETTERS, "Dead letters by stream and reason");
    describe_counter!(RETRIES, "Batches repeated, by stream and cause");
    describe_histogram!(BATCH_ROWS, Unit::Count, "Records per batch");
    describe_histogram!(BATCH_SECONDS, Unit::Seconds, "Batch duration, outputs acknowledged");
    describe_histogram!(BATCH_PHASE_SECONDS, Unit::Seconds, "Duration of one phase of a batch");
    describe_counter!(written::ROWS, "Rows that committed batches inserted or updated, by table");
    describe_gauge!(BUILD_INFO, "Always 1; the labels say which build runs");
    describe_gauge!(HEALTHY, "1 when this check of /health is well, 0 when it is not");
    describe_gauge!(
        POOL,
        "Connections of the consumer loops to Postgres that are open, by state: idle or used"
    );
    describe_gauge!(POOL_MAX, "Most connections to Postgres that the consumer loops open");
    describe_gauge!(PRODUCER_QUEUE, "Records that Kafka has not acknowledged yet");
    describe_gauge!(PARKED, "Records that wait for reference data, as the table has them");
    http::describe();
}

/// Shows the counters of a stream from the start, so that the first increment is seen as one.
pub fn announce_stream(stream: &'static str) {
    for outcome in OUTCOMES {
        metrics::counter!(EVENTS, "stream" => stream, "outcome" => outcome).increment(0);
    }
    for cause in RETRY_CAUSES {
        metrics::counter!(RETRIES, "stream" => stream, "cause" => cause).increment(0);
    }
}

/// Measures the phases of one batch, each from the end of the one before.
///
/// `decode` reads the records, `apply` fences and writes their rows, `commit` keeps outputs and offsets and
/// commits, `produce` waits until Kafka has the outputs.
pub struct Phases {
    stream: &'static str,
    since: Instant,
}

impl Phases {
    /// Starts the clock.
    pub fn start(stream: &'static str) -> Self {
        Self { stream, since: Instant::now() }
    }

    /// The phase ends here.
    pub fn end(&mut self, phase: &'static str) {
        let now = Instant::now();
        let took = now.duration_since(std::mem::replace(&mut self.since, now));
        metrics::histogram!(BATCH_PHASE_SECONDS, "stream" => self.stream, "phase" => phase)
            .record(took.as_secs_f64());
    }
}
