//! Orders from staging into the vault.
//!
//! Staging holds what was ordered; names and categories come from the reference data. Where the vault knows
//! better, it is left alone: a category that the order was linked to stands for the menu's, which may have moved
//! the dish since, and a name that was in force when the order came stands for today's.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dds::order::handler::write;
use dds::store::orders::lock_and_read;
use sqlx::PgConnection;
use stg::reference::ReferenceCache;
use strata_events::Origin;
use strata_runtime::redis::ReferenceKeys;
use strata_runtime::{Settings, redis};
use strata_streams::order::ORDER;
use strata_streams::order::countable::OrderState;
use strata_streams::order::enrich::enrich;
use strata_streams::order::reference::ReferenceData;
use strata_streams::order::rows::{OrderFact, VaultRows};
use strata_streams::order::{FactMessage, Order};
use strata_streams::rows::{Keys, Load};
use strata_vault::{LoadPosition, SatelliteRecord, hub_key};
use uuid::Uuid;

use super::{CHUNK, Coming, LeftOut, note, staged, start_of};
use crate::Progress;

/// The first version of each parent. `$1` parent uuid[].
macro_rules! first_names {
    ($table:literal, $parent:literal) => {
        concat!(
            "select distinct on (",
            $parent,
            ") ",
            $parent,
            ", load_dt, load_seq from dds.",
            $table,
            " where ",
            $parent,
            " = any($1) order by ",
            $parent,
            ", load_dt, load_seq"
        )
    };
}

/// Puts orders into the vault; returns those that cannot be enriched.
pub async fn fill(
    tx: &mut PgConnection,
    settings: &Settings,
    coming: &Coming,
    staged: i64,
    progress: &mut Progress<'_>,
) -> anyhow::Result<LeftOut> {
    let keys = ReferenceKeys { prefix: settings.redis_prefix.clone() };
    let mut reference = ReferenceCache::new(redis::connect(&settings.redis), keys);
    let mut left_out = LeftOut::new();
    let mut place = 0;
    while place < staged {
        let staged = read(tx, settings, place).await?;
        place += CHUNK;
        progress("orders", staged.len() as u64);
        let due = staged.iter().filter(|staged| !coming.holds(&staged.start));
        let orders: Vec<(Order<'_>, Load)> = due.map(Staged::order).collect::<anyhow::Result<_>>()?;
        let users = orders.iter().map(|(order, _)| &*order.payload.user.id);
        let restaurants = orders.iter().map(|(order, _)| &*order.payload.restaurant.id);
        let known = reference.fetch(users, restaurants).await?;
        let messages = enrich_all(tx, &orders, &known, &mut left_out).await?;
        let mut keys = Keys::default();
        let facts: Vec<OrderFact<'_>> =
            messages.iter().map(|(message, load)| OrderFact::new(message, load.clone(), &mut keys)).collect();
        let mut rows = VaultRows::build(&facts);
        keep_unknown(tx, first_names!("s_user_names", "h_user_pk"), &mut rows.user_names).await?;
        keep_unknown(tx, first_names!("s_product_names", "h_product_pk"), &mut rows.product_names).await?;
        keep_unknown(tx, first_names!("s_restaurant_names", "h_restaurant_pk"), &mut rows.restaurant_names)
            .await?;
        write(tx, rows, true).await?;
    }
    Ok(left_out)
}

/// An order as it is staged.
struct Staged {
    object_id: i64,
    sent_dttm: DateTime<Utc>,
    payload: String,
    load_dt: DateTime<Utc>,
    /// The record that it came with.
    start: Origin,
}

impl Staged {
    /// The order, and its place in the vault's time.
    fn order(&self) -> anyhow::Result<(Order<'_>, Load)> {
        let order = Order {
            object_id: self.object_id,
            sent_dttm: self.sent_dttm,
            payload: serde_json::from_str(&self.payload)?,
            raw_payload: serde_json::from_str(&self.payload)?,
        };
        Ok((order, Load::new(self.load_dt, &self.start)))
    }
}

/// The next orders.
async fn read(tx: &mut PgConnection, settings: &Settings, after: i64) -> anyhow::Result<Vec<Staged>> {
    type Row = (i64, DateTime<Utc>, String, DateTime<Utc>, Option<String>, Option<i32>, Option<i64>);
    let rows: Vec<Row> = sqlx::query_as(staged!(
        "stg.order_events",
        "e.object_id, e.sent_dttm, e.payload::text, coalesce(e.load_dt, e.sent_dttm)"
    ))
    .bind(after)
    .bind(CHUNK)
    .fetch_all(tx)
    .await?;
    let staged = rows.into_iter().map(|(object_id, sent_dttm, payload, load_dt, src, partition, offset)| {
        let start = start_of(settings, &ORDER, (src, partition, offset));
        Staged { object_id, sent_dttm, payload, load_dt, start }
    });
    Ok(staged.collect())
}

/// Adds names and categories.
async fn enrich_all<'a>(
    tx: &mut PgConnection,
    orders: &'a [(Order<'_>, Load)],
    reference: &'a ReferenceData,
    left_out: &mut LeftOut,
) -> anyhow::Result<Vec<(FactMessage<'a>, Load)>> {
    let keys: Vec<Uuid> = orders.iter().map(|(order, _)| key_of(order)).collect();
    let states: BTreeMap<Uuid, OrderState<'_>> = lock_and_read(tx, &keys).await?;
    let mut messages = Vec::with_capacity(orders.len());
    for (order, load) in orders {
        match enrich(order, reference) {
            Ok(mut message) => {
                if let Some(state) = states.get(&key_of(order)) {
                    keep_categories(&mut message, state);
                }
                messages.push((message, load.clone()));
            }
            Err(reject) => note(left_out, &reject),
        }
    }
    Ok(messages)
}

fn key_of(order: &Order<'_>) -> Uuid {
    hub_key(&order.object_id.to_string())
}

/// Puts the category that the order was linked to in the place of the menu's.
fn keep_categories(message: &mut FactMessage<'_>, state: &OrderState<'_>) {
    for product in &mut message.payload.products {
        let linked = state.products.get(&hub_key(&product.id)).and_then(|linked| linked.category_pk);
        if let Some(name) = linked.and_then(|key| state.categories.get(&key)) {
            product.category = name.to_string().into();
        }
    }
}

/// Drops names of whom the vault knows a name that was in force already.
async fn keep_unknown<T>(
    tx: &mut PgConnection,
    first: &'static str,
    names: &mut Vec<SatelliteRecord<(T, Load)>>,
) -> anyhow::Result<()> {
    let parents: Vec<Uuid> = names.iter().map(|name| name.parent).collect();
    let rows: Vec<(Uuid, DateTime<Utc>, i64)> = sqlx::query_as(first).bind(parents).fetch_all(tx).await?;
    let first: BTreeMap<Uuid, LoadPosition> = rows
        .into_iter()
        .map(|(parent, load_dt, load_seq)| (parent, LoadPosition { load_dt, load_seq }))
        .collect();
    names.retain(|name| first.get(&name.parent).is_none_or(|first| name.at < *first));
    Ok(())
}
