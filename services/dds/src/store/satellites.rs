//! Satellites: only changes, each in its place in time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use strata_runtime::kafka::StageError;
use strata_runtime::metrics::written;
use strata_runtime::pg_copy::{CopyRows, Row};
use strata_vault::{LoadPosition, SatelliteRecord, Sent, StoredVersion, changes};
use uuid::Uuid;

use super::Fresh;
use crate::order::rows::{OrderCost, UserNames};
use crate::rows::Load;

/// A record with its attributes and where it came from.
pub(super) type Candidate<T> = SatelliteRecord<(T, Load)>;

/// Inserts rows of a satellite. Safe to repeat.
/// `$1` parent uuid[] · `$2` load_dt timestamptz[] · `$3` load_seq bigint[] · `$4` load_src text[]
/// · `$5` hashdiff uuid[] · attributes.
macro_rules! insert {
    ($table:literal, $parent:literal, $hashdiff:literal, $columns:literal, $arrays:literal) => {
        concat!(
            "insert into dds.",
            $table,
            " (",
            $parent,
            ", load_dt, load_seq, load_src, ",
            $hashdiff,
            ", ",
            $columns,
            ") ",
            "select * from unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::text[], $5::uuid[], ",
            $arrays,
            ") ",
            "on conflict do nothing"
        )
    };
}

/// Statements of a satellite of names, whose parents may have long histories.
struct Names {
    /// Versions in force at the earliest candidate and all later ones.
    /// `$1` parent uuid[] · `$2` load_dt timestamptz[] · `$3` load_seq bigint[].
    select: &'static str,
    /// Locks parents in key order. `$1` parent uuid[].
    lock: &'static str,
    /// See [`insert`].
    insert: &'static str,
    /// Name of the table.
    table: &'static str,
}

macro_rules! names {
    ($table:literal, $hub:literal, $parent:literal, $hashdiff:literal, $columns:literal, $arrays:literal) => {
        Names {
            select: concat!(
                "select v.* from unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) as c (parent, load_dt, load_seq) ",
                "cross join lateral (",
                "(select s.", $parent, ", s.load_dt, s.load_seq, s.", $hashdiff, ", null::timestamptz from dds.", $table, " as s ",
                "where s.", $parent, " = c.parent and (s.load_dt, s.load_seq) <= (c.load_dt, c.load_seq) ",
                "order by s.load_dt desc, s.load_seq desc limit 1) ",
                "union all ",
                "(select s.", $parent, ", s.load_dt, s.load_seq, s.", $hashdiff, ", null::timestamptz from dds.", $table, " as s ",
                "where s.", $parent, " = c.parent and (s.load_dt, s.load_seq) > (c.load_dt, c.load_seq))",
                ") as v"
            ),
            lock: concat!(
                "select from dds.", $hub, " where ", $parent, " = any($1) order by ", $parent, " for no key update"
            ),
            insert: insert!($table, $parent, $hashdiff, $columns, $arrays),
            table: concat!("dds.", $table),
        }
    };
}

/// Statements of a satellite of orders, whose versions say when they were sent.
struct OfOrders {
    /// All versions: an order has few. `$1` parent uuid[].
    select: &'static str,
    /// See [`insert`].
    insert: &'static str,
    /// The same columns, for rows that cannot be there.
    copy: &'static str,
    /// Name of the table.
    table: &'static str,
}

macro_rules! of_orders {
    ($table:literal, $hashdiff:literal, $columns:literal, $arrays:literal) => {
        OfOrders {
            select: concat!(
                "select h_order_pk, load_dt, load_seq, ",
                $hashdiff,
                ", sent_dttm from dds.",
                $table,
                " where h_order_pk = any($1)"
            ),
            insert: insert!($table, "h_order_pk", $hashdiff, $columns, $arrays),
            copy: concat!(
                "copy dds.",
                $table,
                " (h_order_pk, load_dt, load_seq, load_src, ",
                $hashdiff,
                ", ",
                $columns,
                ") ",
                "from stdin (format binary)"
            ),
            table: concat!("dds.", $table),
        }
    };
}

const USER_NAMES: Names = names!(
    "s_user_names",
    "h_user",
    "h_user_pk",
    "hk_user_names_hashdiff",
    "username, userlogin",
    "$6::text[], $7::text[]"
);
const PRODUCT_NAMES: Names =
    names!("s_product_names", "h_product", "h_product_pk", "hk_product_names_hashdiff", "name", "$6::text[]");
