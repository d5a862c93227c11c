//! Tables in the order of a key, read side by side: all rows of one key at a time, whatever table they are of.
//!
//! Postgres sorts, on its disk where that is needed. A table holds [`CHUNK`] bytes a few times over here, so memory
//! does not depend on how many rows there are. What is in no table, or not in this order, [`Sorter`] brings into it.

use anyhow::{Context as _, bail, ensure};
use futures::TryStreamExt as _;
use serde::Serialize;
use sqlx::{Connection as _, Executor as _, PgConnection};
use strata_service::config::PostgresSettings;
use strata_vault::load::Hooks;
use strata_vault::load::copy::CopyRows;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::copy::{Row, Rows};
use super::reader::{connect, connect_to};

/// Bytes that go from the runtime to a check at once: enough that waking it up costs nothing.
const CHUNK: usize = 64 * 1024;

/// Chunks that wait for a check, per table.
const WAITING: usize = 2;

/// Bytes of one statement of a sorter.
const BATCH: usize = 1024 * 1024;

/// How Postgres is reached, and the snapshot that all see.
#[derive(Clone)]
pub struct Source {
    /// Awaits what Postgres sends.
    pub runtime: Handle,
    /// How it is reached.
    pub postgres: PostgresSettings,
    /// Name of the snapshot.
    pub snapshot: String,
    /// Bytes that are read at once.
    pub chunk: usize,
}

impl Source {
    /// Reads by [`CHUNK`].
    pub fn new(runtime: Handle, postgres: PostgresSettings, snapshot: String) -> Self {
        Self { runtime, postgres, snapshot, chunk: CHUNK }
    }

    /// Reads all rows, in no order, and gives each to `each`.
    pub fn all(
        &self,
        select: &str,
        mut each: impl FnMut(&Row<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut copy = self.copy(select.to_owned());
        while let Some(row) = copy.next()? {
            each(&row)?;
        }
        Ok(())
    }

    /// Reads rows whose first column is the key, in its order.
    pub fn ordered(&self, select: String) -> Ordered {
        Ordered::new(self.copy(select))
    }

    fn copy(&self, select: String) -> Copy {
        let Self { postgres, snapshot, .. } = self.clone();
        Copy::start(&self.runtime, connect_to(postgres, Some(snapshot)), select, self.chunk)
    }

    /// A sorter on a connection of its own.
    pub fn sorter(&self) -> Sorter {
        Sorter::open(&self.runtime, &self.postgres)
    }
}

/// Rows that Postgres copies out while they are looked at.
struct Copy {
    chunks: mpsc::Receiver<anyhow::Result<Vec<u8>>>,
    rows: Rows,
}

impl Copy {
    /// Does not wait: Postgres may sort one table while another is opened.
    fn start(
        runtime: &Handle,
        connection: impl Future<Output = anyhow::Result<PgConnection>> + Send + 'static,
        select: String,
        chunk: usize,
    ) -> Self {
        let (sender, chunks) = mpsc::channel(WAITING);
        runtime.spawn(async move {
            let sent = async { send(connection.await?, &select, chunk, &sender).await }.await;
            if let Err(e) = sent {
                // Nobody listens where the checks have ended already.
                drop(sender.send(Err(e.context(select))).await);
            }
        });
        Self { chunks, rows: Rows::default() }
    }

    /// Goes to the next row; none at the end.
    fn next(&mut self) -> anyhow::Result<Option<Row<'_>>> {
        while !self.rows.next() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rows.feed(&chunk?),
                None => return Ok(None),
            }
        }
        Ok(Some(self.rows.row()))
    }
}

/// A table in the order of its first column, which is a key.
pub struct Ordered {
    copy: Copy,
    /// Key of the row that comes next; none where that was not looked for, or there is none.
    key: Option<Uuid>,
    is_read: bool,
}

impl Ordered {
    fn new(copy: Copy) -> Self {
        Self { copy, key: None, is_read: false }
    }

    /// Goes to the next row.
    fn advance(&mut self) -> anyhow::Result<()> {
        let key = self.copy.next()?.map(|row| row.uuid(0)).transpose()?;
        ensure!(key.is_none() || self.key <= key, "Postgres sorts {key:?} before {:?}", self.key);
        self.key = key;
        Ok(())
    }

