//! Rows as Postgres copies them out in binary: the quickest way to look at millions of them.
//!
//! Source: PostgreSQL documentation, COPY, "Binary Format".

use anyhow::Context as _;
use serde::Deserialize;
use strata_vault::load::copy::HEADER;
use uuid::Uuid;

/// Microseconds from the epoch of Unix to that of Postgres, 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// One row: its columns as bytes.
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
        self.optional_text(column)?.context("a text is null")
    }

    /// A column of type text that may be null.
    pub fn optional_text(&self, column: usize) -> anyhow::Result<Option<&str>> {
        Ok(self.bytes(column).map(std::str::from_utf8).transpose()?)
    }

    /// A column of type bigint.
    pub fn bigint(&self, column: usize) -> anyhow::Result<i64> {
        self.optional_bigint(column)?.context("a number is null")
    }

    /// A column of type bigint that may be null.
    pub fn optional_bigint(&self, column: usize) -> anyhow::Result<Option<i64>> {
        let bytes = self.bytes(column).map(<[u8; 8]>::try_from).transpose().context("no bigint")?;
        Ok(bytes.map(i64::from_be_bytes))
    }

    /// A column of type timestamptz, as microseconds since 1970.
    pub fn micros(&self, column: usize) -> anyhow::Result<i64> {
        Ok(self.bigint(column)?.saturating_add(EPOCH_MICROS))
    }

    /// The same of a column that may be null.
    pub fn optional_micros(&self, column: usize) -> anyhow::Result<Option<i64>> {
        Ok(self.optional_bigint(column)?.map(|micros| micros.saturating_add(EPOCH_MICROS)))
    }

    /// A column of type bytea.
    pub fn bytea(&self, column: usize) -> anyhow::Result<&[u8]> {
        self.bytes(column).context("a value is null")
    }

    /// What a [`Sorter`](super::ordered::Sorter) took.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> anyhow::Result<T> {
        Ok(serde_json::from_slice(self.bytea(1)?)?)
    }

    /// A column of type text[], of one dimension and without nulls.
    ///
    /// **Source**: `array_send` of PostgreSQL: dimensions, flags, type, then length and lower bound of each
    /// dimension, then the elements.
    pub fn texts(&self, column: usize) -> anyhow::Result<Vec<&str>> {
        let bytes = self.bytes(column).context("an array is null")?;
        let number = |at: usize| {
            let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(i32::from_be_bytes(bytes)).ok()
        };
        if number(0) == Some(0) {
            return Ok(Vec::new());
        }
        let count = number(12).filter(|_| number(0) == Some(1)).context("an array is no list")?;
        let (mut at, mut texts) = (20, Vec::with_capacity(count.min(bytes.len())));
        for _ in 0..count {
            let length = number(at).context("an element is null")?;
            let element = bytes.get(at + 4..at + 4 + length).context("an array breaks off")?;
            texts.push(std::str::from_utf8(element)?);
            at += 4 + length;
        }
        Ok(texts)
    }
}

/// The rows of a copy, found in its bytes as these come.
#[derive(Default)]
pub struct Rows {
    bytes: Vec<u8>,
    /// Where the next row begins.
    at: usize,
    has_begun: bool,
    columns: Vec<Option<(usize, usize)>>,
}

impl Rows {
    /// Takes further bytes; the row that was found last is gone.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Goes to the next row; false where its bytes have not come, or there is none.
    pub fn next(&mut self) -> bool {
        if !self.has_begun && self.bytes.len() >= HEADER.len() {
            (self.has_begun, self.at) = (true, HEADER.len());
        }
        let end = parse(&self.bytes, self.at, &mut self.columns).filter(|_| self.has_begun);
        self.at = end.unwrap_or(self.at);
        // The mark at the end of the data has no columns.
        end.is_some() && !self.columns.is_empty()
    }

    /// The row that was found last.
    pub fn row(&self) -> Row<'_> {
        Row { columns: &self.columns, bytes: &self.bytes }
    }
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

    #[test]
    fn rows_are_the_same_however_their_bytes_are_cut() {
        let mut bytes = HEADER.to_vec();
        for value in 0_i64..5 {
            bytes.extend([0, 1, 0, 0, 0, 8]);
            bytes.extend(value.to_be_bytes());
        }
        bytes.extend([0xff, 0xff]);
        for size in 1..=bytes.len() {
            let (mut rows, mut found) = (Rows::default(), Vec::new());
            for chunk in bytes.chunks(size) {
                rows.feed(chunk);
                while rows.next() {
                    found.push(rows.row().bigint(0).expect("a number"));
                }
            }
            assert_eq!(found, [0, 1, 2, 3, 4], "{size}");
        }
    }

    #[test]
    fn lists_are_read_as_postgres_sends_them() {
        let list = |elements: &[&str]| {
            let mut bytes: Vec<u8> =
                [1, 0, 25, elements.len() as i32, 1].iter().flat_map(|n: &i32| n.to_be_bytes()).collect();
            for element in elements {
                bytes.extend((element.len() as i32).to_be_bytes());
                bytes.extend(element.as_bytes());
            }
            bytes
        };
        let read = |bytes: &[u8]| {
            let columns = [Some((0, bytes.len()))];
            let row = Row { columns: &columns, bytes };
            row.texts(0).map(|texts| texts.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(read(&list(&["Amoma", "", "Отелло"])).expect("a list"), ["Amoma", "", "Отелло"]);
        assert!(read(&[0; 12]).expect("an empty list").is_empty());
        let whole = list(&["Amoma"]);
        for cut in 1..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
    }
}
