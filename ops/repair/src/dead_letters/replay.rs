//! Open dead letters through their stage again, each with the effect of one event.
//!
//! How that is safe to interrupt and to repeat: [`strata_pipeline::replay`].

use std::time::Duration;

use sqlx::PgPool;
use strata_events::stream::dlq_topic;
use strata_observe::Fleet;
use strata_pipeline::OperatorLock;
use strata_pipeline::Producer;
use strata_pipeline::replay::{self, Numbered, Replaying};
use strata_service::{Settings, failpoint, pg};

use super::filter::{Filter, UNSETTLED, matching};
use crate::Progress;

/// Pause between two looks at a stage that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a replay did.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Left `replaying` by an earlier run.
    pub resumed: i64,
    /// Numbered by this one.
    pub numbered: Numbered,
    /// Acknowledged by Kafka.
    pub sent: u64,
    /// What was sent.
    sent_to: Vec<Replaying>,
}

/// Replays those unsettled dead letters that the filter means, `limit` at most, the oldest first.
///
/// Safe to interrupt and to repeat: what an earlier run has numbered is sent first, as it was. `begun` is told how
/// many are to be sent.
pub async fn replay(
    settings: &Settings,
    filter: &Filter,
    limit: Option<u32>,
    begun: &mut (dyn FnMut(u64) + Send),
    progress: &mut Progress<'_>,
) -> anyhow::Result<Replayed> {
    let pool = pg::pool(&settings.postgres, "strata", settings.postgres.worker_connections);
    let mut lock = OperatorLock::take(&pool).await?;
    let resumed = sqlx::query_scalar("select count(*) from ops.dead_letters where status = 'replaying'");
    let mut done = Replayed { resumed: resumed.fetch_one(&pool).await?, ..Replayed::default() };
    done.numbered = number(&pool, filter, limit).await?;
    failpoint::pass("replay_numbered")?;
    begun((done.resumed + done.numbered.numbered).unsigned_abs());
    send(settings, &pool, &mut lock, &mut done, progress).await?;
    Ok(done)
}

/// Chooses and numbers.
async fn number(pool: &PgPool, filter: &Filter, limit: Option<u32>) -> anyhow::Result<Numbered> {
    let mut tx = pool.begin().await?;
    sqlx::query("set local statement_timeout = 0").execute(&mut *tx).await?;
    let choose =
        concat!("select d.id from ops.dead_letters as d where ", matching!(), " order by d.id limit $8");
    let chosen = sqlx::query_scalar_with(choose, filter.arguments(Some(&UNSETTLED))?);
    let chosen: Vec<i64> = chosen.bind(limit.map(i64::from)).fetch_all(&mut *tx).await?;
    let numbered = replay::number(&mut tx, &chosen).await?;
    tx.commit().await?;
    Ok(numbered)
}

/// Sends what is numbered.
async fn send(
    settings: &Settings,
    pool: &PgPool,
    lock: &mut OperatorLock,
    done: &mut Replayed,
    progress: &mut Progress<'_>,
) -> anyhow::Result<()> {
    done.sent_to = replay::replaying(pool).await?;
    if done.sent_to.is_empty() {
        return Ok(());
    }
    let fleet = Fleet::connect(settings)?;
    for Replaying { topic, .. } in &done.sent_to {
        anyhow::ensure!(!fleet.watermarks(topic)?.is_empty(), "Kafka has no topic {topic}");
    }
    let producer = Producer::new(&settings.kafka)?;
    for stage in &done.sent_to {
        let on_sent = |count| {
            done.sent += count;
            progress("replayed", count);
        };
        replay::send(pool, &producer, lock, stage, on_sent).await?;
    }
    Ok(())
}

/// Waits until the stages have read what was sent; returns how many were refused again.
pub async fn wait(settings: &Settings, done: &Replayed, within: Duration) -> anyhow::Result<i64> {
    let pool = pg::pool(&settings.postgres, "strata", 1);
    let fleet = Fleet::connect(settings)?;
    let deadline = tokio::time::Instant::now() + within;
    let mut refused = 0;
    for Replaying { stage, topic, first, last } in &done.sent_to {
        let ends = fleet.watermarks(topic)?;
        loop {
            let stored = fleet.offsets(stage, topic).await?;
            let behind = ends.iter().find(|(p, _, high)| stored.get(p).is_some_and(|next| next < high));
            if behind.is_none() {
                break;
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "they are sent, but {stage} has not read all of {topic} yet; strata status says why"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let again: i64 = sqlx::query_scalar(
            "select count(distinct n) from generate_series($3::bigint, $4::bigint) as n \
             join ops.dead_letters as d on d.stage = $1 and d.topic = $2 and d.origin = $5 || '/0/' || n",
        )
        .bind(stage)
        .bind(topic)
        .bind(first)
        .bind(last)
        .bind(dlq_topic(topic))
        .fetch_one(&pool)
        .await?;
        refused += again;
    }
    Ok(refused)
}
