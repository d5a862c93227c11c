//! What has to be said once when Postgres was put back to a copy of itself.
//!
//! Kafka holds more than the copy knows then: what the stages sent after it. An origin is believed only as far as the
//! stage before has read, so these records would be refused as forged until that stage has come there again; and what
//! it sends once more would be skipped as soon as one of them was believed. Told how far the stages may have been, they
//! take the records that lie in Kafka, in their order, and skip those that are sent again.

use anyhow::Context as _;
use sqlx::{Postgres, Transaction};
use strata_events::StoreKind;
use strata_observe::Fleet;
use strata_pipeline::OperatorLock;
use strata_service::Settings;
use strata_streams::STREAMS;

/// More replays than anybody makes between two copies.
const REPLAY_NUMBERS: i64 = 1_000_000_000;

/// How far a stage may have read, by its topic.
pub struct Restored {
    /// Stage and topic.
    pub reads: Vec<(&'static str, String)>,
    /// Records that lie between the stored positions and the ends of the topics.
    pub to_read: i64,
}

/// Tells the stages that their store went back, before they start; safe to repeat.
///
/// **Errors**: a server does not answer, or a rebuild or a replay of dead letters is under way.
pub async fn restored(settings: &Settings) -> anyhow::Result<Restored> {
    let fleet = Fleet::connect(settings)?;
    let _lock = OperatorLock::take(&fleet.pool).await?;
    let mut transaction = fleet.pool.begin().await.context("Postgres does not answer (make servers)")?;
    let mut done = Restored { reads: Vec::new(), to_read: 0 };
    for hop in STREAMS.iter().flat_map(|stream| stream.spec.hops) {
        let (stage, topic) = (hop.stage.as_str(), settings.topics.name(hop.topic));
        let stored = fleet.offsets(stage, topic).await?;
        let edges = fleet.watermarks(topic)?;
        for (partition, low, high) in &edges {
            done.to_read += high - stored.get(partition).copied().unwrap_or(*low);
        }
        // Nobody reads what a stage makes of offsets that lie in Redis.
        if hop.store == StoreKind::Postgres {
            believe(&mut transaction, stage, topic, &edges).await?;
        }
        sqlx::query(include_str!("../sql/skip_replay_numbers.sql"))
            .bind(stage)
            .bind(topic)
            .bind(REPLAY_NUMBERS)
            .execute(&mut *transaction)
            .await?;
        done.reads.push((stage, topic.to_owned()));
    }
    transaction.commit().await?;
    Ok(done)
}

async fn believe(
    transaction: &mut Transaction<'_, Postgres>,
    stage: &str,
    topic: &str,
    edges: &[(i32, i64, i64)],
) -> anyhow::Result<()> {
    let (partitions, ends): (Vec<i32>, Vec<i64>) = edges.iter().map(|(p, _, end)| (*p, *end)).unzip();
    sqlx::query(include_str!("../sql/believe_former_life.sql"))
        .bind(stage)
        .bind(topic)
        .bind(partitions)
        .bind(ends)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
