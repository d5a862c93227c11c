//! Rows by table, counted when the transaction that wrote them is committed.
//!
//! A handler notes what each statement wrote; [`collect`] gathers it without a parameter through every
//! layer of statements, and a batch that is rolled back counts nothing.

use std::cell::RefCell;
use std::future::Future;

/// Rows by table.
pub const ROWS: &str = "strata_rows_written_total";

tokio::task_local! {
    static NOTED: RefCell<Written>;
}

/// Rows by table, of one batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written(Vec<(&'static str, u64)>);

impl Written {
    fn add(&mut self, table: &'static str, rows: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == table) {
            Some((_, sum)) => *sum += rows,
            None => self.0.push((table, rows)),
        }
    }

    /// The transaction is committed: adds to [`ROWS`].
    pub fn count(&self) {
        for (table, rows) in &self.0 {
            metrics::counter!(ROWS, "table" => *table).increment(*rows);
        }
    }
}

/// Notes rows that a statement wrote; outside of [`collect`] nobody counts them.
pub fn note(table: &'static str, rows: u64) {
    // Fails outside of a batch only, as in a test of a statement.
    let _ = NOTED.try_with(|noted| noted.borrow_mut().add(table, rows));
}

/// Runs a part of a batch and returns what it noted besides what it returns.
pub async fn collect<T>(work: impl Future<Output = T>) -> (T, Written) {
    let scope = async {
        let result = work.await;
        (result, NOTED.with(RefCell::take))
    };
    NOTED.scope(RefCell::default(), scope).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_noted_belongs_to_its_batch_and_is_summed_by_table() {
        note("dds.h_user", 1);
        let work = async {
            note("dds.h_user", 2);
            tokio::task::yield_now().await;
            note("dds.h_order", 5);
            note("dds.h_user", 3);
            "done"
        };
        let (result, written) = collect(work).await;
        assert_eq!((result, written), ("done", Written(vec![("dds.h_user", 5), ("dds.h_order", 5)])));
    }
}
