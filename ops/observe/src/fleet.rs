//! Single questions to the fleet, for tools that wait for it or work on it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::try_join_all;
use sqlx::PgPool;
use strata_events::{StoreKind, StreamSpec};
use strata_service::redis::{Connection, MetricsKeys};
use strata_service::{Settings, pg, redis as redis_client};
use strata_streams::STREAMS;

use crate::kafka::Topics;
use crate::store;

/// Kafka is asked no longer than this.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two looks at stages that are followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A fleet that applies nothing for this long does not work.
const STALL: Duration = Duration::from_secs(60);

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

    /// Follows the stages of these streams until `is_sent` holds and nothing is left to apply. `seen` is given how
    /// many records each has applied meanwhile, stream by stream, in the order of the hops.
    ///
    /// A server that is away comes back, so it is waited for; `told` hears every new reason. **Errors**: the stages
    /// lag, could be asked, and apply nothing for a minute.
    pub async fn follow(
        &self,
        settings: &Settings,
        streams: &[&StreamSpec],
        is_sent: impl Fn() -> bool,
        seen: impl Fn(&[u64]),
        told: impl Fn(&str),
    ) -> anyhow::Result<()> {
        let start = self.await_positions(settings, streams, &told).await;
        let (mut last, mut moved) = (start.clone(), Instant::now());
        loop {
            let (sent, asked) = (is_sent(), Instant::now());
            let now = self.await_positions(settings, streams, &told).await;
            // What no stage can be asked about is no standstill.
            moved += asked.elapsed();
            let applied = now.iter().zip(&start).map(|(now, start)| (now.applied - start.applied).max(0));
            seen(&applied.map(i64::unsigned_abs).collect::<Vec<_>>());
            let lagging = now.iter().position(|stage| stage.lag() > 0);
            // A stage that was empty-handed a moment ago may have been handed something since.
            if sent && lagging.is_none() && self.await_positions(settings, streams, &told).await == now {
                return Ok(());
            }
            if now != last {
                (last, moved) = (now.clone(), Instant::now());
            }
            if let Some(index) = lagging.filter(|_| moved.elapsed() > STALL) {
                let mut hops = streams.iter().flat_map(|s| s.hops.iter().map(|hop| (s.name, hop.stage)));
                let (stream, stage) = hops.nth(index).context("a stage of these streams")?;
                let (seconds, lag) = (STALL.as_secs(), now[index].lag());
                anyhow::bail!(
                    "{stream} {stage} has applied nothing for {seconds} s and lags by {lag}; its /health says why"
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Where the stages stand, as soon as all servers answer.
    async fn await_positions(
        &self,
        settings: &Settings,
        streams: &[&StreamSpec],
        told: &impl Fn(&str),
    ) -> Vec<StagePosition> {
        let mut reason = String::new();
        loop {
            let positions = streams.iter().map(|stream| self.positions(settings, stream));
            match try_join_all(positions).await {
                Ok(positions) => return positions.concat(),
                Err(error) if reason == format!("{error:#}") => {}
                Err(error) => {
                    reason = format!("{error:#}");
                    told(&reason);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
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
