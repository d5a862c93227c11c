//! What the fleet remembers of itself for a while only: settled dead letters, outcomes of `strata reconcile`.
//!
//! Dead letters go by a small task of each loop, once an hour, outside of the loop's transaction and in small batches; several instances
//! skip each other's rows. Open and parked ones are never removed. Nor are:
//!
//! - what dds and cdm discarded: the layer before holds it forever, so reconcile and rebuild must know that it is
//!   missing on purpose. They are few, since a stage that refuses much of what another wrote stops;
//! - a replayed one of which a copy is still open: it tells that the copy must not be replayed, too;
//! - one that is dated later than it could go: reconcile looks for it as long as Kafka has it;
//! - numbers of replays: they lie in `ops.replay_sequences`, which never goes back.
//!
//! `ops.origin_watermarks` needs no removal. Origins are believed only where the stage before has read them, so the
//! table is bounded by the partitions of the fleet's topics.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often it is looked for what may go.
const EVERY: Duration = Duration::from_secs(3600);

/// Rows that are removed in one statement.
const CHUNK: i64 = 1000;

/// The dead letters of one loop, and how long settled ones are kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Layer that refuses.
    pub stage: &'static str,
    /// Topic that it reads.
    pub topic: String,
    /// True where no stage writes the topic.
    pub is_first: bool,
    /// Settled ones are kept for so long.
    pub keep: Duration,
}

impl Retention {
    /// Removes what may go, again and again until `stop`.
    pub async fn run(self, pool: PgPool, stop: CancellationToken) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let Self { stage, topic, .. } = &self;
            match stop.run_until_cancelled(self.remove(&pool, Utc::now())).await {
                Some(Ok(0)) => {}
                Some(Ok(removed)) => tracing::info!(stage, topic, removed, "old dead letters are removed"),
                Some(Err(error)) => {
                    tracing::warn!(%error, stage, topic, "old dead letters stay for another hour");
                }
                None => return,
            }
        }
    }

    /// Removes what was settled long before `now`; returns how many.
    ///
    /// **Idempotent**: what is removed is gone.
    pub async fn remove(&self, pool: &PgPool, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
        let mut removed = 0;
        loop {
            let done = sqlx::query(include_str!("../sql/delete_settled_dead_letters.sql"))
                .bind(self.stage)
                .bind(&self.topic)
                .bind(now - self.keep)
                .bind(self.is_first)
                .bind(CHUNK)
                .execute(pool)
                .await?;
            removed += done.rows_affected();
            if done.rows_affected() < CHUNK.unsigned_abs() {
                return Ok(removed);
            }
        }
    }
}

/// Removes outcomes of runs of `strata reconcile` that finished before a moment, at most a thousand: few come between
/// two runs. The newest stays, since it tells when the fleet was last proven.
pub async fn remove_outcomes(pool: &PgPool, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from ops.reconciliations where id in ( \
             select id from ops.reconciliations \
             where finished_at < $1 and id < (select max(id) from ops.reconciliations) \
             order by finished_at limit $2 for update skip locked)",
    )
    .bind(before)
    .bind(CHUNK)
    .execute(pool)
    .await?;
    Ok(())
}
