//! Hubs: the first sighting of a business key wins.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use strata_pipeline::StageError;
use strata_pipeline::metrics::written;
use strata_streams::{hotel_search, order, vault};
use uuid::Uuid;

use super::Fresh;
use super::table::Table;
use strata_streams::rows::{HubRows, Load};

/// `h_user`, shared by all streams.
pub static USER: LazyLock<Table> = LazyLock::new(|| Table::of(&vault::USER.shape()));
/// `h_product`.
pub static PRODUCT: LazyLock<Table> = LazyLock::new(|| Table::of(&order::vault::PRODUCT.shape()));
/// `h_category`.
pub static CATEGORY: LazyLock<Table> = LazyLock::new(|| Table::of(&order::vault::CATEGORY.shape()));
/// `h_restaurant`.
pub static RESTAURANT: LazyLock<Table> = LazyLock::new(|| Table::of(&order::vault::RESTAURANT.shape()));
/// `h_hotel`.
pub static HOTEL: LazyLock<Table> = LazyLock::new(|| Table::of(&hotel_search::vault::HOTEL.shape()));
/// `h_advertiser`.
pub static ADVERTISER: LazyLock<Table> =
    LazyLock::new(|| Table::of(&hotel_search::vault::ADVERTISER.shape()));
/// `h_order`.
static ORDER: LazyLock<Table> =
    LazyLock::new(|| Table::of(&order::vault::ORDER.shape()).returning(order::vault::ORDER.key));

/// Columns that every vault row carries.
pub(super) fn load_columns<'a>(loads: impl Iterator<Item = &'a Load>) -> (Vec<DateTime<Utc>>, Vec<&'a str>) {
    loads.map(|load| (load.at.load_dt, &*load.src)).unzip()
}

/// Inserts orders and returns the keys of those that were not there.
///
/// Two writers that bring the same new order meet here: the second waits for the first and then finds
/// the order known.
pub async fn insert_orders(
    tx: &mut PgConnection,
    rows: &HubRows<(i64, DateTime<Utc>)>,
) -> Result<Fresh, StageError> {
    let keys: Vec<Uuid> = rows.keys().copied().collect();
    let (ids, dates): (Vec<i64>, Vec<DateTime<Utc>>) = rows.values().map(|(order, _)| *order).unzip();
    let (load_dt, load_src) = load_columns(rows.values().map(|(_, load)| load));
    let created: Vec<Uuid> = sqlx::query_scalar(&ORDER.insert)
        .bind(keys)
        .bind(ids)
        .bind(dates)
        .bind(load_dt)
        .bind(load_src)
        .fetch_all(tx)
        .await?;
    written::note(&ORDER.name, created.len() as u64);
    Ok(created.into_iter().collect())
}

/// Inserts what is not there yet, hub after hub in the order given; the caller's order is its order of locks.
pub async fn insert<K: AsRef<str>>(
    tx: &mut PgConnection,
    hubs: &[(&'static Table, &HubRows<K>)],
) -> Result<(), StageError> {
    for (hub, rows) in hubs.iter().filter(|(_, rows)| !rows.is_empty()) {
        let keys: Vec<Uuid> = rows.keys().copied().collect();
        let business_keys: Vec<&str> = rows.values().map(|(key, _)| key.as_ref()).collect();
        let (load_dt, load_src) = load_columns(rows.values().map(|(_, load)| load));
        let done = sqlx::query(&hub.insert)
            .bind(keys)
            .bind(business_keys)
            .bind(load_dt)
            .bind(load_src)
            .execute(&mut *tx)
            .await?;
        written::note(&hub.name, done.rows_affected());
    }
    Ok(())
}
