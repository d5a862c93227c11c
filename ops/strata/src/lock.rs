//! One command at a time that changes dead letters or counts anew.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

/// Number of the advisory lock under which dead letters change their status and rebuilds work.
const LOCK: i64 = 0x0073_7472_6174_6132;

/// A command that was killed or has just ended gives its lock back within this.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(5);

/// The lock, held while the value lives: it belongs to the connection, which is closed with it.
pub struct OperatorLock(PoolConnection<Postgres>);

impl OperatorLock {
    /// Takes the lock.
    ///
    /// **Errors**: when another session holds it.
    pub async fn take(pool: &PgPool) -> anyhow::Result<Self> {
        let mut connection =
            pool.acquire().await.context("Postgres does not answer; is the fleet up? (make up)")?;
        connection.close_on_drop();
        let deadline = Instant::now() + GIVEN_BACK_WITHIN;
        while !take(&mut connection).await? {
            anyhow::ensure!(
                Instant::now() < deadline,
                "another strata dlq or strata rebuild is at work; wait for it to end"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Self(connection))
    }

    /// Makes sure that the session, and so the lock, still stands.
    pub async fn assert_held(&mut self) -> anyhow::Result<()> {
        sqlx::query("select 1").execute(&mut *self.0).await.context("the connection with the lock broke")?;
        Ok(())
    }
}

async fn take(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(connection).await
}
