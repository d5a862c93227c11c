//! What the stages refused, and the way back.

mod filter;
mod replay;
mod row;

use anyhow::Context as _;
use sqlx::PgPool;
use strata_pipeline::OperatorLock;
use strata_service::{Settings, pg};

pub use filter::{Filter, UNSETTLED};
pub use replay::{Replayed, replay, wait};
pub use row::DeadLetter;

use filter::matching;
use row::columns;

const NO_POSTGRES: &str = "Postgres does not answer; is the fleet up? (make up)";

fn pool(settings: &Settings) -> PgPool {
    pg::pool(&settings.postgres, "strata", settings.postgres.worker_connections)
}

/// Those that the filter means, the newest first, `limit` at most, and how many there are; no statuses mean any.
pub async fn list(
    settings: &Settings,
    filter: &Filter,
    statuses: Option<&[&str]>,
    limit: u32,
) -> anyhow::Result<(Vec<DeadLetter>, i64)> {
    let pool = pool(settings);
    let count = concat!("select count(*) from ops.dead_letters as d where ", matching!());
    let total = sqlx::query_scalar_with(count, filter.arguments(statuses)?).fetch_one(&pool).await;
    let select = concat!(
        "select ",
        columns!(),
        " from ops.dead_letters as d where ",
        matching!(),
        " order by d.id desc limit $8"
    );
    let total = total.context(NO_POSTGRES)?;
    let rows = sqlx::query_as_with(select, filter.arguments(statuses)?).bind(i64::from(limit));
    let rows = rows.fetch_all(&pool).await?;
    Ok((rows, total))
}

/// One dead letter, where there is one of this number.
pub async fn find(settings: &Settings, id: i64) -> anyhow::Result<Option<DeadLetter>> {
    let select = concat!("select ", columns!(), " from ops.dead_letters as d where d.id = $1");
    sqlx::query_as(select).bind(id).fetch_optional(&pool(settings)).await.context(NO_POSTGRES)
}

/// Marks unsettled ones as not worth replaying, `limit` at most, the oldest first; returns their numbers.
///
/// **Idempotent**: only unsettled ones change.
pub async fn discard(settings: &Settings, filter: &Filter, limit: Option<u32>) -> anyhow::Result<Vec<i64>> {
    let pool = pool(settings);
    let _lock = OperatorLock::take(&pool).await?;
    let discard = concat!(
        "with chosen as (select d.id from ops.dead_letters as d where ",
        matching!(),
        " order by d.id limit $8) ",
        "update ops.dead_letters as d set status = 'discarded' from chosen where d.id = chosen.id returning d.id"
    );
    let query = sqlx::query_scalar_with(discard, filter.arguments(Some(&UNSETTLED))?);
    Ok(query.bind(limit.map(i64::from)).fetch_all(&pool).await?)
}
