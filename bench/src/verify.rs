//! Correctness after each phase: a fast wrong answer is no figure.

use anyhow::{Context as _, ensure};
use sqlx::PgPool;
use strata_testkit::Fleet;

/// Fails unless a fleet holds just so many events, each layer equal to the one before it.
pub async fn all(fleet: &Fleet, orders: u64, searches: u64) -> anyhow::Result<()> {
    self::orders(fleet.pool(), orders).await?;
    self::searches(fleet.pool(), searches).await?;
    reconciled(fleet).await
}

/// Fails unless the counters are the fold over the vault, every order is in every layer and nothing
/// became a dead letter.
pub async fn orders(pool: &PgPool, stored: u64) -> anyhow::Result<()> {
    for table in ["stg.order_events", "dds.h_order", "dds.l_order_user", "dds.s_order_status"] {
        let rows = count(pool, &format!("select count(*) from {table}")).await?;
        ensure!(rows == stored, "{table} holds {rows} rows after {stored} orders");
    }
    for (table, what) in [("user_product_counters", "product"), ("user_category_counters", "category")] {
        let fold = format!(
            "with closed as (select distinct h_order_pk from dds.s_order_status where status = 'CLOSED'), \
             fold as ( \
                 select u.h_user_pk as user_id, m.h_{what}_pk as thing_id, count(distinct h_order_pk) as n \
                 from closed \
                 join dds.l_order_user as u using (h_order_pk) \
                 join dds.l_order_{what} as m using (h_order_pk) \
                 group by u.h_user_pk, m.h_{what}_pk \
             ) \
             select count(*) \
             from fold \
             full join cdm.{table} as c on c.user_id = fold.user_id and c.{what}_id = fold.thing_id \
             where c.order_cnt is distinct from fold.n"
        );
        let different = count(pool, &fold).await?;
        ensure!(different == 0, "cdm.{table} differs from the fold over dds in {different} counters");
    }
    no_dead_letters(pool).await
}

/// Fails unless every search is in every layer, once, with its satellite.
async fn searches(pool: &PgPool, stored: u64) -> anyhow::Result<()> {
    for table in ["stg.hotel_search_events", "dds.l_hotel_search", "dds.s_hotel_search_offers"] {
        let rows = count(pool, &format!("select count(*) from {table}")).await?;
        ensure!(rows == stored, "{table} holds {rows} rows after {stored} searches");
    }
    let apart = "select count(*) from dds.l_hotel_search as l \
                 full join dds.s_hotel_search_offers as s using (hk_hotel_search_pk) \
                 where l.event_id is null or s.load_seq is null";
    let apart = count(pool, apart).await?;
    ensure!(apart == 0, "{apart} searches lack their link or their satellite");
    no_dead_letters(pool).await
}

/// Fails unless `strata reconcile` finds every layer equal to the one before it.
pub async fn reconciled(fleet: &Fleet) -> anyhow::Result<()> {
    let found = fleet.strata(&["reconcile"]).await;
    let (said, failed) = (String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
    ensure!(found.status.success(), "strata reconcile: {said}{failed}");
    Ok(())
}

async fn no_dead_letters(pool: &PgPool) -> anyhow::Result<()> {
    let letters = count(pool, "select count(*) from ops.dead_letters").await?;
    ensure!(letters == 0, "{letters} dead letters of events that the bench made");
    Ok(())
}

/// The number a statement counts.
pub async fn count(pool: &PgPool, statement: &str) -> anyhow::Result<u64> {
    let count: i64 =
        sqlx::query_scalar(statement).fetch_one(pool).await.with_context(|| statement.to_owned())?;
    Ok(u64::try_from(count)?)
}
