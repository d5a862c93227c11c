//! Postgres: the pool, the migrations and what an error means for the batch.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Mutex;

use crate::config::PostgresSettings;
use crate::status::UNREACHABLE;
use crate::{sqlstate, tls};

/// SQLSTATE: a lock was not given within `lock_timeout`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Longest that a `COPY` may wait for its rows while another session wants its locks; it takes milliseconds.
const HUNG_AFTER: Duration = Duration::from_secs(10);

/// The schema, in the order of the files.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Opens a pool without connecting yet, so that a service starts and reports while Postgres is down.
pub fn pool(settings: &PostgresSettings, application: &str, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(3))
        .connect_lazy_with(options(settings, application))
}

/// How a session of ours is set up.
///
/// `synchronous_commit` is off: offset and data share a transaction, so what a database crash takes
/// back is consumed again; a batch whose outputs are sent turns it on for itself. The timeouts free the
/// locks of an instance that hangs.
pub fn options(settings: &PostgresSettings, application: &str) -> PgConnectOptions {
    settings.options().application_name(application).options([
        ("synchronous_commit", "off"),
        ("idle_in_transaction_session_timeout", "20s"),
        ("lock_timeout", "15s"),
        ("statement_timeout", "60s"),
        ("timezone", "UTC"),
    ])
}

/// One connection beside the pools, for the question whether Postgres answers: whatever uses the pools up
/// does not keep it from being asked.
pub struct Probe {
    options: PgConnectOptions,
    connection: Mutex<Option<PgConnection>>,
}

impl Probe {
    /// Connects when it is asked first.
    pub fn new(settings: &PostgresSettings, application: &str) -> Self {
        Self { options: options(settings, application), connection: Mutex::default() }
    }

    /// Asks for an answer to an empty question; the error says what keeps us from it.
    pub async fn ask(&self) -> Result<(), String> {
        let mut slot = self.connection.lock().await;
        let asked = async {
            // Taken out, so that one whose answer is no longer waited for is closed.
            if let Some(mut kept) = slot.take()
                && kept.ping().await.is_ok()
            {
                return Ok(kept);
            }
            PgConnection::connect_with(&self.options).await
        };
        match asked.await {
            Ok(connection) => {
                *slot = Some(connection);
                Ok(())
            }
            Err(error) => {
                tracing::debug!(error = %error, "postgres is not well");
                Err(refusal(&error).unwrap_or_else(|| UNREACHABLE.to_owned()))
            }
        }
    }
}

/// That a pool gave no connection because all are in use, in words for callers.
pub fn exhausted(pool: &PgPool, error: &sqlx::Error) -> Option<String> {
    let most = pool.options().get_max_connections();
    let all_in_use = pool.size() >= most && pool.num_idle() == 0;
    (matches!(error, sqlx::Error::PoolTimedOut) && all_in_use)
        .then(|| format!("all {most} connections of this service are in use (POSTGRES_HTTP_CONNECTIONS)"))
}

/// What Postgres refuses us, as a predicate of it; none where waiting may help.
pub fn refusal(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code()?;
            let says = |word: &str| database.message().contains(word);
            let words = match &*code {
                "28P01" => "refuses our user or password: see POSTGRES_USER and POSTGRES_PASSWORD",
                "28000" if says("certificate") => {
                    "wants a client certificate: see POSTGRES_CERTIFICATE and POSTGRES_KEY"
                }
                "28000" if says("no encryption") => {
                    "lets us in with TLS only, if at all: see POSTGRES_SSLMODE, and its pg_hba.conf"
                }
                "28000" => "refuses our user: see POSTGRES_USER, and its pg_hba.conf",
                code => sqlstate::refusal(code)?,
            };
            Some(words.to_owned())
        }
        sqlx::Error::Tls(cause) if cause.to_string() == "server does not support TLS" => {
            Some("does not speak TLS as POSTGRES_SSLMODE wants it".to_owned())
        }
        other => tls::explain("POSTGRES", other),
    }
}

/// Brings the schema up to date; safe to repeat and to run from several places at once.
pub async fn migrate(settings: &PostgresSettings) -> anyhow::Result<()> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(settings.options()).await?;
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

/// True when no table whatever could hold the value: a data exception, or one beyond the server's limits.
pub fn is_value_error(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else { return false };
    database.code().is_some_and(|code| ["22", "54"].iter().any(|class| code.starts_with(class)))
}

/// True when Postgres refused the values themselves, so that repeating the statement cannot help.
///
/// An allow-list: data exceptions, integrity violations, and values beyond the server's limits.
/// Everything unknown counts as transient, is retried, and stops the stream rather than losing a row.
pub fn is_data_error(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else { return false };
    is_value_error(error) || database.code().is_some_and(|code| code.starts_with("23"))
}
