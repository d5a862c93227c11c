//! What the vault holds of orders that it knows already.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use strata_streams::order::countable::OrderState;
use strata_streams::order::stored::{CATEGORIES, CLOSED, PRODUCTS, Stored, USERS};
use uuid::Uuid;

/// Reads the states of orders, which must be locked: each statement has a snapshot of its own, taken after the lock,
/// and so sees what another writer of the same order has announced.
pub async fn read(
    tx: &mut PgConnection,
    order_keys: &[Uuid],
) -> Result<BTreeMap<Uuid, OrderState<'static>>, sqlx::Error> {
    let mut stored = Stored::default();
    if !order_keys.is_empty() {
        stored.add_closed(sqlx::query_scalar(CLOSED).bind(order_keys).fetch_all(&mut *tx).await?);
        stored.add_users(sqlx::query_as(USERS).bind(order_keys).fetch_all(&mut *tx).await?);
        stored.add_categories(sqlx::query_as(CATEGORIES).bind(order_keys).fetch_all(&mut *tx).await?);
        stored.add_products(sqlx::query_as(PRODUCTS).bind(order_keys).fetch_all(&mut *tx).await?);
    }
    Ok(stored.0)
}
