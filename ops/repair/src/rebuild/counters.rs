//! `strata rebuild counters`: `cdm.*`, rebuilt from the vault, in one transaction, while the fleet runs.
//!
//! cdm is kept from committing, not from running: its offsets stay where they are. The fold and dds' offsets
//! are read in one statement, and the watermarks are set to what the fold holds: cdm goes on reading where it
//! stood, skips announcements of what was counted, sent or still to be sent, and applies later ones.
//!
//! Killed at any moment, nothing has happened.

use sqlx::PgConnection;
use strata_events::StageId;
use strata_observe::Fleet;
use strata_pipeline::watermark::Watermarks;
use strata_service::{Settings, failpoint};
use strata_streams::{Counters, STREAMS, StreamDef};
use strata_vault::model::{LOAD_DT, LOAD_SEQ};

use super::counted::Counted as Applied;
use super::{begin, expect_whole_tables, hold};
use crate::Progress;

/// What was found.
#[derive(Debug, Default)]
pub struct Recounted {
    /// Of each table how many counters it has, and how many of them were wrong, missing or too many.
    pub tables: Vec<(&'static str, i64, i64)>,
    /// Dead letters that are settled by it.
    pub dead_letters: u64,
}

/// A stream that has counters, and the partitions of its topic that cdm reads: number, first and next offset.
pub type Counted = (&'static StreamDef, Vec<(i32, i64, i64)>);

/// Rebuilds the counters, under the lock that the caller holds.
pub async fn rebuild(
    settings: &Settings,
    fleet: &Fleet,
    progress: &mut Progress<'_>,
) -> anyhow::Result<Recounted> {
    let streams = streams(settings, fleet)?;
    progress("counting", 0);
    let mut tx = begin(&fleet.pool).await?;
    let recounted = recount(&mut tx, settings, &streams).await?;
    failpoint::pass("rebuild_in_transaction")?;
    tx.commit().await?;
    Ok(recounted)
}

/// The streams that have counters.
pub fn streams(settings: &Settings, fleet: &Fleet) -> anyhow::Result<Vec<Counted>> {
    let counted = STREAMS.iter().copied().filter(|stream| stream.counters().next().is_some());
    let partitions = counted.map(|stream| {
        let topic = settings.topics.name(stream.spec.topic(StageId::Cdm));
        let partitions = fleet.watermarks(topic)?;
        anyhow::ensure!(!partitions.is_empty(), "Kafka has no topic {topic}; start the fleet first");
        Ok((stream, partitions))
    });
    partitions.collect()
}

/// Counts again within the caller's transaction.
///
/// **Idempotent**: counters that are right stay as they are.
pub async fn recount(
    tx: &mut PgConnection,
    settings: &Settings,
    streams: &[Counted],
) -> anyhow::Result<Recounted> {
    let mut recounted = Recounted::default();
    expect_whole_tables(tx).await?;
    for (stream, partitions) in streams {
        let [dds_topic, cdm_topic] =
            [StageId::Dds, StageId::Cdm].map(|stage| settings.topics.name(stream.spec.topic(stage)));
        hold(tx, StageId::Cdm.as_str(), cdm_topic, partitions).await?;
        type Found = (Vec<i64>, Vec<i64>, Vec<i32>, Vec<i64>);
        let (statement, dds) = (statement(stream), StageId::Dds.as_str());
        let recount = sqlx::query_as(&statement).bind(dds).bind(dds_topic);
        let (rows, wrong, read, next): Found = recount.fetch_one(&mut *tx).await?;
        let tables = stream.counters().map(|counters| counters.table);
        recounted
            .tables
            .extend(tables.zip(rows).zip(wrong).map(|((table, rows), wrong)| (table, rows, wrong)));
        let applied = Applied::new(tx, [dds_topic, cdm_topic], read.into_iter().zip(next)).await?;
        let mut watermarks = Watermarks::default();
        for origin in applied.origins() {
            for (partition, ..) in partitions {
                watermarks.advance(*partition, &origin);
            }
        }
        watermarks.write(tx, StageId::Cdm.as_str(), cdm_topic).await?;
        recounted.dead_letters += applied.mark(tx).await?;
    }
    Ok(recounted)
}

/// Counts all counters of a stream again, in one statement, so that the fold and dds' offsets are of one moment.
///
/// **Arguments**: stage, topic that it reads. **Shape**: counters of each table, how many of them were wrong; partitions
/// and offsets of the stage.
fn statement(stream: &StreamDef) -> String {
    let table = |counters: &Counters| {
        include_str!("../../sql/recount.sql")
            .replace(":law", &(counters.law)(counters.link))
            .replace(":names", &names(counters))
            .replace(":table", counters.table)
            .replace(":key", counters.key)
            .replace(":by", counters.by)
    };
    let tables: Vec<String> = stream.counters().map(table).collect();
    let counts = |counts: fn(&str) -> String| {
        let counts: Vec<String> = stream.counters().map(|counters| counts(counters.by)).collect();
        counts.join(", ")
    };
    let rows = counts(|by| format!("(select count(*) from fold_{by})"));
    let wrong = counts(|by| format!("(select count(*) from gone_{by}) + (select count(*) from wrong_{by})"));
    format!(
        "with {}, \"read\" as (select partition, next_offset from ops.consumer_offsets where stage = $1 and topic = $2) \
         select array[{rows}], array[{wrong}], array(select partition from \"read\" order by partition), \
         array(select next_offset from \"read\" order by partition)",
        tables.join(",\n")
    )
}

/// The newest name of what is counted. **Shape**: key, name.
fn names(counters: &Counters) -> String {
    let hub = counters.counted();
    let key = hub.key;
    match counters.names {
        None => format!("select {key}, {} from {}", hub.business_key.name, hub.shape()),
        Some(names) => format!(
            "select distinct on ({key}) {key}, {} from {} order by {key}, {} desc, {} desc",
            names.attributes[0].name,
            names.shape(),
            LOAD_DT.name,
            LOAD_SEQ.name
        ),
    }
}
