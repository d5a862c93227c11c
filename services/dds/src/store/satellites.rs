//! Satellites: only changes, each in its place in time.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use strata_pipeline::StageError;
use strata_pipeline::metrics::written;
use strata_service::pg_copy::{CopyRows, Row};
use strata_streams::order::vault as order;
use strata_vault::{LoadPosition, SatelliteRecord, Sent, StoredVersion, changes};
use uuid::Uuid;

use super::Fresh;
use super::table::Compared;
use strata_streams::order::rows::{OrderCost, UserNames};
use strata_streams::rows::Load;

/// A record with its attributes and where it came from.
pub(super) type Candidate<T> = SatelliteRecord<(T, Load)>;

static USER_NAMES: LazyLock<Compared> = LazyLock::new(|| Compared::of(&order::USER_NAMES));
static PRODUCT_NAMES: LazyLock<Compared> = LazyLock::new(|| Compared::of(&order::PRODUCT_NAMES));
static RESTAURANT_NAMES: LazyLock<Compared> = LazyLock::new(|| Compared::of(&order::RESTAURANT_NAMES));
static ORDER_COST: LazyLock<Compared> = LazyLock::new(|| Compared::of(&order::ORDER_COST));
static ORDER_STATUS: LazyLock<Compared> = LazyLock::new(|| Compared::of(&order::ORDER_STATUS));

/// Inserts the names that changed.
///
/// Names rarely change, so they are compared without a lock first; parents that do change are locked
/// and compared again, so that two writers never store the same change twice.
pub async fn insert_names(
    tx: &mut PgConnection,
    users: Vec<Candidate<UserNames<'_>>>,
    products: Vec<Candidate<&str>>,
    restaurants: Vec<Candidate<&str>>,
) -> Result<(), StageError> {
    let users = changed_under_lock(tx, &USER_NAMES, users).await?;
    if let Some(columns) = Columns::of(&users) {
        let (names, logins): (Vec<&str>, Vec<&str>) = users.iter().map(|r| r.value.0.into()).unzip();
        let done = columns.bind(&USER_NAMES.table.insert).bind(names).bind(logins).execute(&mut *tx).await?;
        written::note(&USER_NAMES.table.name, done.rows_affected());
    }
    for (satellite, candidates) in [(&*PRODUCT_NAMES, products), (&*RESTAURANT_NAMES, restaurants)] {
        let changed = changed_under_lock(tx, satellite, candidates).await?;
        if let Some(columns) = Columns::of(&changed) {
            let names: Vec<&str> = changed.iter().map(|r| r.value.0).collect();
            let done = columns.bind(&satellite.table.insert).bind(names).execute(&mut *tx).await?;
            written::note(&satellite.table.name, done.rows_affected());
        }
    }
    Ok(())
}

/// Stores costs and statuses that changed. Orders that are not `fresh` are locked already.
pub async fn insert_orders(
    tx: &mut PgConnection,
    fresh: &Fresh,
    costs: Vec<Candidate<OrderCost>>,
    statuses: Vec<Candidate<&'static str>>,
) -> Result<(), StageError> {
    let (new, known) = changed_orders(tx, &ORDER_COST, costs, fresh).await?;
    let amounts = |r: &Candidate<OrderCost>| (r.value.0.0.decimal(), r.value.0.1.decimal());
    let mut copied = CopyRows::new(8);
    for record in &new {
        let (cost, payment) = amounts(record);
        shared_fields(&mut copied, record)?.put(cost)?.put(payment)?.put_or_null(record.sent)?;
    }
    copied.load(&mut *tx, &ORDER_COST.table.copy).await?;
    written::note(&ORDER_COST.table.name, new.len() as u64);
    if let Some(columns) = Columns::of(&known) {
        let (cost, payment): (Vec<Decimal>, Vec<Decimal>) = known.iter().map(amounts).unzip();
        let done = columns
            .bind(&ORDER_COST.table.insert)
            .bind(cost)
            .bind(payment)
            .bind(sent(&known))
            .execute(&mut *tx)
            .await?;
        written::note(&ORDER_COST.table.name, done.rows_affected());
    }
    let (new, known) = changed_orders(tx, &ORDER_STATUS, statuses, fresh).await?;
    let mut copied = CopyRows::new(7);
    for record in &new {
        shared_fields(&mut copied, record)?.put(record.value.0)?.put_or_null(record.sent)?;
    }
    copied.load(&mut *tx, &ORDER_STATUS.table.copy).await?;
    written::note(&ORDER_STATUS.table.name, new.len() as u64);
    if let Some(columns) = Columns::of(&known) {
        let values: Vec<&str> = known.iter().map(|r| r.value.0).collect();
        let done = columns
            .bind(&ORDER_STATUS.table.insert)
            .bind(values)
            .bind(sent(&known))
            .execute(&mut *tx)
            .await?;
        written::note(&ORDER_STATUS.table.name, done.rows_affected());
    }
    Ok(())
}

