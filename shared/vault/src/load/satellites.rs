//! Satellites: only changes, each in its place in time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::columns::Columns;
use super::copy::CopyRows;
use super::statements::Compared;
use super::{Loader, find};
use crate::model::{Parent, Satellite};
use crate::rows::{Attributes, Candidate, Fresh, SatelliteRows};
use crate::{LoadPosition, Sent, StoredVersion, changes};

/// How versions of one satellite are written, and what they say.
#[derive(Clone, Copy)]
struct Versions<'a> {
    statements: &'static Compared,
    satellite: &'a Satellite,
    attributes: &'a Attributes<'a>,
}

impl Loader {
    /// Stores what changes its parent.
    ///
    /// An event never changes, so what is said of one is not compared. Subjects are locked already, or fresh. Others
    /// rarely change, so they are compared without a lock first; parents that do change are locked and compared
    /// again, so that two writers never store the same change twice.
    pub(super) async fn satellite(
        &'static self,
        tx: &mut PgConnection,
        rows: SatelliteRows<'_>,
        fresh: &Fresh,
    ) -> Result<(), sqlx::Error> {
        let satellite = rows.satellite;
        let statements = find(&self.statements.satellites, satellite.table, |compared| &compared.fill)?;
        let (mut records, attributes) = rows.split();
        let versions = Versions { statements, satellite, attributes: &attributes };
        if matches!(satellite.parent, Parent::Link(link) if link.event.is_some()) {
            records.sort_unstable_by_key(|record| record.parent);
            return self.insert_versions(tx, versions, &records).await;
        }
        if satellite.parent.table() != self.subject.table() {
            let changed = changed_under_lock(tx, statements, records).await?;
            return self.insert_versions(tx, versions, &changed).await;
        }
        let stored = stored_versions(tx, statements, &records, |key| !fresh.contains(key)).await?;
        let (new, known): (Vec<Candidate>, Vec<Candidate>) =
            changes(records, &stored).into_iter().partition(|record| fresh.contains(&record.parent));
        self.copy_versions(tx, versions, &new).await?;
        self.insert_versions(tx, versions, &known).await
    }

    async fn copy_versions(
        &'static self,
        tx: &mut PgConnection,
        Versions { statements, satellite, attributes }: Versions<'_>,
        records: &[Candidate],
    ) -> Result<(), sqlx::Error> {
        if records.is_empty() {
            return Ok(());
        }
        let mut copied = CopyRows::new(statements.fill.width());
        for record in records {
            let at = record.at;
            let row = copied.row().put(record.parent)?.put(at.load_dt)?.put(at.load_seq)?;
            let row = row.put(&*record.value.load.src)?.put(record.hashdiff)?;
            let row = (0..satellite.attributes.len())
                .try_fold(row, |row, column| row.put_value(attributes.of(record, column)))?;
            if satellite.sent {
                row.put_or_null(record.sent)?;
            }
        }
        self.copy(tx, &statements.fill, copied, records.len()).await
    }

    async fn insert_versions(
        &'static self,
        tx: &mut PgConnection,
        Versions { statements, satellite, attributes }: Versions<'_>,
        records: &[Candidate],
    ) -> Result<(), sqlx::Error> {
        if records.is_empty() {
            return Ok(());
        }
        let mut columns = Columns::default();
        columns.bind(records.iter().map(|r| r.parent).collect::<Vec<Uuid>>())?;
        columns.bind(records.iter().map(|r| r.at.load_dt).collect::<Vec<DateTime<Utc>>>())?;
        columns.bind(records.iter().map(|r| r.at.load_seq).collect::<Vec<i64>>())?;
        columns.bind(records.iter().map(|r| &*r.value.load.src).collect::<Vec<&str>>())?;
        columns.bind(records.iter().map(|r| r.hashdiff).collect::<Vec<Uuid>>())?;
        for (at, column) in satellite.attributes.iter().enumerate() {
            columns.bind_values(column, records.iter().map(|record| attributes.of(record, at)))?;
        }
        if satellite.sent {
            columns.bind(records.iter().map(|r| r.sent).collect::<Vec<Sent>>())?;
        }
        self.insert(tx, &statements.fill, columns).await
    }
}

async fn changed_under_lock(
    tx: &mut PgConnection,
    satellite: &Compared,
    candidates: Vec<Candidate>,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let stored = stored_versions(tx, satellite, &candidates, |_| true).await?;
    let changed = changes(candidates, &stored);
    if changed.is_empty() {
        return Ok(changed);
    }
    let mut parents: Vec<Uuid> = changed.iter().map(|record| record.parent).collect();
    parents.dedup();
    sqlx::query(&satellite.lock).bind(&parents).execute(&mut *tx).await?;
    let stored = stored_versions(tx, satellite, &changed, |_| true).await?;
    Ok(changes(changed, &stored))
}

/// Reads the versions that the candidates must be compared with, for the parents that `wanted` picks.
async fn stored_versions(
    tx: &mut PgConnection,
    satellite: &Compared,
    candidates: &[Candidate],
    wanted: impl Fn(&Uuid) -> bool,
) -> Result<Vec<StoredVersion>, sqlx::Error> {
    let mut earliest: BTreeMap<Uuid, LoadPosition> = BTreeMap::new();
    for record in candidates.iter().filter(|record| wanted(&record.parent)) {
        earliest.entry(record.parent).and_modify(|at| *at = record.at.min(*at)).or_insert(record.at);
    }
    if earliest.is_empty() {
        return Ok(Vec::new());
    }
    let parents: Vec<Uuid> = earliest.keys().copied().collect();
    let (load_dt, load_seq): (Vec<DateTime<Utc>>, Vec<i64>) =
        earliest.values().map(|at| (at.load_dt, at.load_seq)).unzip();
    let rows: Vec<(Uuid, DateTime<Utc>, i64, Uuid, Sent)> =
        sqlx::query_as(&satellite.select).bind(parents).bind(load_dt).bind(load_seq).fetch_all(tx).await?;
    let version = |(parent, load_dt, load_seq, hashdiff, sent)| StoredVersion {
        parent,
        at: LoadPosition { load_dt, load_seq },
        sent,
        hashdiff,
    };
    Ok(rows.into_iter().map(version).collect())
}
