//! Correctness after each phase: a fast wrong answer is no figure.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use sqlx::PgPool;
use strata_streams::order::vault::{ORDER_CATEGORY, ORDER_PRODUCT};
use strata_streams::order::{ORDER, fold};
use strata_streams::{STREAMS, StreamDef};
use strata_testkit::Fleet;
use strata_vault::model::SCHEMA;

/// Events that a fleet holds, by stream; none of one that is not named.
pub type Stored = BTreeMap<&'static str, u64>;

/// Fails unless a fleet holds just so many events, each layer equal to the one before it.
pub async fn all(fleet: &Fleet, stored: &Stored) -> anyhow::Result<()> {
    for stream in STREAMS {
        events(fleet.pool(), stream, stored.get(stream.spec.name).copied().unwrap_or_default()).await?;
    }
    orders(fleet.pool(), stored.get(ORDER.name).copied().unwrap_or_default()).await?;
    reconciled(fleet).await
}

/// Fails unless every event is in the raw layer and, where the vault links events, in it once, with its satellites.
async fn events(pool: &PgPool, stream: &StreamDef, stored: u64) -> anyhow::Result<()> {
    let links: Vec<&str> =
        stream.vault.links.iter().filter(|link| link.event.is_some()).map(|link| link.table).collect();
    let satellites =
        stream.vault.satellites.iter().filter(|satellite| links.contains(&satellite.parent.table()));
    let vault = links.iter().copied().chain(satellites.map(|satellite| satellite.table));
    let tables = vault.map(|table| format!("{SCHEMA}.{table}")).chain([stream.raw.table.to_owned()]);
    for table in tables {
        let rows = count(pool, &format!("select count(*) from {table}")).await?;
        ensure!(rows == stored, "{table} holds {rows} rows after {}", stream.named(stored));
    }
    no_dead_letters(pool).await
}

/// Fails unless the counters are the fold over the vault, every order is in every layer and nothing
/// became a dead letter.
pub async fn orders(pool: &PgPool, stored: u64) -> anyhow::Result<()> {
    for table in ["stg.order_events", "dds.h_order", "dds.l_order_user", "dds.s_order_status"] {
        let rows = count(pool, &format!("select count(*) from {table}")).await?;
        ensure!(rows == stored, "{table} holds {rows} rows after {stored} orders");
    }
    for (thing, link) in [("product", &ORDER_PRODUCT), ("category", &ORDER_CATEGORY)] {
        let table = format!("cdm.user_{thing}_counters");
        let different = format!(
            "select count(*) from ({}) as f (user_id, thing_id, n) \
             full join {table} as c on c.user_id = f.user_id and c.{thing}_id = f.thing_id \
             where c.order_cnt is distinct from f.n",
            fold::counters(link)
        );
        let different = count(pool, &different).await?;
        ensure!(different == 0, "{table} differs from the fold over dds in {different} counters");
    }
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
