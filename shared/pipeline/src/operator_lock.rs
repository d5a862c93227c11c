//! One at a time changes the status of dead letters or counts a layer again: a command of the operator, or a stage that
//! takes up what it had parked.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::PgPool;

use strata_service::session_lock::SessionLock;

/// Number of the advisory lock under which dead letters change their status and rebuilds work.
const LOCK: i64 = 0x0073_7472_6174_6132;

/// A command that was killed or has just ended gives its lock back within this.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(5);

/// The lock, held while the value lives.
pub struct OperatorLock(SessionLock);

impl OperatorLock {
    /// Takes the lock.
    ///
    /// **Errors**: when another session holds it.
    pub async fn take(pool: &PgPool) -> anyhow::Result<Self> {
        let deadline = Instant::now() + GIVEN_BACK_WITHIN;
        loop {
            let lock = SessionLock::try_take(pool, LOCK).await;
            if let Some(lock) = lock.context("Postgres does not answer; is the fleet up? (make up)")? {
                return Ok(Self(lock));
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "another strata dlq or strata rebuild, or a stage that takes up parked records, is at work; wait for it to end"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Takes the lock where it is free.
    pub async fn try_take(pool: &PgPool) -> sqlx::Result<Option<Self>> {
        Ok(SessionLock::try_take(pool, LOCK).await?.map(Self))
    }

    /// Makes sure that the session, and so the lock, still stands.
    pub async fn assert_held(&mut self) -> anyhow::Result<()> {
        sqlx::query("select 1")
            .execute(self.0.session())
            .await
            .context("the connection with the lock broke")?;
        Ok(())
    }
}
