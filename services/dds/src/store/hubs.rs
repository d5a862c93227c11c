//! Hubs: the first sighting of a business key wins.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use strata_runtime::kafka::StageError;
use strata_runtime::metrics::written;
use uuid::Uuid;

use super::Fresh;
use crate::rows::{HubRows, Load};

/// A hub whose business key is text, by the statement that fills it.
#[derive(Debug, Clone, Copy)]
pub struct Hub {
    /// Name of the table.
    table: &'static str,
    /// Safe to repeat. `$1` key uuid[] · `$2` business key text[] · `$3` load_dt timestamptz[] · `$4` load_src text[].
    insert: &'static str,
}

/// Safe to repeat. `$1` key uuid[] (sorted, each once) · `$2` business key text[] · `$3` load_dt · `$4` load_src.
macro_rules! hub {
    ($table:literal, $key:literal, $business_key:literal) => {
        Hub {
            table: concat!("dds.", $table),
            insert: concat!(
                "insert into dds.",
                $table,
                " (",
                $key,
                ", ",
                $business_key,
                ", load_dt, load_src) ",
                "select * from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[]) ",
                "on conflict (",
                $key,
                ") do nothing"
            ),
        }
    };
}

/// `h_user`, shared by all streams.
pub const USER: Hub = hub!("h_user", "h_user_pk", "user_id");
/// `h_product`.
pub const PRODUCT: Hub = hub!("h_product", "h_product_pk", "product_id");
/// `h_category`.
pub const CATEGORY: Hub = hub!("h_category", "h_category_pk", "category_name");
/// `h_restaurant`.
pub const RESTAURANT: Hub = hub!("h_restaurant", "h_restaurant_pk", "restaurant_id");
/// `h_hotel`.
pub const HOTEL: Hub = hub!("h_hotel", "h_hotel_pk", "hotel_id");
/// `h_advertiser`.
pub const ADVERTISER: Hub = hub!("h_advertiser", "h_advertiser_pk", "advertiser_name");

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
    let created: Vec<Uuid> = sqlx::query_scalar(
        "insert into dds.h_order (h_order_pk, order_id, order_dt, load_dt, load_src) \
         select * from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::text[]) \
         on conflict (h_order_pk) do nothing \
         returning h_order_pk",
    )
    .bind(keys)
    .bind(ids)
    .bind(dates)
    .bind(load_dt)
    .bind(load_src)
    .fetch_all(tx)
    .await?;
    written::note("dds.h_order", created.len() as u64);
    Ok(created.into_iter().collect())
}

/// Inserts what is not there yet, hub after hub in the order given; the caller's order is its order of locks.
pub async fn insert<K: AsRef<str>>(
    tx: &mut PgConnection,
    hubs: &[(Hub, &HubRows<K>)],
) -> Result<(), StageError> {
    for (hub, rows) in hubs.iter().filter(|(_, rows)| !rows.is_empty()) {
        let keys: Vec<Uuid> = rows.keys().copied().collect();
        let business_keys: Vec<&str> = rows.values().map(|(key, _)| key.as_ref()).collect();
        let (load_dt, load_src) = load_columns(rows.values().map(|(_, load)| load));
        let done = sqlx::query(hub.insert)
            .bind(keys)
            .bind(business_keys)
            .bind(load_dt)
            .bind(load_src)
            .execute(&mut *tx)
            .await?;
        written::note(hub.table, done.rows_affected());
    }
    Ok(())
}
