//! Statements of the data marts.

use sqlx::{PgConnection, PgPool};
use strata_pipeline::StageError;
use strata_pipeline::metrics::written;
use uuid::Uuid;

use strata_streams::order::counters::Increments;

/// Adds to `cdm.user_product_counters`. Not idempotent: the watermarks guard it.
pub async fn add_products(tx: &mut PgConnection, increments: &Increments) -> Result<(), StageError> {
    let statement = include_str!("../sql/upsert_user_product_counters.sql");
    add(tx, "cdm.user_product_counters", statement, increments).await
}

/// Adds to `cdm.user_category_counters`. Not idempotent: the watermarks guard it.
pub async fn add_categories(tx: &mut PgConnection, increments: &Increments) -> Result<(), StageError> {
    let statement = include_str!("../sql/upsert_user_category_counters.sql");
    add(tx, "cdm.user_category_counters", statement, increments).await
}

async fn add(
    tx: &mut PgConnection,
    table: &'static str,
    statement: &'static str,
    increments: &Increments,
) -> Result<(), StageError> {
    if increments.is_empty() {
        return Ok(());
    }
    let (users, things): (Vec<Uuid>, Vec<Uuid>) = increments.keys().copied().unzip();
    let (names, counts): (Vec<&str>, Vec<i64>) =
        increments.values().map(|(name, n)| (name.as_str(), *n)).unzip();
    let done = sqlx::query(statement).bind(users).bind(things).bind(names).bind(counts).execute(tx).await?;
    written::note(table, done.rows_affected());
    Ok(())
}

/// A page of a user's counters: (key, name, orders), most ordered first, and how many there are in all.
pub async fn read_counters(
    pool: &PgPool,
    statement: &'static str,
    user: Uuid,
    limit: i64,
) -> Result<(i64, Vec<(Uuid, String, i64)>), sqlx::Error> {
    let rows: Vec<(Uuid, String, i64, i64)> =
        sqlx::query_as(statement).bind(user).bind(limit).fetch_all(pool).await?;
    let total = rows.first().map_or(0, |row| row.3);
    Ok((total, rows.into_iter().map(|(key, name, orders, _)| (key, name, orders)).collect()))
}
