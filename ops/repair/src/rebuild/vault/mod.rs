//! `strata rebuild vault`: `dds.*`, rebuilt from `stg.*`, in one transaction, while the fleet runs.
//!
//! dds is kept from committing, not from running: what it is sent waits in Kafka. What is staged and dds has
//! applied is put through the loader that dds uses, which adds what is missing and leaves what is there. What dds has
//! still to read is left to it, since it must announce that itself; see [`coming`]. The counters are counted again
//! in the same transaction, the metrics after it: an interrupted run has changed nothing, or left the metrics as
//! exact as they were.

mod coming;
mod fill;
mod reference;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use strata_events::StageId;
use strata_observe::Fleet;
use strata_service::{Settings, failpoint};
use strata_streams::STREAMS;

pub use self::fill::LeftOut;
use self::fill::fill;
use super::{Recounted, begin, counters, hold};
use crate::Progress;

/// What was done.
#[derive(Debug)]
pub struct VaultRebuilt {
    /// Rows of each table before.
    pub before: BTreeMap<String, i64>,
    /// Rows of each table now.
    pub after: BTreeMap<String, i64>,
    /// Events that were left as they are.
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
    let counted = counters::streams(settings, fleet)?;
    let mut tx = begin(&fleet.pool).await?;
    if let Some(confirmed) = emptied {
        let database: String = sqlx::query_scalar("select current_database()").fetch_one(&mut *tx).await?;
        anyhow::ensure!(*confirmed == database, "{confirmed:?} is to be emptied, but this is {database:?}");
    }
    for stream in STREAMS {
        let topic = settings.topics.name(stream.spec.topic(StageId::Dds));
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
            "not all events can be rebuilt, so nothing was changed; of those whose reference data are missing PUT \
             /reference/users and /reference/restaurants first: {}",
            reasons(&left_out)
        );
    }
    let recounted = counters::recount(&mut tx, settings, &counted).await?;
    let after = sizes(&mut tx).await?;
    failpoint::pass("rebuild_in_transaction")?;
    tx.commit().await?;
    failpoint::pass("rebuild_committed")?;
    Ok(VaultRebuilt { before, after, left_out, recounted })
}

/// The reasons as one line.
fn reasons(left_out: &LeftOut) -> String {
    let reasons = left_out
        .iter()
        .map(|((many, reason), (count, first))| format!("{count} {many}: {reason} (the first: {first})"));
    reasons.collect::<Vec<_>>().join(", ")
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
