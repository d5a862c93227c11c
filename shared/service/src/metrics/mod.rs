//! Prometheus metrics: what the frame measures, and the text of `/metrics`.
//!
//! docs/METRICS.md lists every metric; a test compares it with what running services show.

pub mod http;
pub mod text;

use std::time::Duration;

use metrics::describe_gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sqlx::PgPool;

use crate::health::Health;

const BUILD_INFO: &str = "strata_build_info";
const HEALTHY: &str = "strata_healthy";
const POOL: &str = "strata_postgres_pool_connections";
const POOL_MAX: &str = "strata_postgres_pool_max_connections";

/// Samples of histograms wait in memory until they are folded into buckets: by a scrape, or by this.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What renders `/metrics`.
#[derive(Clone)]
pub struct Metrics {
    recorded: PrometheusHandle,
    process: metrics_process::Collector,
    service: &'static str,
    pool: Option<PgPool>,
}

impl Metrics {
    /// Installs the recorder; `pool` is absent where the service does not use Postgres.
    ///
    /// Call within the tokio runtime, once.
    pub fn install(service: &'static str) -> anyhow::Result<Self> {
        let seconds =
            [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
        let rows = [1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0];
        let recorded = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)?
            .set_buckets_for_metric(Matcher::Suffix("_rows".into()), &rows)?
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
        Ok(Self { recorded, process, service, pool: None })
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
        self.process.collect();
        let mut text = self.recorded.render();
        for client in &health.clients {
            client.expose(&mut text);
        }
        text
    }
}

fn describe() {
    describe_gauge!(BUILD_INFO, "Always 1; the labels say which build runs");
    describe_gauge!(HEALTHY, "1 when this check of /health is well, 0 when it is not");
    describe_gauge!(
        POOL,
        "Connections of the consumer loops to Postgres that are open, by state: idle or used"
    );
    describe_gauge!(POOL_MAX, "Most connections to Postgres that the consumer loops open");
    http::describe();
}
