//! What the stores know of the fleet: where the stages stand, what they refused, what was proven.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use redis::{AsyncCommands as _, RedisResult};
use sqlx::PgPool;
use strata_service::redis::{Connection, MetricsKeys};

use crate::snapshot::{DeadLetters, Metrics, Reconcile};

/// Next offset by stage and topic, then by partition.
pub type Offsets = BTreeMap<(String, String), BTreeMap<i32, i64>>;

/// Where the stages stand whose data lie in Postgres.
pub async fn offsets(pool: &PgPool) -> sqlx::Result<Offsets> {
    let rows: Vec<(String, String, i32, i64)> =
        sqlx::query_as("select stage, topic, partition, next_offset from ops.consumer_offsets")
            .fetch_all(pool)
            .await?;
    let mut offsets = Offsets::new();
    for (stage, topic, partition, next) in rows {
        offsets.entry((stage, topic)).or_default().insert(partition, next);
    }
    Ok(offsets)
}

/// Where the stage stands whose data lie in Redis.
pub async fn metrics_offsets(redis: &mut Connection, key: &str) -> RedisResult<BTreeMap<i32, i64>> {
    redis.hgetall(key).await
}

/// How many users, hotels and advertisers the metrics know.
pub async fn metrics(redis: &mut Connection, keys: &MetricsKeys) -> RedisResult<Metrics> {
    let mut sizes = redis::pipe();
    sizes.zcard(keys.users()).zcard(keys.hotels()).zcard(keys.advertisers());
    let (users, hotels, advertisers) = sizes.query_async(redis).await?;
    Ok(Metrics { users, hotels, advertisers })
}

/// Open dead letters by kind.
pub async fn dead_letters(pool: &PgPool) -> sqlx::Result<Vec<DeadLetters>> {
    let rows: Vec<(String, String, String, i64)> =
        sqlx::query_as(include_str!("../sql/select_dead_letters.sql")).fetch_all(pool).await?;
    let kinds = rows.into_iter();
    Ok(kinds.map(|(stream, stage, reason, open)| DeadLetters { stream, stage, reason, open }).collect())
}

/// Records that wait for reference data.
pub async fn parked(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from ops.dead_letters where status = 'parked'").fetch_one(pool).await
}

/// The last run of `strata reconcile`, if there was one.
pub async fn last_reconcile(pool: &PgPool) -> sqlx::Result<Option<Reconcile>> {
    let row: Option<(DateTime<Utc>, i64, i32, i64)> =
        sqlx::query_as(include_str!("../sql/select_last_reconcile.sql")).fetch_optional(pool).await?;
    Ok(row.map(|(finished_at, duration_ms, checks, differences)| Reconcile {
        finished_at,
        duration_ms,
        checks,
        differences,
    }))
}

/// True where the last reconcile ended longer ago than this, or never did.
pub async fn reconcile_is_due(pool: &PgPool, every: Duration) -> sqlx::Result<bool> {
    let statement = include_str!("../sql/select_reconcile_is_due.sql");
    sqlx::query_scalar(statement).bind(every.as_secs_f64()).fetch_one(pool).await
}