const RESTAURANT_NAMES: Names = names!(
    "s_restaurant_names",
    "h_restaurant",
    "h_restaurant_pk",
    "hk_restaurant_names_hashdiff",
    "name",
    "$6::text[]"
);
const ORDER_COST: OfOrders = of_orders!(
    "s_order_cost",
    "hk_order_cost_hashdiff",
    "sent_dttm, cost, payment",
    "$6::timestamptz[], $7::numeric[], $8::numeric[]"
);
const ORDER_STATUS: OfOrders = of_orders!(
    "s_order_status",
    "hk_order_status_hashdiff",
    "sent_dttm, status",
    "$6::timestamptz[], $7::text[]"
);

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
        let done = columns.bind(USER_NAMES.insert).bind(names).bind(logins).execute(&mut *tx).await?;
        written::note(USER_NAMES.table, done.rows_affected());
    }
    for (satellite, candidates) in [(&PRODUCT_NAMES, products), (&RESTAURANT_NAMES, restaurants)] {
        let changed = changed_under_lock(tx, satellite, candidates).await?;
        if let Some(columns) = Columns::of(&changed) {
            let names: Vec<&str> = changed.iter().map(|r| r.value.0).collect();
            let done = columns.bind(satellite.insert).bind(names).execute(&mut *tx).await?;
            written::note(satellite.table, done.rows_affected());
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
        shared_fields(&mut copied, record)?.put_or_null(record.sent)?.put(cost)?.put(payment)?;
    }
    copied.load(&mut *tx, ORDER_COST.copy).await?;
    written::note(ORDER_COST.table, new.len() as u64);
    if let Some(columns) = Columns::of(&known) {
        let (cost, payment): (Vec<Decimal>, Vec<Decimal>) = known.iter().map(amounts).unzip();
        let done = columns
            .bind(ORDER_COST.insert)
            .bind(sent(&known))
            .bind(cost)
            .bind(payment)
            .execute(&mut *tx)
            .await?;
        written::note(ORDER_COST.table, done.rows_affected());
    }
    let (new, known) = changed_orders(tx, &ORDER_STATUS, statuses, fresh).await?;
    let mut copied = CopyRows::new(7);
    for record in &new {
        shared_fields(&mut copied, record)?.put_or_null(record.sent)?.put(record.value.0)?;
    }
    copied.load(&mut *tx, ORDER_STATUS.copy).await?;
    written::note(ORDER_STATUS.table, new.len() as u64);
    if let Some(columns) = Columns::of(&known) {
        let values: Vec<&str> = known.iter().map(|r| r.value.0).collect();
        let done =
            columns.bind(ORDER_STATUS.insert).bind(sent(&known)).bind(values).execute(&mut *tx).await?;
        written::note(ORDER_STATUS.table, done.rows_affected());
    }
    Ok(())
}

/// The changes of fresh orders, and those of all others.
async fn changed_orders<T>(
    tx: &mut PgConnection,
    satellite: &OfOrders,
    candidates: Vec<Candidate<T>>,
    fresh: &Fresh,
) -> Result<(Vec<Candidate<T>>, Vec<Candidate<T>>), StageError> {
    let known = candidates.iter().map(|record| record.parent).filter(|key| !fresh.contains(key));
    let known: BTreeSet<Uuid> = known.collect();
    let stored = if known.is_empty() {
        Vec::new()
    } else {
        let keys: Vec<Uuid> = known.into_iter().collect();
        sqlx::query_as(satellite.select).bind(keys).fetch_all(tx).await?.into_iter().map(version).collect()
    };
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
    satellite: &Names,
    candidates: Vec<Candidate<T>>,
) -> Result<Vec<Candidate<T>>, StageError> {
    let stored = stored_names(tx, satellite, &candidates).await?;
    let changed = changes(candidates, &stored);
    if changed.is_empty() {
        return Ok(changed);
    }
    let mut parents: Vec<Uuid> = changed.iter().map(|record| record.parent).collect();
    parents.dedup();
    sqlx::query(satellite.lock).bind(&parents).execute(&mut *tx).await?;
    let stored = stored_names(tx, satellite, &changed).await?;
    Ok(changes(changed, &stored))
}

/// Reads the names that the candidates must be compared with.
async fn stored_names<T>(
    tx: &mut PgConnection,
    satellite: &Names,
    candidates: &[Candidate<T>],
) -> Result<Vec<StoredVersion>, StageError> {
    let mut earliest: BTreeMap<Uuid, LoadPosition> = BTreeMap::new();
    for record in candidates {
        earliest.entry(record.parent).and_modify(|at| *at = record.at.min(*at)).or_insert(record.at);
    }
    if earliest.is_empty() {
        return Ok(Vec::new());
    }
    let parents: Vec<Uuid> = earliest.keys().copied().collect();
    let (load_dt, load_seq): (Vec<DateTime<Utc>>, Vec<i64>) =
        earliest.values().map(|at| (at.load_dt, at.load_seq)).unzip();
    let rows: Vec<StoredRow> =
        sqlx::query_as(satellite.select).bind(parents).bind(load_dt).bind(load_seq).fetch_all(tx).await?;
    Ok(rows.into_iter().map(version).collect())
}

/// A row that was read: parent, load_dt, load_seq, hashdiff, sent_dttm.
type StoredRow = (Uuid, DateTime<Utc>, i64, Uuid, Sent);

fn version((parent, load_dt, load_seq, hashdiff, sent): StoredRow) -> StoredVersion {
    StoredVersion { parent, at: LoadPosition { load_dt, load_seq }, sent, hashdiff }
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
        statement: &'static str,
    ) -> sqlx::query::Query<'a, sqlx::Postgres, sqlx::postgres::PgArguments> {
        sqlx::query(statement)
            .bind(self.parent)
            .bind(self.load_dt)
            .bind(self.load_seq)
            .bind(self.load_src)
            .bind(self.hashdiff)
    }
}
