//! The ceiling: the rows that the fleet has just written, loaded by parallel binary COPY into empty
//! tables with the same keys, indexes and constraints, on the same server.
//!
//! The rows come in the order in which they arrived, as they do for any loader of a stream: sorting
//! all of them first would be faster and can only be done by someone who has them all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool};
use strata_streams::StreamDef;
use strata_testkit::{Servers, TestDatabase};

use crate::copy::{self, Chunk};
use crate::procs::{Processes, spent};
use crate::stream::tables;

/// Rows of one COPY, and of one transaction.
const CHUNK_ROWS: u64 = 10_000;

/// One way of loading.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// Parallel connections.
    pub connections: usize,
    /// Until all was committed.
    pub seconds: f64,
    /// Rows a second.
    pub rows_per_second: f64,
    /// CPU seconds of Postgres.
    pub postgres_cpu_seconds: Option<f64>,
}

/// One statement's worth of loading.
#[derive(Debug, Clone)]
struct Task {
    table: Arc<str>,
    columns: Arc<str>,
    /// Key of a counter, which is added to instead of inserted.
    counter_key: Option<&'static str>,
    chunk: Chunk,
}

/// All rows of a stream, in memory.
pub struct Rows {
    tasks: VecDeque<Task>,
    count: u64,
}

impl Rows {
    /// Reads what a fleet has written.
    pub async fn read(pool: &PgPool, stream: &StreamDef) -> anyhow::Result<Self> {
        let tasks = prepare(pool, stream).await?;
        let count = tasks.iter().map(|task| task.chunk.rows).sum();
        Ok(Self { tasks, count })
    }

    /// Loads them into an empty database.
    pub async fn load(
        &self,
        servers: &Servers,
        processes: &Processes,
        connections: usize,
    ) -> anyhow::Result<Attempt> {
        let database = TestDatabase::create(servers).await;
        let before = processes.cpu();
        let seconds = attempt(servers, database.name(), &self.tasks, connections).await?;
        Ok(Attempt {
            connections,
            seconds,
            rows_per_second: self.count as f64 / seconds,
            postgres_cpu_seconds: spent(&before, &processes.cpu()).get("postgres").copied(),
        })
    }
}

/// Reads the rows; the large tables are spread so that connections work on different ones.
async fn prepare(pool: &PgPool, stream: &StreamDef) -> anyhow::Result<VecDeque<Task>> {
    let mut by_table: Vec<VecDeque<Task>> = Vec::new();
    let plain = tables(stream).map(|table| (table, None));
    let counters = stream.counters().map(|counters| (counters.table.to_owned(), Some(counters.key)));
    for (table, counter_key) in plain.chain(counters) {
        let (table, columns): (Arc<str>, Arc<str>) =
            (table.as_str().into(), columns(pool, &table).await?.into());
        let chunks = copy::read(pool, &table, &columns, CHUNK_ROWS).await?;
        let task =
            |chunk| Task { table: Arc::clone(&table), columns: Arc::clone(&columns), counter_key, chunk };
        by_table.push(chunks.into_iter().map(task).collect());
    }
    let mut tasks = VecDeque::new();
    while by_table.iter().any(|table| !table.is_empty()) {
        tasks.extend(by_table.iter_mut().filter_map(VecDeque::pop_front));
    }
    Ok(tasks)
}

/// The columns that a writer gives, in order: all that the table does not number itself.
async fn columns(pool: &PgPool, table: &str) -> anyhow::Result<String> {
    let columns: Vec<String> = sqlx::query_scalar(
        "select quote_ident(attname) from pg_attribute \
         where attrelid = $1::regclass and attnum > 0 and not attisdropped and attidentity = '' \
         order by attnum",
    )
    .bind(table)
    .fetch_all(pool)
    .await?;
    Ok(columns.join(", "))
}

/// Loads everything into an empty database and returns the seconds it took.
async fn attempt(
    servers: &Servers,
    database: &str,
    tasks: &VecDeque<Task>,
    connections: usize,
) -> anyhow::Result<f64> {
    let queue = Arc::new(Mutex::new(tasks.clone()));
    let mut ready = Vec::new();
    for _ in 0..connections {
        ready.push(connect(servers.postgres().database(database)).await?);
    }
    let started = Instant::now();
    let loaders: Vec<_> = ready
        .into_iter()
        .map(|mut connection| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(task) = next else { break };
                    load(&mut connection, &task).await?;
                }
                anyhow::Ok(connection)
            })
        })
        .collect();
    let mut done = Vec::new();
    for loader in loaders {
        done.push(loader.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    for connection in done {
        connection.close().await?;
    }
    Ok(seconds)
}

async fn connect(options: PgConnectOptions) -> anyhow::Result<PgConnection> {
    let options = options.disable_statement_logging().options([("synchronous_commit", "off")]);
    Ok(PgConnection::connect_with(&options).await?)
}

async fn load(connection: &mut PgConnection, task: &Task) -> anyhow::Result<()> {
    let Task { table, columns, counter_key, chunk } = task;
    let Some(key) = counter_key else {
        return copy::write(connection, table, columns, chunk).await;
    };
    let statements = [
        "create temp table if not exists incoming (like TABLE)",
        "insert into TABLE (COLUMNS) select COLUMNS from incoming \
         on conflict (KEY) do update set order_cnt = TABLE_NAME.order_cnt + excluded.order_cnt",
        "drop table incoming",
    ];
    let name = table.rsplit('.').next().unwrap_or(table);
    let [create, upsert, forget] = statements.map(|statement| {
        statement
            .replace("TABLE_NAME", name)
            .replace("TABLE", table)
            .replace("COLUMNS", columns)
            .replace("KEY", key)
    });
    connection.execute(create.as_str()).await?;
    connection.execute("alter table incoming alter column id drop not null").await?;
    copy::write(connection, "incoming", columns, chunk).await?;
    connection.execute(upsert.as_str()).await?;
    connection.execute(forget.as_str()).await?;
    Ok(())
}
