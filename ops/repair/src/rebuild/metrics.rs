//! `strata rebuild metrics`: Redis, rebuilt from the vault, exactly, while the fleet runs.
//!
//! One snapshot of Postgres holds the searches and dds' `next_offset` of each partition p, which moves in the
//! transaction that stores the searches. So a search whose origin in p lies below it is in the snapshot, and
//! any other is not. The sums of the snapshot are put in place together with the watermark `next_offset - 1`
//! of every (partition of the metrics topic, p) and with the first offsets that Kafka holds: cdm, fenced by
//! the moved offsets, reads the topic again, skips what the snapshot has and adds what came later. Every such
//! message is still in Kafka, since it was sent after the snapshot.
//!
//! Messages sent to the metrics topic by hand are not in the vault; those that Kafka still holds count again.

use std::time::Duration;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Script};
use sqlx::{PgPool, Postgres, Transaction};
use strata_events::StageId;
use strata_observe::Fleet;
use strata_service::redis::MetricsKeys;
use strata_service::{Settings, failpoint};
use strata_streams::mart::Frequency;
use strata_streams::{Metrics, STREAMS};

use super::counted::Counted;
use super::{begin, expect_whole_tables};
use crate::Progress;

/// Rows that go to Redis in one request.
const CHUNK: usize = 1000;

/// Longest answer of Redis: putting a million hashes in place takes it seconds.
const REDIS_TIMEOUT: Duration = Duration::from_secs(60);

/// What was counted.
#[derive(Debug)]
pub struct MetricsRebuilt {
    /// What the metrics have the most values of, for people.
    pub owners: &'static str,
    /// How many of them the metrics know now.
    pub count: i64,
    /// Dead letters of cdm that are settled by it.
    pub dead_letters: u64,
}

/// Rebuilds the metrics, under the lock that the caller holds.
pub async fn rebuild(
    settings: &Settings,
    fleet: &Fleet,
    progress: &mut Progress<'_>,
) -> anyhow::Result<MetricsRebuilt> {
    let found = STREAMS.iter().find_map(|stream| Some((stream.spec, stream.metrics()?)));
    let (spec, metrics) = found.context("no stream has metrics")?;
    let [origin_topic, topic] =
        [StageId::Dds, StageId::Cdm].map(|stage| settings.topics.name(spec.topic(stage)));
    anyhow::ensure!(
        !fleet.watermarks(topic)?.is_empty(),
        "Kafka has no topic {topic}; start the fleet first"
    );
    let mut rebuild = Rebuild::connect(settings, metrics).await?;
    let mut snapshot = take_snapshot(&fleet.pool).await?;
    let read: Vec<(i32, i64)> = sqlx::query_as(
        "select partition, next_offset from ops.consumer_offsets where stage = 'dds' and topic = $1",
    )
    .bind(origin_topic)
    .fetch_all(&mut *snapshot)
    .await?;
    let counted = Counted::new(&mut snapshot, [origin_topic, topic], read.into_iter()).await?;
    rebuild.fill(&mut snapshot, progress).await?;
    snapshot.rollback().await?;
    make_durable(&fleet.pool).await?;
    // As late as possible: retention may delete records while this runs.
    let first: Vec<(i32, i64)> = fleet.watermarks(topic)?.iter().map(|&(q, low, _)| (q, low)).collect();
    failpoint::pass("rebuild_before_swap")?;
    let count = rebuild.swap(&first, &counted).await?;
    let mut tx = begin(&fleet.pool).await?;
    let dead_letters = counted.mark(&mut tx).await?;
    tx.commit().await?;
    Ok(MetricsRebuilt { owners: metrics.lowest.owners.name, count, dead_letters })
}

/// Begins the transaction that sees searches and offsets of one moment.
async fn take_snapshot(pool: &PgPool) -> anyhow::Result<Transaction<'static, Postgres>> {
    let mut tx = begin(pool).await?;
    sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *tx).await?;
    expect_whole_tables(&mut tx).await?;
    Ok(tx)
}

