//! Advisory locks of Postgres: what one program does at a time, over all instances.

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

/// A lock, held while the value lives: it belongs to the connection, which is closed with it.
pub struct SessionLock(PoolConnection<Postgres>);

impl SessionLock {
    /// Takes the lock with this number; none where another session holds it.
    pub async fn try_take(pool: &PgPool, number: i64) -> sqlx::Result<Option<Self>> {
        let mut connection = pool.acquire().await?;
        let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(number)
            .fetch_one(&mut *connection)
            .await?;
        // One that was not taken leaves nothing in the session.
        if taken {
            connection.close_on_drop();
        }
        Ok(taken.then(|| Self(connection)))
    }

    /// True where any session holds the lock with this number.
    pub async fn is_held(pool: &PgPool, number: i64) -> sqlx::Result<bool> {
        sqlx::query_scalar(include_str!("../sql/select_lock_is_held.sql")).bind(number).fetch_one(pool).await
    }

    /// The session that holds the lock.
    pub fn session(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
