//! Single questions to the fleet, for tools that wait for it or work on it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use redis::aio::ConnectionManager;
use sqlx::PgPool;
use strata_events::StreamSpec;
use strata_events::stream::HOTEL_SEARCH;
use strata_runtime::redis::MetricsKeys;
use strata_runtime::{Settings, pg, redis as redis_client};

use crate::kafka::Topics;
use crate::store;

/// Kafka is asked no longer than this.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

pub use strata_events::stream::STAGES;

/// Where one stage stands in one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StagePosition {
    /// Records applied since the topic began.
    pub applied: i64,
    /// Records that Kafka holds, counted the same way.
    pub end: i64,
}

impl StagePosition {
    /// Records still to be applied.
    pub fn lag(self) -> i64 {
        self.end - self.applied
    }
}

/// Connections for looking at the fleet.
pub struct Fleet {
    /// Postgres.
    pub pool: PgPool,
    topics: Mutex<Topics>,
    redis: ConnectionManager,
    metrics_offsets: String,
    metrics_topic: String,
}

impl Fleet {
    /// Prepares the connections.
    pub fn connect(settings: &Settings) -> anyhow::Result<Self> {
        let pool = pg::pool(&settings.database_url, "strata")?;
        let topics = Mutex::new(Topics::new(&settings.kafka)?);
        let redis = redis_client::connect(&settings.redis_url)?;
        let metrics_offsets = MetricsKeys::new(&settings.redis_prefix).offsets();
        let metrics_topic = settings.topics.name(HOTEL_SEARCH.into_cdm).to_owned();
        Ok(Self { pool, topics, redis, metrics_offsets, metrics_topic })
    }

    /// Where each stage of a stream stands, in the order of [`STAGES`].
    pub async fn positions(
        &self,
        settings: &Settings,
        stream: &StreamSpec,
    ) -> anyhow::Result<[StagePosition; 3]> {
        let mut positions = [StagePosition::default(); 3];
        for (index, topic) in settings.topics.of(stream).into_iter().enumerate() {
            let stored = self.offsets(STAGES[index], topic).await?;
            for (partition, low, high) in self.watermarks(topic)? {
                positions[index].applied += stored.get(&partition).copied().unwrap_or(low);
                positions[index].end += high;
            }
        }
        Ok(positions)
    }

    /// Next offset by partition, as a stage stored it beside its data.
    pub async fn offsets(&self, stage: &str, topic: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
        if stage == "cdm" && topic == self.metrics_topic {
            return store::metrics_offsets(&mut self.redis.clone(), &self.metrics_offsets)
                .await
                .context("Redis does not answer; is the fleet up? (make up)");
        }
        let mut stored = store::offsets(&self.pool)
            .await
            .context("Postgres does not answer; is the fleet up? (make up)")?;
        Ok(stored.remove(&(stage.to_owned(), topic.to_owned())).unwrap_or_default())
    }

    /// Partitions of a topic, each with the first offset that Kafka holds and the one after its last.
    pub fn watermarks(&self, topic: &str) -> anyhow::Result<Vec<(i32, i64, i64)>> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let mut edges = topics
            .edges(&[topic], KAFKA_TIMEOUT)
            .context("Kafka does not answer; is the fleet up? (make up)")?;
        let edges = edges.remove(topic).unwrap_or_default().into_iter();
        Ok(edges.map(|(partition, (low, high))| (partition, low, high)).collect())
    }
}
