//! The loader of any vault: rows into Postgres, insert-only, a statement per table and batch, keys sorted.
//!
//! A batch is loaded in the order of the locks, which all writers keep, so they wait for each other, never in a
//! circle: its subjects are created ([`Loader::create`]), those known before are locked ([`Loader::lock`]), then comes
//! all the rest ([`Loader::complete`]) in the order of the model.
//!
//! Every writer comes to a subject's links and satellites through its row, and waits there for the one that creates
//! it. So nothing of a subject can be stored yet that the transaction itself has created, and its rows are copied in:
//! half the work of an insert that looks for conflicts.

mod columns;
pub mod copy;
mod hooks;
mod satellites;
mod statements;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use self::columns::Columns;
use self::copy::CopyRows;
pub use self::hooks::Hooks;
use self::statements::{Fill, Statements};
use crate::model::{Parent, VaultModel};
use crate::rows::{Batch, Fresh, KeyedRows, LinkRows, Load};

/// Loads rows into the vault of one stream. One for the life of a process.
pub struct Loader {
    subject: Parent,
    statements: Statements,
    hooks: Hooks,
}

impl Loader {
    /// Makes the statements.
    pub fn of(model: &VaultModel, hooks: Hooks) -> Self {
        Self { subject: model.subject, statements: Statements::of(model), hooks }
    }

    /// Inserts the subjects of a batch, and returns the keys of those that were not there.
    ///
    /// Two writers that bring the same new one meet here: the second waits for the first and then finds it known.
    pub async fn create(
        &'static self,
        tx: &mut PgConnection,
        rows: &KeyedRows<'_>,
    ) -> Result<Fresh, sqlx::Error> {
        let fill = &self.statements.subject;
        expect(fill.table.name, rows.table.table())?;
        if rows.is_empty() {
            return Ok(Fresh::new());
        }
        let created = sqlx::query_scalar_with(&fill.insert, keyed(fill, rows)?.done());
        let created: Vec<Uuid> = created.fetch_all(tx).await?;
        (self.hooks.wrote)(&fill.name, created.len() as u64);
        Ok(created.into_iter().collect())
    }

    /// Locks subjects in key order until the transaction ends.
    ///
    /// Records of one may meet in two partitions at once. The lock on its row makes the second writer wait; a
    /// statement after it sees what the first one stored.
    pub async fn lock(&self, tx: &mut PgConnection, keys: &[Uuid]) -> Result<(), sqlx::Error> {
        if !keys.is_empty() {
            sqlx::query(&self.statements.lock).bind(keys).execute(tx).await?;
        }
        Ok(())
    }

    /// Stores what a batch brings beside its subjects. Those that are not `fresh` must be locked.
    ///
    /// **Idempotent**: rows that are there stay as they are. **Errors**: a unique violation where a fresh subject has
    /// rows already, as in a vault that lost rows of its subject.
    pub async fn complete(
        &'static self,
        tx: &mut PgConnection,
        batch: Batch<'_>,
        fresh: &Fresh,
    ) -> Result<(), sqlx::Error> {
        for rows in &batch.hubs {
            self.insert_hub(tx, rows).await?;
        }
        for rows in &batch.links {
            self.link(tx, rows, fresh).await?;
        }
        for rows in batch.satellites {
            self.satellite(tx, rows, fresh).await?;
        }
        Ok(())
    }

    async fn insert_hub(
        &'static self,
        tx: &mut PgConnection,
        rows: &KeyedRows<'_>,
    ) -> Result<(), sqlx::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let fill = find(&self.statements.hubs, rows.table.table(), |fill| fill)?;
        self.insert(tx, fill, keyed(fill, rows)?).await
    }

    /// Stores a link; rows of fresh subjects are copied, without a look at what is there.
    async fn link(
        &'static self,
        tx: &mut PgConnection,
        rows: &LinkRows,
        fresh: &Fresh,
    ) -> Result<(), sqlx::Error> {
        let fill = find(&self.statements.links, rows.link.table, |fill| fill)?;
        let of_subject = rows.link.hubs[0].table == self.subject.table();
        let (new, known): (Vec<LinkRow<'_>>, Vec<LinkRow<'_>>) =
            rows.iter().partition(|(_, hubs, _)| of_subject && fresh.contains(&hubs[0]));
        if !new.is_empty() {
            let mut copied = CopyRows::new(fill.width());
            for (key, hubs, load) in &new {
                let row = hubs.iter().try_fold(copied.row().put(key)?, |row, hub| row.put(hub))?;
                row.put(load.at.load_dt)?.put(&*load.src)?;
            }
            self.copy(tx, fill, copied, new.len()).await?;
        }
        if known.is_empty() {
            return Ok(());
        }
        let mut columns = Columns::default();
        columns.bind(known.iter().map(|(key, ..)| *key).collect::<Vec<Uuid>>())?;
        for hub in 0..rows.link.hubs.len() {
            columns.bind(known.iter().map(|(_, hubs, _)| hubs[hub]).collect::<Vec<Uuid>>())?;
        }
        bind_loads(&mut columns, known.iter().map(|(.., load)| *load))?;
        self.insert(tx, fill, columns).await
    }

    async fn insert(
        &'static self,
        tx: &mut PgConnection,
        fill: &'static Fill,
        columns: Columns,
    ) -> Result<(), sqlx::Error> {
        let done = sqlx::query_with(&fill.insert, columns.done()).execute(tx).await?;
        (self.hooks.wrote)(&fill.name, done.rows_affected());
        Ok(())
    }

    async fn copy(
        &'static self,
        tx: &mut PgConnection,
        fill: &'static Fill,
        copied: CopyRows,
        rows: usize,
    ) -> Result<(), sqlx::Error> {
        copied.load(tx, &fill.copy, &self.hooks).await?;
        (self.hooks.wrote)(&fill.name, rows as u64);
        Ok(())
    }
}

/// A row of a link: key, hub keys, load.
type LinkRow<'a> = (Uuid, &'a [Uuid], &'a Load);

/// The columns of a hub or a non-historised link.
fn keyed(fill: &Fill, rows: &KeyedRows<'_>) -> Result<Columns, sqlx::Error> {
    let mut columns = Columns::default();
    columns.bind(rows.keys().collect::<Vec<Uuid>>())?;
    let said = &fill.table.columns[1..fill.table.columns.len() - 2];
    for (at, column) in said.iter().enumerate() {
        columns.bind_values(column, rows.column(at))?;
    }
    bind_loads(&mut columns, rows.loads())?;
    Ok(columns)
}

/// Binds `load_dt` and `load_src`.
fn bind_loads<'a>(columns: &mut Columns, loads: impl Iterator<Item = &'a Load>) -> Result<(), sqlx::Error> {
    let (load_dt, load_src): (Vec<DateTime<Utc>>, Vec<&str>) =
        loads.map(|load| (load.at.load_dt, &*load.src)).unzip();
    columns.bind(load_dt)?;
    columns.bind(load_src)
}

/// The statements of a table.
fn find<T>(all: &'static [T], table: &str, of: impl Fn(&T) -> &Fill) -> Result<&'static T, sqlx::Error> {
    let found = all.iter().find(|statements| of(statements).table.name == table);
    found.ok_or_else(|| sqlx::Error::Protocol(format!("{table} is not in this vault")))
}

/// Refuses rows of another table than the statement's.
fn expect(wanted: &str, table: &str) -> Result<(), sqlx::Error> {
    if wanted == table {
        return Ok(());
    }
    Err(sqlx::Error::Protocol(format!("the subject of this vault is {wanted}, not {table}")))
}
