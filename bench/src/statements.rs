//! Which statements took longest, by `pg_stat_statements`.

use std::fmt::Write as _;

use sqlx::{Executor as _, PgPool};

/// Characters of a statement that are shown.
const SHOWN: i32 = 100;

/// Resets the counts; a note tells when the server cannot.
pub async fn forget(pool: &PgPool) -> anyhow::Result<()> {
    pool.execute("create extension if not exists pg_stat_statements").await?;
    pool.execute("select pg_stat_statements_reset()").await?;
    Ok(())
}

/// The statements of this database, the longest first: calls, total milliseconds, rows, WAL KiB.
pub async fn longest(pool: &PgPool) -> anyhow::Result<String> {
    let rows: Vec<(String, i64, f64, i64, i64)> = sqlx::query_as(
        "select left(regexp_replace(query, '\\s+', ' ', 'g'), $1), calls, total_exec_time, rows, \
         (wal_bytes / 1024)::bigint \
         from pg_stat_statements where dbid = (select oid from pg_database where datname = current_database()) \
         order by total_exec_time desc limit 30",
    )
    .bind(SHOWN)
    .fetch_all(pool)
    .await?;
    let mut out = format!("{:>8}{:>12}{:>10}{:>12}  statement\n", "calls", "ms", "rows", "WAL KiB");
    for (query, calls, ms, rows, wal) in rows {
        // Writing to a string cannot fail.
        writeln!(out, "{calls:>8}{ms:>12.0}{rows:>10}{wal:>12}  {query}").ok();
    }
    Ok(out)
}
