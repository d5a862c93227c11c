//! Orders that the vault knows already: locked, then read.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use strata_pipeline::StageError;
use uuid::Uuid;

use strata_streams::order::countable::{LinkedProduct, OrderState};

/// Locks known orders in key order and reads what the vault holds of them.
///
/// Records of one order may meet in two partitions at once. The lock on the order's hub row makes the
/// second writer wait and then see what the first one announced; each statement below has a snapshot of
/// its own, taken after the lock.
pub async fn lock_and_read(
    tx: &mut PgConnection,
    order_keys: &[Uuid],
) -> Result<BTreeMap<Uuid, OrderState<'static>>, StageError> {
    let mut states: BTreeMap<Uuid, OrderState<'static>> = BTreeMap::new();
    if order_keys.is_empty() {
        return Ok(states);
    }
    sqlx::query("select from dds.h_order where h_order_pk = any($1) order by h_order_pk for no key update")
        .bind(order_keys)
        .execute(&mut *tx)
        .await?;
    let closed: Vec<Uuid> = sqlx::query_scalar(
        "select distinct h_order_pk from dds.s_order_status where h_order_pk = any($1) and status = 'CLOSED'",
    )
    .bind(order_keys)
    .fetch_all(&mut *tx)
    .await?;
    for key in closed {
        states.entry(key).or_default().closed = true;
    }
    let users: Vec<(Uuid, Uuid)> =
        sqlx::query_as("select h_order_pk, h_user_pk from dds.l_order_user where h_order_pk = any($1) order by load_dt, h_user_pk")
            .bind(order_keys)
            .fetch_all(&mut *tx)
            .await?;
    for (order, user) in users {
        states.entry(order).or_default().users.push(user);
    }
    read_categories(tx, order_keys, &mut states).await?;
    read_products(tx, order_keys, &mut states).await?;
    Ok(states)
}

async fn read_categories(
    tx: &mut PgConnection,
    order_keys: &[Uuid],
    states: &mut BTreeMap<Uuid, OrderState<'static>>,
) -> Result<(), StageError> {
    let rows: Vec<(Uuid, Uuid, String)> = sqlx::query_as(
        "select l.h_order_pk, l.h_category_pk, h.category_name \
         from dds.l_order_category as l \
         join dds.h_category as h using (h_category_pk) \
         where l.h_order_pk = any($1)",
    )
    .bind(order_keys)
    .fetch_all(tx)
    .await?;
    for (order, category, name) in rows {
        states.entry(order).or_default().categories.insert(category, name.into());
    }
    Ok(())
}

async fn read_products(
    tx: &mut PgConnection,
    order_keys: &[Uuid],
    states: &mut BTreeMap<Uuid, OrderState<'static>>,
) -> Result<(), StageError> {
    // The category is one that both the order and the product are linked to.
    let rows: Vec<(Uuid, Uuid, String, Option<Uuid>)> = sqlx::query_as(
        "select \
             l.h_order_pk, \
             l.h_product_pk, \
             n.name, \
             (select pc.h_category_pk \
              from dds.l_product_category as pc \
              join dds.l_order_category as oc \
                  on oc.h_order_pk = l.h_order_pk and oc.h_category_pk = pc.h_category_pk \
              where pc.h_product_pk = l.h_product_pk \
              order by pc.h_category_pk \
              limit 1) \
         from dds.l_order_product as l \
         cross join lateral ( \
             select s.name \
             from dds.s_product_names as s \
             where s.h_product_pk = l.h_product_pk \
             order by s.load_dt desc, s.load_seq desc \
             limit 1 \
         ) as n \
         where l.h_order_pk = any($1)",
    )
    .bind(order_keys)
    .fetch_all(tx)
    .await?;
    for (order, product, name, category_pk) in rows {
        states
            .entry(order)
            .or_default()
            .products
            .insert(product, LinkedProduct { name: name.into(), category_pk });
    }
    Ok(())
}
