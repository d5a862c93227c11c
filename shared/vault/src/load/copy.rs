//! Rows in the binary format of `COPY`: the cheapest way into a table for rows that cannot be there yet.
//!
//! **Source**: PostgreSQL documentation, COPY, "Binary Format".

use sqlx::postgres::{PgArgumentBuffer, Postgres};
use sqlx::{Encode, PgConnection};

use super::hooks::Hooks;
use crate::Value;

/// Signature, flags and the length of the header extension, which is empty.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The field count that ends the rows.
pub const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Rows of one table, built field by field.
pub struct CopyRows {
    buffer: PgArgumentBuffer,
    columns: i16,
    rows: u64,
}

/// A row that is being built; takes as many fields as its table was said to have.
pub struct Row<'a>(&'a mut PgArgumentBuffer);

impl CopyRows {
    /// Starts rows of so many columns.
    pub fn new(columns: i16) -> Self {
        let mut buffer = PgArgumentBuffer::default();
        buffer.extend_from_slice(HEADER);
        Self { buffer, columns, rows: 0 }
    }

    /// Starts the next row.
    pub fn row(&mut self) -> Row<'_> {
        self.buffer.extend_from_slice(&self.columns.to_be_bytes());
        self.rows += 1;
        Row(&mut self.buffer)
    }

    /// Loads all rows with `statement`, a `copy … from stdin (format binary)`; no rows, no statement.
    pub async fn load(
        mut self,
        connection: &mut PgConnection,
        statement: &str,
        hooks: &Hooks,
    ) -> Result<(), sqlx::Error> {
        if self.rows == 0 {
            return Ok(());
        }
        self.buffer.extend_from_slice(&TRAILER);
        let mut copy = connection.copy_in_raw(statement).await?;
        (hooks.in_copy)()?;
        copy.send(self.buffer.as_slice()).await?;
        copy.finish().await?;
        Ok(())
    }
}

impl Row<'_> {
    /// Appends a field that is not null.
    pub fn put<'q>(self, value: impl Encode<'q, Postgres>) -> Result<Self, sqlx::Error> {
        let at = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        // What is encoded here is no null: only an Option can be one.
        let _ = value.encode(self.0).map_err(sqlx::Error::Encode)?;
        let length = i32::try_from(self.0.len() - at - 4).map_err(|e| sqlx::Error::Encode(e.into()))?;
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
        Ok(self)
    }

    /// Appends a field that may be null.
    pub fn put_or_null<'q>(self, value: Option<impl Encode<'q, Postgres>>) -> Result<Self, sqlx::Error> {
        let Some(value) = value else {
            // The length of a null.
            self.0.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(self);
        };
        self.put(value)
    }

    /// Appends a value.
    pub fn put_value(self, value: Value<'_>) -> Result<Self, sqlx::Error> {
        match value {
            Value::Null => self.put_or_null(None::<i64>),
            Value::Uuid(key) => self.put(key),
            Value::Text(text) => self.put(text),
            Value::Texts(texts) => self.put(texts),
            Value::BigInt(number) => self.put(number),
            Value::Numeric(amount) => self.put(amount),
            Value::Timestamp(time) => self.put(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_carry_their_length_and_nulls_have_none() {
        let mut rows = CopyRows::new(4);
        let row = rows.row().put(7_i64).and_then(|row| row.put("суп"));
        let row =
            row.and_then(|row| row.put_or_null(None::<i64>)).and_then(|row| row.put_or_null(Some(1_i16)));
        row.map(drop).expect("encoded");
        let mut expected = HEADER.to_vec();
        expected.extend([0, 4, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 6]);
        expected.extend("суп".as_bytes());
        expected.extend([255, 255, 255, 255, 0, 0, 0, 2, 0, 1]);
        assert_eq!(rows.buffer.as_slice(), expected);
    }
}