    /// The key of the next row; none at the end.
    pub fn key(&mut self) -> anyhow::Result<Option<Uuid>> {
        if !std::mem::replace(&mut self.is_read, true) {
            self.advance()?;
        }
        Ok(self.key)
    }

    /// Gives the rows of a key to `each`, where they come next.
    pub fn rows(
        &mut self,
        key: Uuid,
        mut each: impl FnMut(&Row<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        while self.key()? == Some(key) {
            each(&self.copy.rows.row())?;
            self.advance()?;
        }
        Ok(())
    }
}

/// The least key of what comes next; none when all tables are at their end.
pub fn least<'a>(tables: impl IntoIterator<Item = &'a mut Ordered>) -> anyhow::Result<Option<Uuid>> {
    let mut least = None;
    for table in tables {
        least = match (least, table.key()?) {
            (Some(known), Some(key)) => Some(key.min(known)),
            (known, key) => known.or(key),
        };
    }
    Ok(least)
}

/// Sends what Postgres copies out, until nobody listens any more.
async fn send(
    mut connection: PgConnection,
    select: &str,
    chunk: usize,
    sender: &mpsc::Sender<anyhow::Result<Vec<u8>>>,
) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    let mut rows = connection.copy_out_raw(&format!("copy ({select}) to stdout (format binary)")).await?;
    while let Some(row) = rows.try_next().await? {
        bytes.extend_from_slice(&row);
        if bytes.len() >= chunk && sender.send(Ok(std::mem::take(&mut bytes))).await.is_err() {
            return Ok(());
        }
    }
    drop(rows);
    drop(sender.send(Ok(bytes)).await);
    Ok(connection.close().await?)
}

/// Brings rows into the order of their keys, in a temporary table of Postgres.
pub struct Sorter {
    runtime: Handle,
    rows: CopyRows,
    bytes: usize,
    batches: mpsc::Sender<CopyRows>,
    writer: JoinHandle<anyhow::Result<PgConnection>>,
}

impl Sorter {
    /// Opens a sorter.
    pub fn open(runtime: &Handle, postgres: &PostgresSettings) -> Self {
        let (batches, filled) = mpsc::channel(1);
        let writer = runtime.spawn(write(postgres.clone(), filled));
        Self { runtime: runtime.clone(), rows: CopyRows::new(2), bytes: 0, batches, writer }
    }

    /// Takes a row.
    pub fn put(&mut self, key: Uuid, row: &impl Serialize) -> anyhow::Result<()> {
        let body = serde_json::to_vec(row)?;
        self.bytes += body.len();
        self.rows.row().put(key)?.put(body)?;
        if self.bytes >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.bytes = 0;
        let batch = std::mem::replace(&mut self.rows, CopyRows::new(2));
        if self.batches.blocking_send(batch).is_err() {
            self.runtime.block_on(&mut self.writer)??;
            bail!("Postgres takes no rows");
        }
        Ok(())
    }

    /// The rows in order. **Shape**: key, and what [`Row::json`] reads.
    pub fn sorted(mut self) -> anyhow::Result<Ordered> {
        self.flush()?;
        let Self { runtime, batches, writer, .. } = self;
        drop(batches);
        let connection = async move { writer.await? };
        let select = "select key, body from sorted order by key".to_owned();
        Ok(Ordered::new(Copy::start(&runtime, connection, select, CHUNK)))
    }
}

/// Fills the table of a sorter; ends when no more comes.
async fn write(
    postgres: PostgresSettings,
    mut batches: mpsc::Receiver<CopyRows>,
) -> anyhow::Result<PgConnection> {
    let mut connection = connect(postgres).await?;
    let create = "create temporary table sorted (key uuid not null, body bytea not null)";
    connection.execute(create).await.context("rows are sorted in a temporary table")?;
    while let Some(batch) = batches.recv().await {
        batch.load(&mut connection, "copy sorted from stdin (format binary)", &Hooks::NONE).await?;
    }
    Ok(connection)
}
