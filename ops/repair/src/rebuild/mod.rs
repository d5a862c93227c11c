//! `strata rebuild`: a layer, rebuilt from the one before it, exactly, while the fleet runs.
//!
//! Decisions and limits: docs/adr/0008. One rebuild or replay of dead letters runs at a time.

mod counted;
mod counters;
mod metrics;
mod vault;

use anyhow::Context as _;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use strata_observe::Fleet;
use strata_pipeline::OperatorLock;
use strata_service::Settings;

pub use counters::Recounted;
pub use metrics::MetricsRebuilt;
pub use vault::{LeftOut, VaultRebuilt};

use crate::Progress;

/// The right to rebuild; one at a time has it.
pub struct Repair<'a> {
    settings: &'a Settings,
    fleet: Fleet,
    _lock: OperatorLock,
}

impl<'a> Repair<'a> {
    /// Waits for nobody. **Errors**: a server does not answer, or another rebuild or replay is under way.
    pub async fn begin(settings: &'a Settings) -> anyhow::Result<Self> {
        let fleet = Fleet::connect(settings)?;
        let lock = OperatorLock::take(&fleet.pool).await?;
        Ok(Self { settings, fleet, _lock: lock })
    }

    /// Counts the orders of users again from the vault.
    pub async fn counters(&self, progress: &mut Progress<'_>) -> anyhow::Result<Recounted> {
        counters::rebuild(self.settings, &self.fleet, progress).await
    }

    /// Counts the hotel metrics in Redis again from the vault.
    pub async fn metrics(&self, progress: &mut Progress<'_>) -> anyhow::Result<MetricsRebuilt> {
        metrics::rebuild(self.settings, &self.fleet, progress).await
    }

    /// Adds what the vault lacks of what is staged, and counts the counters again; the metrics are to follow.
    ///
    /// With `emptied`, the name of the database as a confirmation, the vault is emptied first. History that staging
    /// does not hold is lost then.
    pub async fn vault(
        &self,
        emptied: Option<&str>,
        progress: &mut Progress<'_>,
    ) -> anyhow::Result<VaultRebuilt> {
        vault::rebuild(self.settings, &self.fleet, emptied, progress).await
    }
}

/// Begins a transaction that may take long; its commit survives a crash of Postgres.
///
/// Everything that it read is on disk then, too: the services commit asynchronously, but in the same log.
async fn begin(pool: &PgPool) -> anyhow::Result<Transaction<'static, Postgres>> {
    let mut tx = pool.begin().await.context("Postgres does not answer; is the fleet up? (make up)")?;
    for statement in [
        "set local synchronous_commit = on",
        "set local statement_timeout = 0",
        "set local idle_in_transaction_session_timeout = '5min'",
        // A stage that hangs in its transaction is freed of it earlier.
        "set local lock_timeout = '60s'",
        // Locks of a rebuild that was killed in the middle of a statement are free within a second.
        "set local client_connection_check_interval = '1s'",
        "set local work_mem = '256MB'",
        "set local jit = off",
    ] {
        sqlx::query(statement).execute(&mut *tx).await?;
    }
    Ok(tx)
}

/// Has whole tables be read as a whole: statistics that lag behind must not lead to lookups row by row.
async fn expect_whole_tables(tx: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query("set local enable_nestloop = off").execute(tx).await?;
    Ok(())
}

/// Keeps every instance of a stage from committing in these partitions until the transaction ends.
///
/// Each batch locks its offset rows before anything else, so what is in the middle is waited for and what
/// comes next waits. A partition that was never read gets its row here, else there would be nothing to lock.
async fn hold(
    tx: &mut PgConnection,
    stage: &str,
    topic: &str,
    partitions: &[(i32, i64, i64)],
) -> anyhow::Result<()> {
    let numbers: Vec<i32> = partitions.iter().map(|(partition, ..)| *partition).collect();
    let first: Vec<i64> = partitions.iter().map(|(_, low, _)| *low).collect();
    sqlx::query(include_str!("../../../../shared/pipeline/sql/insert_consumer_offsets.sql"))
        .bind(stage)
        .bind(topic)
        .bind(&numbers)
        .bind(&first)
        .execute(&mut *tx)
        .await?;
    sqlx::query(include_str!("../../../../shared/pipeline/sql/lock_consumer_offsets.sql"))
        .bind(stage)
        .bind(topic)
        .bind(&numbers)
        .execute(&mut *tx)
        .await
        .with_context(|| format!("{stage} does not come to the end of a batch; try again"))?;
    Ok(())
}
