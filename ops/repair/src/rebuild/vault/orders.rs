//! Orders from staging into the vault.
//!
//! Staging holds what was ordered; names and categories come from the reference data. Where the vault knows
//! better, it is left alone: a category that the order was linked to stands for the menu's, which may have moved
//! the dish since, and a name that was in force when the order came stands for today's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use strata_events::{Origin, Restaurant, User};
use strata_service::redis::{Connection, ReferenceKeys, look_up};
use strata_service::{Settings, redis};
use strata_streams::order::ORDER;
use strata_streams::order::enrich::enrich;
use strata_streams::order::reference::{Menu, ReferenceData};
use strata_streams::order::rows::{OrderFact, VaultRows};
use strata_streams::order::stored::{CATEGORIES, PRODUCTS, Stored};
use strata_streams::order::vault::MODEL;
use strata_streams::order::{FactMessage, Order};
use strata_vault::load::{Hooks, Loader};
use strata_vault::model::{LOAD_DT, LOAD_SEQ};
use strata_vault::rows::{Fresh, Keys, Load, SatelliteRows};
use strata_vault::{LoadPosition, hub_key};
use uuid::Uuid;

use super::{CHUNK, Coming, LeftOut, note, staged, start_of};
use crate::Progress;

static VAULT: LazyLock<Loader> = LazyLock::new(|| Loader::of(&MODEL, Hooks::NONE));

/// Puts orders into the vault; returns those that cannot be enriched.
pub async fn fill(
    tx: &mut PgConnection,
    settings: &Settings,
    coming: &Coming,
    staged: i64,
    progress: &mut Progress<'_>,
) -> anyhow::Result<LeftOut> {
    let mut reference = Reference::new(settings);
    let mut left_out = LeftOut::new();
    let mut place = 0;
    while place < staged {
        let staged = read(tx, settings, place).await?;
        place += CHUNK;
        progress("orders", staged.len() as u64);
        let due = staged.iter().filter(|staged| !coming.holds(&staged.start));
        let orders: Vec<(Order<'_>, Load)> = due.map(Staged::order).collect::<anyhow::Result<_>>()?;
        reference.read(&orders).await?;
        let messages = enrich_all(tx, &orders, &reference.data, &mut left_out).await?;
        let mut keys = Keys::default();
        let facts: Vec<OrderFact<'_>> =
            messages.iter().map(|(message, load)| OrderFact::new(message, load.clone(), &mut keys)).collect();
        write(tx, VaultRows::build(&facts)).await?;
    }
    Ok(left_out)
}

/// Writes a batch. The vault may have lost rows of any table, so no order counts as fresh.
async fn write(tx: &mut PgConnection, mut rows: VaultRows<'_>) -> anyhow::Result<()> {
    for names in rows.rest.satellites.iter_mut().filter(|rows| !rows.satellite.sent) {
        keep_unknown(tx, names).await?;
    }
    VAULT.create(tx, &rows.orders).await?;
    let fresh = Fresh::new();
    VAULT.lock(tx, &rows.orders.known(&fresh)).await?;
    Ok(VAULT.complete(tx, rows.rest, &fresh).await?)
}

/// The reference data as it is now.
struct Reference {
    redis: Connection,
    keys: ReferenceKeys,
    /// Users of the orders that were asked for last, and every restaurant so far: those come again and again.
    data: ReferenceData,
}

impl Reference {
    fn new(settings: &Settings) -> Self {
        let keys = ReferenceKeys { prefix: settings.redis_prefix.clone() };
        Self { redis: redis::connect(&settings.redis), keys, data: ReferenceData::default() }
    }

    /// Reads what these orders name.
    async fn read(&mut self, orders: &[(Order<'_>, Load)]) -> anyhow::Result<()> {
        let Self { redis, keys, data } = self;
        let payloads = || orders.iter().map(|(order, _)| &order.payload);
        let users: BTreeSet<&str> = payloads().map(|payload| &*payload.user.id).collect();
        let users: Vec<&str> = users.into_iter().collect();
        let found: Vec<(&str, User)> = look_up(redis, &users, |id| keys.user(id)).await?;
        data.users = found.into_iter().map(|(id, user)| (id.to_owned(), Arc::new(user))).collect();
        let restaurants: BTreeSet<&str> = payloads().map(|payload| &*payload.restaurant.id).collect();
        let unread = restaurants.into_iter().filter(|id| !data.restaurants.contains_key(*id));
        let unread: Vec<&str> = unread.collect();
        let found: Vec<(&str, Restaurant)> = look_up(redis, &unread, |id| keys.restaurant(id)).await?;
        let menus = found.into_iter().map(|(id, found)| (id.to_owned(), Arc::new(Menu::from(found))));
        data.restaurants.extend(menus);
        Ok(())
    }
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
        "object_id",
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
    let mut stored = Stored::default();
    stored.add_categories(sqlx::query_as(CATEGORIES).bind(&keys).fetch_all(&mut *tx).await?);
    stored.add_products(sqlx::query_as(PRODUCTS).bind(&keys).fetch_all(&mut *tx).await?);
    let mut messages = Vec::with_capacity(orders.len());
    for (order, load) in orders {
        match enrich(order, reference) {
            Ok(mut message) => {
                // The category that the order was linked to stands for the menu's.
                for product in &mut message.payload.products {
                    if let Some(name) = stored.category(key_of(order), &product.id) {
                        product.category = name.to_owned().into();
                    }
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

/// Drops names of whom the vault knows a name that was in force already.
async fn keep_unknown(tx: &mut PgConnection, names: &mut SatelliteRows<'_>) -> anyhow::Result<()> {
    let (table, key) = (names.satellite.shape(), names.satellite.parent.key());
    let at = format!("{}, {}", LOAD_DT.name, LOAD_SEQ.name);
    let first = format!(
        "select distinct on ({key}) {key}, {at} from {table} where {key} = any($1) order by {key}, {at}"
    );
    let parents: Vec<Uuid> = names.records.iter().map(|name| name.parent).collect();
    let rows: Vec<(Uuid, DateTime<Utc>, i64)> = sqlx::query_as(&first).bind(parents).fetch_all(tx).await?;
    let first: BTreeMap<Uuid, LoadPosition> = rows
        .into_iter()
        .map(|(parent, load_dt, load_seq)| (parent, LoadPosition { load_dt, load_seq }))
        .collect();
    names.records.retain(|name| first.get(&name.parent).is_none_or(|first| name.at < *first));
    Ok(())
}
