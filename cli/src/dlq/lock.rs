//! One replayer at a time.

use anyhow::Context as _;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};

/// Number of the advisory lock under which dead letters change their status.
const LOCK: i64 = 0x0073_7472_6174_6132;

/// The lock, held while the value lives: it belongs to the connection, which is closed with it.
pub struct ReplayLock(PoolConnection<Postgres>);

impl ReplayLock {
    /// Takes the lock.
    ///
    /// **Errors**: when another session holds it.
    pub async fn take(pool: &PgPool) -> anyhow::Result<Self> {
        let mut connection =
            pool.acquire().await.context("Postgres does not answer; is the fleet up? (make up)")?;
        let free: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *connection)
            .await?;
        anyhow::ensure!(free, "another strata dlq or strata rebuild is at work; wait for it to end");
        connection.close_on_drop();
        Ok(Self(connection))
    }

    /// Makes sure that the session, and so the lock, still stands.
    pub async fn assert_held(&mut self) -> anyhow::Result<()> {
        sqlx::query("select 1").execute(&mut *self.0).await.context("the connection with the lock broke")?;
        Ok(())
    }
}