/// Has Postgres write everything that the snapshot saw to disk.
///
/// The services commit asynchronously. Were such a commit taken back by a crash after its searches went to
/// Redis, dds could announce the same search with another origin.
async fn make_durable(pool: &PgPool) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    sqlx::query("set synchronous_commit = on").execute(&mut *connection).await?;
    sqlx::query("select pg_current_xact_id()").execute(&mut *connection).await?;
    Ok(())
}

/// The metrics under construction.
struct Rebuild {
    redis: MultiplexedConnection,
    keys: MetricsKeys,
    new: MetricsKeys,
    metrics: &'static Metrics,
}

impl Rebuild {
    async fn connect(settings: &Settings, metrics: &'static Metrics) -> anyhow::Result<Self> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(REDIS_TIMEOUT));
        let redis = settings
            .redis
            .client()
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .context("Redis does not answer; is it up? (make servers)")?;
        let keys = MetricsKeys::new(&settings.redis_prefix);
        Ok(Self { redis, new: keys.rebuilt(), keys, metrics })
    }

    /// Sums the snapshot up beside the metrics in use.
    async fn fill(
        &mut self,
        snapshot: &mut Transaction<'static, Postgres>,
        progress: &mut Progress<'_>,
    ) -> anyhow::Result<()> {
        let Self { redis, new, metrics: Metrics { frequencies, lowest, .. }, .. } = self;
        let clear = Script::new(include_str!("../../lua/clear_metrics.lua"));
        let mut clear = clear.key(new.named(lowest.owners.name));
        clear.key(new.named(lowest.prefix));
        for frequency in *frequencies {
            clear.key(new.named(frequency.name));
        }
        clear.invoke_async::<()>(redis).await?;
        // Owners before their hashes: whatever is interrupted, they list what is to be cleared.
        for Frequency { name, law: statement, .. } in *frequencies {
            let key = new.named(name);
            let mut rows =
                sqlx::query_as::<_, (String, i64)>(statement).fetch(&mut **snapshot).try_chunks(CHUNK);
            while let Some(chunk) = rows.try_next().await? {
                let mut add = redis::cmd("ZADD");
                add.arg(&key);
                for (member, times) in &chunk {
                    add.arg(times).arg(member);
                }
                add.exec_async(redis).await?;
                progress(name, chunk.len() as u64);
            }
        }
        let rows = sqlx::query_as::<_, (String, String, i64)>(lowest.law).fetch(&mut **snapshot);
        let mut rows = rows.try_chunks(CHUNK);
        while let Some(chunk) = rows.try_next().await? {
            let mut pipeline = redis::pipe();
            for (owner, other, value) in &chunk {
                pipeline.hset(new.named(lowest.prefix) + owner, other, value).ignore();
            }
            pipeline.exec_async(redis).await?;
            progress(lowest.name, chunk.len() as u64);
        }
        Ok(())
    }

    /// Puts the rebuilt metrics in place, at the positions that they stand for.
    async fn swap(&mut self, first: &[(i32, i64)], counted: &Counted) -> anyhow::Result<i64> {
        let Self { redis, keys, new, metrics: Metrics { frequencies, lowest, .. } } = self;
        let script = Script::new(include_str!("../../lua/swap_metrics.lua"));
        let mut call = script.prepare_invoke();
        let places = [keys.offsets(), keys.watermarks(), keys.named(lowest.owners.name)];
        let hashes = [keys.named(lowest.prefix), new.named(lowest.prefix)];
        let sets =
            frequencies.iter().flat_map(|frequency| [&*keys, &*new].map(|keys| keys.named(frequency.name)));
        for key in places.into_iter().chain(hashes).chain(sets) {
            call.key(key);
        }
        call.arg(first.len());
        for (partition, offset) in first {
            call.arg(partition).arg(offset);
        }
        for origin in counted.origins() {
            for (partition, _) in first {
                call.arg(MetricsKeys::watermark(*partition, &origin.topic, origin.partition))
                    .arg(origin.offset);
            }
        }
        Ok(call.invoke_async(redis).await?)
    }
}
