//! Connections that see the snapshot.
//!
//! The checks are bound by processors, not by waiting, so they run on threads of their own, which block; what comes
//! from Postgres is awaited by the runtime meanwhile.

use anyhow::Context as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{QueryAs, QueryScalar};
use sqlx::{Connection as _, Executor as _, FromRow, PgConnection, Postgres};
use strata_service::config::PostgresSettings;
use tokio::runtime::Handle;

/// Settings of the session. Whole tables are read: nothing may time out, nor look rows up one by one. A dozen
/// connections may sort at once, so each gets little memory for it; what is more lies on the disk of Postgres.
const SESSION: [(&str, &str); 6] = [
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("work_mem", "64MB"),
    ("enable_nestloop", "off"),
    ("jit", "off"),
    ("timezone", "UTC"),
];

/// A connection with the settings of a session.
pub async fn connect(settings: PostgresSettings) -> anyhow::Result<PgConnection> {
    let options = settings.options().application_name("strata reconcile").options(SESSION);
    let connection = PgConnection::connect_with(&options);
    connection.await.context("Postgres does not answer; is the fleet up? (make up)")
}

/// A connection that sees an exported snapshot, or takes one.
pub async fn connect_to(
    settings: PostgresSettings,
    snapshot: Option<String>,
) -> anyhow::Result<PgConnection> {
    let mut connection = connect(settings).await?;
    let mut statement = "begin isolation level repeatable read, read only".to_owned();
    if let Some(name) = snapshot {
        statement += &format!("; set transaction snapshot '{name}'");
    }
    connection.execute(statement.as_str()).await?;
    Ok(connection)
}

/// The connection that holds the snapshot.
pub struct Reader {
    runtime: Handle,
    connection: PgConnection,
}

impl Reader {
    /// Takes a snapshot and gives the name by which others see it while this reader lives.
    pub fn export(runtime: &Handle, settings: &PostgresSettings) -> anyhow::Result<(Self, String)> {
        let connection = runtime.block_on(connect_to(settings.clone(), None))?;
        let mut reader = Self { runtime: runtime.clone(), connection };
        let name = reader.scalar(sqlx::query_scalar("select pg_export_snapshot()"))?;
        Ok((reader, name))
    }

    /// All rows of a query that has few.
    pub fn rows<T>(&mut self, query: QueryAs<'_, Postgres, T, PgArguments>) -> anyhow::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        Ok(self.runtime.block_on(query.fetch_all(&mut self.connection))?)
    }

    /// The only value of a query.
    fn scalar<T>(&mut self, query: QueryScalar<'_, Postgres, T, PgArguments>) -> anyhow::Result<T>
    where
        (T,): for<'r> FromRow<'r, PgRow>,
        T: Send + Unpin,
    {
        Ok(self.runtime.block_on(query.fetch_one(&mut self.connection))?)
    }
}
