//! Postgres: the pool, the migrations and what an error means for the batch.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgConnection};

use crate::config::Secret;
use crate::sqlstate;

/// SQLSTATE: a lock was not given within `lock_timeout`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Longest that a `COPY` may wait for its rows while another session wants its locks; it takes milliseconds.
const HUNG_AFTER: Duration = Duration::from_secs(10);

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

/// True when a lock was held by somebody else for too long.
pub fn is_lock_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some(LOCK_NOT_AVAILABLE))
}

/// Ends the sessions of hanging instances of this service that keep locks in the middle of a `COPY`.
///
/// While Postgres waits for the rows of a `COPY` none of its timeouts count, so a process that is paused
/// there would stop all others for as long as it lives. Their transactions roll back, as after any crash.
pub async fn end_hung_copies(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let ended = sqlx::query(include_str!("../sql/terminate_hung_sessions.sql"))
        .bind(HUNG_AFTER.as_secs_f64())
        .execute(connection)
        .await?
        .rows_affected();
    if ended > 0 {
        tracing::warn!(sessions = ended, "ended sessions of a hanging instance that kept locks");
    }
    Ok(())
}

/// What Postgres refuses us, as a predicate of it; none where waiting may help.
pub fn refusal(error: &sqlx::Error) -> Option<String> {
    let sqlx::Error::Database(database) = error else { return None };
    sqlstate::refusal(&database.code()?).map(str::to_owned)
}

/// True when Postgres refused the values themselves, so that repeating the statement cannot help.
///
/// An allow-list: data exceptions, integrity violations, and values beyond the server's limits.
/// Everything unknown counts as transient, is retried, and stops the stream rather than losing a row.
pub fn is_data_error(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else { return false };
    database.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}
