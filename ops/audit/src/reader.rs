//! One connection that sees the snapshot, for one thread.
//!
//! The checks are bound by processors, not by waiting: each side of a comparison is streamed once, on a
//! thread of its own. So a reader blocks, and brings the runtime that its connection needs.

use anyhow::Context as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{QueryAs, QueryScalar};
use sqlx::{Connection as _, FromRow, PgConnection, Postgres};
use strata_service::config::PostgresSettings;
use tokio::runtime::{Builder, Runtime};

use super::copy::{Row, copy_out};

/// Settings of the session. Whole tables are read: nothing may time out, nor look rows up one by one.
const SESSION: [(&str, &str); 6] = [
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("work_mem", "128MB"),
    ("enable_nestloop", "off"),
    ("jit", "off"),
    ("timezone", "UTC"),
];

/// A connection within the snapshot.
pub struct Reader {
    runtime: Runtime,
    connection: PgConnection,
}

impl Reader {
    fn connect(settings: &PostgresSettings) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let options = settings.options();
        let options = options.application_name("strata reconcile").options(SESSION);
        let connection = runtime
            .block_on(PgConnection::connect_with(&options))
            .context("Postgres does not answer; is the fleet up? (make up)")?;
        let mut reader = Self { runtime, connection };
        reader.execute("begin isolation level repeatable read, read only".to_owned())?;
        Ok(reader)
    }

    /// Takes a snapshot and gives the name by which others see it while this reader lives.
    pub fn export(settings: &PostgresSettings) -> anyhow::Result<(Self, String)> {
        let mut reader = Self::connect(settings)?;
        let name = reader.scalar(sqlx::query_scalar("select pg_export_snapshot()"))?;
        Ok((reader, name))
    }

    /// Opens one more reader of an exported snapshot.
    pub fn import(settings: &PostgresSettings, name: &str) -> anyhow::Result<Self> {
        let mut reader = Self::connect(settings)?;
        reader.execute(format!("set transaction snapshot '{name}'"))?;
        Ok(reader)
    }

    fn execute(&mut self, statement: String) -> anyhow::Result<()> {
        let query = sqlx::raw_sql(&statement);
        self.runtime.block_on(query.execute(&mut self.connection))?;
        Ok(())
    }

    /// All rows of a query that has few.
    pub fn rows<T>(&mut self, query: QueryAs<'_, Postgres, T, PgArguments>) -> anyhow::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        Ok(self.runtime.block_on(query.fetch_all(&mut self.connection))?)
    }

    /// The only value of a query.
    pub fn scalar<T>(&mut self, query: QueryScalar<'_, Postgres, T, PgArguments>) -> anyhow::Result<T>
    where
        (T,): for<'r> FromRow<'r, PgRow>,
        T: Send + Unpin,
    {
        Ok(self.runtime.block_on(query.fetch_one(&mut self.connection))?)
    }

    /// Runs `select` and gives every row to `each`; for tables of millions.
    pub fn copy_out(
        &mut self,
        select: &str,
        each: impl FnMut(&Row<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.runtime.block_on(copy_out(&mut self.connection, select, each)).with_context(|| select.to_owned())
    }
}
