//! Links: a pair of hub keys, the first sighting wins.

use sqlx::PgConnection;
use strata_runtime::kafka::StageError;
use strata_runtime::metrics::written;
use strata_runtime::pg_copy::CopyRows;
use uuid::Uuid;

use super::Fresh;
use super::hubs::load_columns;
use crate::order::rows::Links;
use crate::rows::LinkRow;

/// A link, by the statements that fill it.
struct Link {
    /// Name of the table.
    table: &'static str,
    /// Safe to repeat. `$1` key uuid[] · `$2`, `$3` hub keys uuid[] (sorted, each pair once) · `$4` load_dt · `$5` load_src.
    insert: &'static str,
    /// The same columns, for rows that cannot be there.
    copy: &'static str,
}

macro_rules! link {
    ($table:literal, $key:literal, $first:literal, $second:literal) => {
        Link {
            table: concat!("dds.", $table),
            insert: concat!(
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
                "on conflict do nothing"
            ),
            copy: concat!(
                "copy dds.",
                $table,
                " (",
                $key,
                ", ",
                $first,
                ", ",
                $second,
                ", load_dt, load_src) ",
                "from stdin (format binary)"
            ),
        }
    };
}

const ORDER_USER: Link = link!("l_order_user", "hk_order_user_pk", "h_order_pk", "h_user_pk");
const ORDER_PRODUCT: Link = link!("l_order_product", "hk_order_product_pk", "h_order_pk", "h_product_pk");
const ORDER_CATEGORY: Link = link!("l_order_category", "hk_order_category_pk", "h_order_pk", "h_category_pk");
const PRODUCT_RESTAURANT: Link =
    link!("l_product_restaurant", "hk_product_restaurant_pk", "h_product_pk", "h_restaurant_pk");
const PRODUCT_CATEGORY: Link =
    link!("l_product_category", "hk_product_category_pk", "h_product_pk", "h_category_pk");

/// Stores the links of a batch; those of `fresh` orders are loaded without a look at what is there.
pub async fn insert_all(tx: &mut PgConnection, links: &Links, fresh: &Fresh) -> Result<(), StageError> {
    for (link, rows) in [
        (ORDER_USER, &links.order_user),
        (ORDER_PRODUCT, &links.order_product),
        (ORDER_CATEGORY, &links.order_category),
    ] {
        let (new, known): (Vec<&LinkRow>, Vec<&LinkRow>) =
            rows.iter().partition(|row| fresh.contains(&row.hubs[0]));
        copy(tx, &link, &new).await?;
        insert(tx, &link, known).await?;
    }
    insert(tx, &PRODUCT_RESTAURANT, links.product_restaurant.iter().collect()).await?;
    insert(tx, &PRODUCT_CATEGORY, links.product_category.iter().collect()).await
}

async fn copy(tx: &mut PgConnection, link: &Link, rows: &[&LinkRow]) -> Result<(), StageError> {
    let mut copied = CopyRows::new(5);
    for LinkRow { key, hubs: [first, second], load } in rows {
        copied.row().put(key)?.put(first)?.put(second)?.put(load.at.load_dt)?.put(&*load.src)?;
    }
    copied.load(tx, link.copy).await?;
    written::note(link.table, rows.len() as u64);
    Ok(())
}

async fn insert(tx: &mut PgConnection, link: &Link, rows: Vec<&LinkRow>) -> Result<(), StageError> {
    if rows.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = rows.iter().map(|row| row.key).collect();
    let (first, second): (Vec<Uuid>, Vec<Uuid>) = rows.iter().map(|row| row.hubs.into()).unzip();
    let (load_dt, load_src) = load_columns(rows.iter().map(|row| &row.load));
    let done = sqlx::query(link.insert)
        .bind(keys)
        .bind(first)
        .bind(second)
        .bind(load_dt)
        .bind(load_src)
        .execute(tx)
        .await?;
    written::note(link.table, done.rows_affected());
    Ok(())
}
