//! Rows as Postgres copies them out in binary: the quickest way to look at millions of them.
//!
//! Source: PostgreSQL documentation, COPY, "Binary Format".

use anyhow::Context as _;
use futures::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

/// Signature, flags and the length of the header extension, which is empty.
const HEADER_BYTES: usize = 11 + 4 + 4;

/// One row: its columns as bytes; none is null.
pub struct Row<'a> {
    columns: &'a [Option<(usize, usize)>],
    bytes: &'a [u8],
}

impl Row<'_> {
    fn bytes(&self, column: usize) -> Option<&[u8]> {
        let (from, to) = self.columns.get(column).copied().flatten()?;
        self.bytes.get(from..to)
    }

    /// A column of type uuid.
    pub fn uuid(&self, column: usize) -> anyhow::Result<Uuid> {
        let bytes = self.bytes(column).context("a key is null")?;
        Ok(Uuid::from_slice(bytes)?)
    }

    /// A column of type text.
    pub fn text(&self, column: usize) -> anyhow::Result<&str> {
        Ok(std::str::from_utf8(self.bytes(column).context("a text is null")?)?)
    }
}

/// Runs `select` on the connection and gives every row to `each`.
pub async fn copy_out(
    connection: &mut PgConnection,
    select: &str,
    mut each: impl FnMut(&Row<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut chunks = connection.copy_out_raw(&format!("copy ({select}) to stdout (format binary)")).await?;
    let (mut buffer, mut header) = (Vec::new(), true);
    let mut columns = Vec::new();
    while let Some(chunk) = chunks.try_next().await? {
        buffer.extend_from_slice(&chunk);
        let mut at = 0;
        if header {
            if buffer.len() < HEADER_BYTES {
                continue;
            }
            (header, at) = (false, HEADER_BYTES);
        }
        while let Some(end) = parse(&buffer, at, &mut columns) {
            if !columns.is_empty() {
                each(&Row { columns: &columns, bytes: &buffer })?;
            }
            at = end;
        }
        buffer.drain(..at);
    }
    Ok(())
}

/// Finds the columns of the row at `at`; returns its end, or none where it is not complete.
///
/// The mark at the end of the data looks like a row with fewer than no columns.
fn parse(bytes: &[u8], at: usize, columns: &mut Vec<Option<(usize, usize)>>) -> Option<usize> {
    columns.clear();
    let count = i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
    let mut at = at + 2;
    for _ in 0..count {
        let length = i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        at += 4;
        let Ok(length) = usize::try_from(length) else {
            columns.push(None);
            continue;
        };
        bytes.get(at..at + length)?;
        columns.push(Some((at, at + length)));
        at += length;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_when_they_are_complete() {
        let row = [0, 2, 0, 0, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff];
        let mut columns = Vec::new();
        for cut in 0..row.len() {
            assert_eq!(parse(&row[..cut], 0, &mut columns), None, "{cut}");
        }
        assert_eq!(parse(&row, 0, &mut columns), Some(row.len()));
        assert_eq!(columns, [Some((6, 7)), None]);
        assert_eq!(parse(&[0xff, 0xff], 0, &mut columns), Some(2));
        assert!(columns.is_empty());
    }
}
