//! `strata rebuild vault`: `dds.*`, rebuilt from `stg.*`, in one transaction, while the fleet runs.
//!
//! dds is kept from committing, not from running: what it is sent waits in Kafka. What is staged and dds has
//! applied is put through the loader that dds uses, which adds what is missing and leaves what is there. What dds has
//! still to read is left to it, since it must announce that itself; see [`coming`]. The counters are counted again
//! in the same transaction, the metrics after it: an interrupted run has changed nothing, or left the metrics as
//! exact as they were.

mod coming;
mod orders;
mod searches;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use strata_events::{Origin, Reject, StageId, StreamSpec};
use strata_observe::Fleet;
use strata_service::{Settings, failpoint};
use strata_streams::STREAMS;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::order::ORDER;

use self::coming::Coming;
use super::{Recounted, begin, counters, hold};
use crate::Progress;

/// Rows that are loaded at once.
const CHUNK: i64 = 500;

/// What was left out, by reason: how often, and the first.
pub type LeftOut = BTreeMap<&'static str, (u64, String)>;

/// What was done.
#[derive(Debug)]
pub struct VaultRebuilt {
    /// Rows of each table before.
    pub before: BTreeMap<String, i64>,
    /// Rows of each table now.
    pub after: BTreeMap<String, i64>,
    /// Orders that were left as they are.
    pub left_out: LeftOut,
    /// The counters.
    pub recounted: Recounted,
}

/// Rebuilds the vault, under the lock that the caller holds.
pub async fn rebuild(
    settings: &Settings,
    fleet: &Fleet,
    emptied: Option<&str>,
    progress: &mut Progress<'_>,
) -> anyhow::Result<VaultRebuilt> {
    let partitions = counters::partitions(settings, fleet)?;
    let mut tx = begin(&fleet.pool).await?;
    if let Some(confirmed) = emptied {
        let database: String = sqlx::query_scalar("select current_database()").fetch_one(&mut *tx).await?;
        anyhow::ensure!(*confirmed == database, "{confirmed:?} is to be emptied, but this is {database:?}");
    }
    for stream in [ORDER, HOTEL_SEARCH] {
        let topic = settings.topics.name(stream.topic(StageId::Dds));
        hold(&mut tx, StageId::Dds.as_str(), topic, &fleet.watermarks(topic)?).await?;
    }
    let before = sizes(&mut tx).await?;
    if emptied.is_some() {
        let tables = before.keys().cloned().collect::<Vec<_>>().join(", ");
        sqlx::query(&format!("truncate {tables}")).execute(&mut *tx).await?;
    }
    let left_out = fill(&mut tx, settings, fleet, progress).await?;
    if emptied.is_some() && !left_out.is_empty() {
        anyhow::bail!(
            "orders cannot be rebuilt without their reference data, so nothing was changed; PUT /reference/users \
             and /reference/restaurants first: {}",
            reasons(&left_out)
        );
    }
    let recounted = counters::recount(&mut tx, settings, &partitions).await?;
    let after = sizes(&mut tx).await?;
    failpoint::pass("rebuild_in_transaction")?;
    tx.commit().await?;
    failpoint::pass("rebuild_committed")?;
    Ok(VaultRebuilt { before, after, left_out, recounted })
}

/// The reasons as one line.
fn reasons(left_out: &LeftOut) -> String {
    let reasons =
        left_out.iter().map(|(reason, (count, first))| format!("{count} {reason} (the first: {first})"));
    reasons.collect::<Vec<_>>().join(", ")
}

/// Puts what is staged into the vault, both streams.
async fn fill(
    tx: &mut PgConnection,
    settings: &Settings,
    fleet: &Fleet,
    progress: &mut Progress<'_>,
) -> anyhow::Result<LeftOut> {
    // Within the lock dds does not move, so this is what it has not read.
    let staged_orders = place(tx, "stg.order_events", "object_id", "coalesce(load_dt, sent_dttm)").await?;
    let coming = Coming::find(tx, settings, fleet, &ORDER).await?;
    let left_out = orders::fill(tx, settings, &coming, staged_orders, progress).await?;
    let staged_searches = place(tx, "stg.hotel_search_events", "event_id", "sent_dttm").await?;
    let coming = Coming::find(tx, settings, fleet, &HOTEL_SEARCH).await?;
    searches::fill(tx, settings, &coming, staged_searches, progress).await?;
    Ok(left_out)
}

/// Reads the staged rows that stand in the list after `$1`, `$2` places.
macro_rules! staged {
    ($table:literal, $key:literal, $columns:literal) => {
        concat!(
            "select ",
            $columns,
            ", e.load_src, e.load_partition, e.load_offset from places as p join ",
            $table,
            " as e using (",
            $key,
            ") where p.place > $1 and p.place <= $1 + $2 \
             and (e.load_partition, e.load_offset) is not distinct from (p.load_partition, p.load_offset) order by p.place"
        )
    };
}
use staged;

/// Lists what is staged at this moment, in the order in which it came, in a table `places`; returns how many.
///
/// In that order the first sighting of a key comes first, and a satellite's versions follow each other. A row that
/// is a newer version by the time it is read came after the list, and dds will bring it.
async fn place(tx: &mut PgConnection, table: &str, key: &str, time: &str) -> anyhow::Result<i64> {
    let list = format!(
        "create temporary table places on commit drop as \
         select row_number() over (order by {time}, load_offset, load_partition, {key}) as place, {key}, \
         load_partition, load_offset from {table}"
    );
    for statement in [
        "drop table if exists places".to_owned(),
        list,
        "alter table places add primary key (place)".to_owned(),
        "analyze places".to_owned(),
    ] {
        sqlx::query(&statement).execute(&mut *tx).await?;
    }
    Ok(sqlx::query_scalar("select count(*) from places").fetch_one(tx).await?)
}

/// Rows of each table of the vault. Others may keep tables of their own in its schema: those are not ours to empty.
async fn sizes(tx: &mut PgConnection) -> anyhow::Result<BTreeMap<String, i64>> {
    let tables: BTreeSet<String> =
        STREAMS.iter().flat_map(|stream| stream.vault.tables()).map(|table| table.to_string()).collect();
    let mut sizes = BTreeMap::new();
    for table in tables {
        let count = format!("select count(*) from {table}");
        sizes.insert(table, sqlx::query_scalar(&count).fetch_one(&mut *tx).await?);
    }
    Ok(sizes)
}

fn note(left_out: &mut LeftOut, reject: &Reject) {
    let (count, _) = left_out.entry(reject.code).or_insert_with(|| (0, reject.detail.clone()));
    *count += 1;
}

/// Where a staged record lies, as its columns have it.
type Coordinates = (Option<String>, Option<i32>, Option<i64>);

/// The record that a staged row came with; rows that are older than these columns have no coordinates.
fn start_of(settings: &Settings, stream: &StreamSpec, (topic, partition, offset): Coordinates) -> Origin {
    let stg_topic = settings.topics.name(stream.topic(StageId::Stg));
    Origin {
        topic: topic.as_deref().unwrap_or(stg_topic).into(),
        partition: partition.unwrap_or_default(),
        offset: offset.unwrap_or_default(),
    }
}
