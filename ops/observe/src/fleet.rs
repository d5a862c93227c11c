//! Single questions to the fleet, for tools that wait for it or work on it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;
use strata_events::{StoreKind, StreamSpec};
use strata_service::redis::{Connection, MetricsKeys};
use strata_service::{Settings, pg, redis as redis_client};
use strata_streams::STREAMS;

use crate::kafka::Topics;
use crate::store;

/// Kafka is asked no longer than this.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

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
    redis: Connection,
    metrics_offsets: String,
    /// Stages and topics whose offsets lie in Redis.
    in_redis: Vec<(&'static str, String)>,
}

impl Fleet {
    /// Prepares the connections.
    pub fn connect(settings: &Settings) -> anyhow::Result<Self> {
        let pool = pg::pool(&settings.postgres, "strata", settings.postgres.worker_connections);
        let topics = Mutex::new(Topics::new(&settings.kafka)?);
        let redis = redis_client::connect(&settings.redis);
        let metrics_offsets = MetricsKeys::new(&settings.redis_prefix).offsets();
        Ok(Self { pool, topics, redis, metrics_offsets, in_redis: in_redis(settings) })
    }

    /// Where each stage of a stream stands, in the order of its hops.
    pub async fn positions(
        &self,
        settings: &Settings,
        stream: &StreamSpec,
    ) -> anyhow::Result<Vec<StagePosition>> {
        let mut positions = Vec::with_capacity(stream.hops.len());
        for (stage, topic) in settings.topics.of(stream) {
            let stored = self.offsets(stage.as_str(), topic).await?;
            let mut position = StagePosition::default();
            for (partition, low, high) in self.watermarks(topic)? {
                position.applied += stored.get(&partition).copied().unwrap_or(low);
                position.end += high;
            }
            positions.push(position);
        }
        Ok(positions)
    }

    /// Next offset by partition, as a stage stored it beside its data.
    pub async fn offsets(&self, stage: &str, topic: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
        if self.in_redis.iter().any(|(known, of)| *known == stage && of == topic) {
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

/// Stages and topics whose data and offsets lie in Redis.
fn in_redis(settings: &Settings) -> Vec<(&'static str, String)> {
    let hops = STREAMS.iter().flat_map(|stream| stream.spec.hops).filter(|hop| hop.store == StoreKind::Redis);
    hops.map(|hop| (hop.stage.as_str(), settings.topics.name(hop.topic).to_owned())).collect()
}
