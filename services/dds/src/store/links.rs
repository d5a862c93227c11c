//! Links: a pair of hub keys, the first sighting wins.

use std::sync::LazyLock;

use sqlx::PgConnection;
use strata_pipeline::StageError;
use strata_pipeline::metrics::written;
use strata_service::pg_copy::CopyRows;
use strata_streams::order::vault as order;
use uuid::Uuid;

use super::Fresh;
use super::hubs::load_columns;
use super::table::Table;
use strata_streams::order::rows::Links;
use strata_streams::rows::LinkRow;

static ORDER_USER: LazyLock<Table> = LazyLock::new(|| Table::of(&order::ORDER_USER.shape()));
static ORDER_PRODUCT: LazyLock<Table> = LazyLock::new(|| Table::of(&order::ORDER_PRODUCT.shape()));
static ORDER_CATEGORY: LazyLock<Table> = LazyLock::new(|| Table::of(&order::ORDER_CATEGORY.shape()));
static PRODUCT_RESTAURANT: LazyLock<Table> = LazyLock::new(|| Table::of(&order::PRODUCT_RESTAURANT.shape()));
static PRODUCT_CATEGORY: LazyLock<Table> = LazyLock::new(|| Table::of(&order::PRODUCT_CATEGORY.shape()));

/// Stores the links of a batch; those of `fresh` orders are loaded without a look at what is there.
pub async fn insert_all(tx: &mut PgConnection, links: &Links, fresh: &Fresh) -> Result<(), StageError> {
    for (link, rows) in [
        (&ORDER_USER, &links.order_user),
        (&ORDER_PRODUCT, &links.order_product),
        (&ORDER_CATEGORY, &links.order_category),
    ] {
        let (new, known): (Vec<&LinkRow>, Vec<&LinkRow>) =
            rows.iter().partition(|row| fresh.contains(&row.hubs[0]));
        copy(tx, link, &new).await?;
        insert(tx, link, known).await?;
    }
    insert(tx, &PRODUCT_RESTAURANT, links.product_restaurant.iter().collect()).await?;
    insert(tx, &PRODUCT_CATEGORY, links.product_category.iter().collect()).await
}

async fn copy(tx: &mut PgConnection, link: &'static Table, rows: &[&LinkRow]) -> Result<(), StageError> {
    let mut copied = CopyRows::new(5);
    for LinkRow { key, hubs: [first, second], load } in rows {
        copied.row().put(key)?.put(first)?.put(second)?.put(load.at.load_dt)?.put(&*load.src)?;
    }
    copied.load(tx, &link.copy).await?;
    written::note(&link.name, rows.len() as u64);
    Ok(())
}

async fn insert(tx: &mut PgConnection, link: &'static Table, rows: Vec<&LinkRow>) -> Result<(), StageError> {
    if rows.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = rows.iter().map(|row| row.key).collect();
    let (first, second): (Vec<Uuid>, Vec<Uuid>) = rows.iter().map(|row| row.hubs.into()).unzip();
    let (load_dt, load_src) = load_columns(rows.iter().map(|row| &row.load));
    let done = sqlx::query(&link.insert)
        .bind(keys)
        .bind(first)
        .bind(second)
        .bind(load_dt)
        .bind(load_src)
        .execute(tx)
        .await?;
    written::note(&link.name, done.rows_affected());
    Ok(())
}
