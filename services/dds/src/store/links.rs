//! Links: a pair of hub keys, the first sighting wins.

use sqlx::PgConnection;
use strata_runtime::kafka::StageError;
use strata_runtime::metrics::written;
use uuid::Uuid;

use super::hubs::load_columns;
use crate::order::rows::VaultRows;
use crate::rows::LinkRows;

/// Safe to repeat. `$1` key uuid[] (sorted, each once) · `$2`, `$3` hub keys uuid[] · `$4` load_dt · `$5` load_src.
macro_rules! link {
    ($table:literal, $key:literal, $first:literal, $second:literal) => {
        (
            concat!("dds.", $table),
            concat!(
                "insert into dds.",
                $table,
                " (",
                $key,
                ", ",
                $first,
                ", ",
                $second,
                ", load_dt, load_src) ",
                "select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[]) ",
                "on conflict (",
                $key,
                ") do nothing"
            ),
        )
    };
}

/// Inserts the links of a batch.
pub async fn insert_all(tx: &mut PgConnection, rows: &VaultRows) -> Result<(), StageError> {
    let statements = [
        (link!("l_order_user", "hk_order_user_pk", "h_order_pk", "h_user_pk"), &rows.order_user),
        (link!("l_order_product", "hk_order_product_pk", "h_order_pk", "h_product_pk"), &rows.order_product),
        (
            link!("l_order_category", "hk_order_category_pk", "h_order_pk", "h_category_pk"),
            &rows.order_category,
        ),
        (
            link!("l_product_restaurant", "hk_product_restaurant_pk", "h_product_pk", "h_restaurant_pk"),
            &rows.product_restaurant,
        ),
        (
            link!("l_product_category", "hk_product_category_pk", "h_product_pk", "h_category_pk"),
            &rows.product_category,
        ),
    ];
    for ((table, statement), links) in statements {
        let rows = insert(tx, statement, links).await?;
        written::note(table, rows);
    }
    Ok(())
}

async fn insert(tx: &mut PgConnection, statement: &'static str, rows: &LinkRows) -> Result<u64, StageError> {
    let keys: Vec<Uuid> = rows.keys().copied().collect();
    let (first, second): (Vec<Uuid>, Vec<Uuid>) = rows.values().map(|([a, b], _)| (*a, *b)).unzip();
    let (load_dt, load_src) = load_columns(rows.values().map(|(_, load)| load));
    let done = sqlx::query(statement)
        .bind(keys)
        .bind(first)
        .bind(second)
        .bind(load_dt)
        .bind(load_src)
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}
