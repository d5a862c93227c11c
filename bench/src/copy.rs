//! Rows in Postgres' binary COPY format, split where one row ends.
//!
//! **Source**: PostgreSQL documentation, COPY, "Binary Format".

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures::TryStreamExt as _;
use sqlx::postgres::{PgCopyIn, PgPoolCopyExt as _};
use sqlx::{PgConnection, PgPool};
use strata_vault::load::copy::{HEADER, TRAILER};

/// Bytes handed over at once.
const PIECE: usize = 256 << 10;

/// Some rows of a table.
#[derive(Debug, Clone)]
pub struct Chunk {
    data: Arc<Vec<u8>>,
    range: Range<usize>,
    /// Number of rows.
    pub rows: u64,
}

/// Reads a table in the order in which its rows were written, in chunks of at most `chunk_rows`.
pub async fn read(pool: &PgPool, table: &str, columns: &str, chunk_rows: u64) -> anyhow::Result<Vec<Chunk>> {
    let statement = format!("copy (select {columns} from {table}) to stdout (format binary)");
    let mut data = Vec::new();
    let mut stream = pool.copy_out_raw(&statement).await?;
    while let Some(bytes) = stream.try_next().await? {
        data.extend_from_slice(&bytes);
    }
    split(data, chunk_rows).with_context(|| format!("the rows of {table}"))
}

/// Cuts binary COPY data into chunks of whole rows.
fn split(data: Vec<u8>, chunk_rows: u64) -> anyhow::Result<Vec<Chunk>> {
    ensure!(data.starts_with(HEADER), "an unknown header");
    let data = Arc::new(data);
    let (mut chunks, mut start, mut at, mut rows) = (Vec::new(), HEADER.len(), HEADER.len(), 0);
    loop {
        let fields = i16::from_be_bytes(*data[at..].first_chunk().context("rows without an end")?);
        if (fields < 0 || rows == chunk_rows) && rows > 0 {
            chunks.push(Chunk { data: Arc::clone(&data), range: start..at, rows });
            (start, rows) = (at, 0);
        }
        if fields < 0 {
            return Ok(chunks);
        }
        at += 2;
        for _ in 0..fields {
            let length = i32::from_be_bytes(*data[at..].first_chunk().context("half a row")?);
            at += 4 + usize::try_from(length).unwrap_or_default();
        }
        rows += 1;
    }
}

/// Loads a chunk with one statement.
pub async fn write(
    connection: &mut PgConnection,
    table: &str,
    columns: &str,
    chunk: &Chunk,
) -> anyhow::Result<()> {
    let statement = format!("copy {table} ({columns}) from stdin (format binary)");
    let mut copy: PgCopyIn<&mut PgConnection> = connection.copy_in_raw(&statement).await?;
    copy.send(HEADER).await?;
    for piece in chunk.data[chunk.range.clone()].chunks(PIECE) {
        copy.send(piece).await?;
    }
    copy.send(TRAILER.as_slice()).await?;
    let rows = copy.finish().await?;
    ensure!(rows == chunk.rows, "{rows} of {} rows were loaded into {table}", chunk.rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_cut_where_rows_end() {
        let mut data = HEADER.to_vec();
        for length in [3_i32, 0, -1, 5, 1] {
            data.extend(1_i16.to_be_bytes());
            data.extend(length.to_be_bytes());
            data.extend(vec![0xff; usize::try_from(length).unwrap_or_default()]);
        }
        let rows_end = data.len();
        data.extend(TRAILER);
        let chunks = split(data, 2).expect("well formed");
        assert_eq!(chunks.iter().map(|chunk| chunk.rows).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(chunks[0].range.end, chunks[1].range.start);
        assert_eq!(chunks[2].range.end, rows_end);
        assert!(split(HEADER.to_vec(), 2).is_err());
    }
}
