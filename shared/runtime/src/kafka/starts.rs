//! Partitions that were started must begin where they were told to.

use std::collections::{BTreeMap, BTreeSet};

use super::record::Record;

/// What started partitions have shown so far.
#[derive(Debug, Default)]
pub struct Starts {
    /// They have brought no record yet.
    unproven: BTreeSet<i32>,
    /// Holes seen at a start: partition, position, first record.
    holes: BTreeSet<(i32, i64, i64)>,
}

impl Starts {
    /// Partitions begin anew.
    pub fn started(&mut self, partitions: impl Iterator<Item = i32>) {
        self.unproven = partitions.collect();
    }

    /// True when records are missing where a partition begins, so that it should be started again.
    ///
    /// A hole there is believed when it shows twice: compaction and transactions leave such holes.
    pub fn lack_records(&mut self, records: &[Record], positions: &BTreeMap<i32, i64>) -> bool {
        for record in records {
            if !self.unproven.remove(&record.partition) {
                continue;
            }
            let at = positions.get(&record.partition).copied().unwrap_or_default();
            let hole = (record.partition, at, record.offset);
            if record.offset > at && !self.holes.contains(&hole) {
                tracing::warn!(
                    kafka.partition = hole.0,
                    at,
                    kafka.offset = hole.2,
                    "records are missing here; starting again"
                );
                self.holes.insert(hole);
                return true;
            }
        }
        if self.unproven.is_empty() {
            self.holes.clear();
        }
        false
    }
}
