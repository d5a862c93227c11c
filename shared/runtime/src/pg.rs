//! Postgres: the pool, the migrations and what an error means for the batch.

use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::config::Secret;

/// The schema, in the order of the files.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Opens a pool without connecting yet, so that a service starts and reports while Postgres is down.
///
/// `synchronous_commit` is off: offset and data share a transaction, so what a database crash takes
/// back is consumed again; a batch whose outputs are sent turns it on for itself. The timeouts free the
/// locks of an instance that hangs.
pub fn pool(url: &Secret, application: &str) -> Result<PgPool, sqlx::Error> {
    let options = url.expose().parse::<PgConnectOptions>()?.disable_statement_logging();
    let options = options.application_name(application).options([
        ("synchronous_commit", "off"),
        ("idle_in_transaction_session_timeout", "20s"),
        ("lock_timeout", "15s"),
        ("statement_timeout", "60s"),
        ("timezone", "UTC"),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(6)
        .acquire_timeout(Duration::from_secs(3))
        .connect_lazy_with(options))
}

/// Brings the schema up to date; safe to repeat and to run from several places at once.
pub async fn migrate(url: &Secret) -> anyhow::Result<()> {
    let options = url.expose().parse::<PgConnectOptions>()?;
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
    MIGRATOR.run(&pool).await?;
    Ok(())
}

/// True when Postgres refused the values themselves, so that repeating the statement cannot help.
///
/// An allow-list: data exceptions, integrity violations, and values beyond the server's limits.
/// Everything unknown counts as transient, is retried, and stops the stream rather than losing a row.
pub fn is_data_error(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else { return false };
    database.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}