/// The changes of fresh orders, and those of all others.
async fn changed_orders<T>(
    tx: &mut PgConnection,
    satellite: &Compared,
    candidates: Vec<Candidate<T>>,
    fresh: &Fresh,
) -> Result<(Vec<Candidate<T>>, Vec<Candidate<T>>), StageError> {
    let stored = stored_versions(tx, satellite, &candidates, |key| !fresh.contains(key)).await?;
    Ok(changes(candidates, &stored).into_iter().partition(|record| fresh.contains(&record.parent)))
}

/// When the versions were sent.
fn sent<T>(records: &[Candidate<T>]) -> Vec<Sent> {
    records.iter().map(|record| record.sent).collect()
}

/// Starts the row of a record with the fields that all satellites share.
fn shared_fields<'a, T>(rows: &'a mut CopyRows, record: &Candidate<T>) -> Result<Row<'a>, sqlx::Error> {
    let Candidate { parent, at, hashdiff, value: (_, load), .. } = record;
    rows.row().put(parent)?.put(at.load_dt)?.put(at.load_seq)?.put(&*load.src)?.put(hashdiff)
}

async fn changed_under_lock<T>(
    tx: &mut PgConnection,
    satellite: &Compared,
    candidates: Vec<Candidate<T>>,
) -> Result<Vec<Candidate<T>>, StageError> {
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
async fn stored_versions<T>(
    tx: &mut PgConnection,
    satellite: &Compared,
    candidates: &[Candidate<T>],
    wanted: impl Fn(&Uuid) -> bool,
) -> Result<Vec<StoredVersion>, StageError> {
    let mut earliest: std::collections::BTreeMap<Uuid, LoadPosition> = std::collections::BTreeMap::new();
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

/// The columns that all satellites share.
pub(super) struct Columns<'a> {
    parent: Vec<Uuid>,
    load_dt: Vec<DateTime<Utc>>,
    load_seq: Vec<i64>,
    load_src: Vec<&'a str>,
    hashdiff: Vec<Uuid>,
}

impl<'a> Columns<'a> {
    /// The columns of the records; none where there is nothing to insert.
    pub(super) fn of<T>(records: &'a [Candidate<T>]) -> Option<Self> {
        if records.is_empty() {
            return None;
        }
        Some(Self {
            parent: records.iter().map(|r| r.parent).collect(),
            load_dt: records.iter().map(|r| r.at.load_dt).collect(),
            load_seq: records.iter().map(|r| r.at.load_seq).collect(),
            load_src: records.iter().map(|r| &*r.value.1.src).collect(),
            hashdiff: records.iter().map(|r| r.hashdiff).collect(),
        })
    }

    /// A statement with these columns bound to `$1` to `$5`.
    pub(super) fn bind(
        self,
        statement: &'a str,
    ) -> sqlx::query::Query<'a, sqlx::Postgres, sqlx::postgres::PgArguments> {
        sqlx::query(statement)
            .bind(self.parent)
            .bind(self.load_dt)
            .bind(self.load_seq)
            .bind(self.load_src)
            .bind(self.hashdiff)
    }
}
