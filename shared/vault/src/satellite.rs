//! Which records become satellite rows: only changes, each in its place in time.
//!
//! A record is stored when its hashdiff differs from the version just before it, stored or in the same
//! batch. A late record is compared with its own past, not with the newest version. A value that was
//! repeated is not stored a second time, so a late record that contradicts it holds until the next
//! stored change.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Partitions that [`LoadPosition::new`] tells apart.
const PARTITIONS: i64 = 4096;

/// Where a record stands in the history of its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadPosition {
    /// Kafka timestamp of the first record, UTC, in milliseconds.
    pub load_dt: DateTime<Utc>,
    /// Order within the millisecond: the offset, then the partition, of the record at the source.
    pub load_seq: i64,
}

impl LoadPosition {
    /// Places a record by its Kafka timestamp and its coordinates at the source.
    pub fn new(load_dt: DateTime<Utc>, partition: i32, offset: i64) -> Self {
        Self { load_dt, load_seq: offset.saturating_mul(PARTITIONS) + i64::from(partition) % PARTITIONS }
    }

    /// The partition and the offset that a `load_seq` was made of.
    pub fn source(load_seq: i64) -> (i32, i64) {
        // Always below the number of partitions.
        let partition = i32::try_from(load_seq.rem_euclid(PARTITIONS)).unwrap_or_default();
        (partition, load_seq.div_euclid(PARTITIONS))
    }
}

/// A record that may become a satellite row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SatelliteRecord<T> {
    /// Hub key of the parent.
    pub parent: Uuid,
    /// Its place in time.
    pub at: LoadPosition,
    /// Fingerprint of the attributes.
    pub hashdiff: Uuid,
    /// The attributes.
    pub value: T,
}

/// A satellite row that the vault holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredVersion {
    /// Hub key of the parent.
    pub parent: Uuid,
    /// Its place in time.
    pub at: LoadPosition,
    /// Fingerprint of the attributes.
    pub hashdiff: Uuid,
}

/// Keeps the records that change their parent, sorted by parent and time.
///
/// **Shape**: `stored` must hold, for every parent, the version in force at its earliest record and
/// all later ones; order does not matter. **Idempotent**: a record that is stored is not kept again.
pub fn changes<T>(mut records: Vec<SatelliteRecord<T>>, stored: &[StoredVersion]) -> Vec<SatelliteRecord<T>> {
    let mut history: HashMap<Uuid, Vec<(LoadPosition, Uuid)>> = HashMap::new();
    for version in stored {
        history.entry(version.parent).or_default().push((version.at, version.hashdiff));
    }
    for versions in history.values_mut() {
        versions.sort_unstable();
    }
    records.sort_by_key(|record| (record.parent, record.at));
    let mut last: Option<(Uuid, LoadPosition, Uuid)> = None;
    records.retain(|record| {
        let in_batch = last.filter(|(parent, ..)| *parent == record.parent).map(|(_, at, diff)| (at, diff));
        let in_store = history.get(&record.parent).and_then(|versions| {
            let after = versions.partition_point(|(at, _)| *at <= record.at);
            versions[..after].last().copied()
        });
        // On a tie the store wins: that very record is there already.
        let before = in_batch.max_by_position(in_store);
        if before.is_some_and(|(at, diff)| at == record.at || diff == record.hashdiff) {
            return false;
        }
        last = Some((record.parent, record.at, record.hashdiff));
        true
    });
    records
}

trait MaxByPosition {
    fn max_by_position(self, other: Self) -> Self;
}

impl MaxByPosition for Option<(LoadPosition, Uuid)> {
    fn max_by_position(self, other: Self) -> Self {
        match (self, other) {
            (Some(a), Some(b)) => Some(if a.0 > b.0 { a } else { b }),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{hashdiff, hub_key};

    fn record(parent: u8, millis: i64, offset: i64, value: &str) -> SatelliteRecord<String> {
        SatelliteRecord {
            parent: hub_key(&parent.to_string()),
            at: LoadPosition::new(DateTime::from_timestamp_millis(millis).expect("in range"), 0, offset),
            hashdiff: hashdiff(&[value]),
            value: value.to_owned(),
        }
    }

    fn store(stored: &mut Vec<StoredVersion>, records: Vec<SatelliteRecord<String>>) {
        let fresh = changes(records, stored);
        stored.extend(fresh.iter().map(|r| StoredVersion {
            parent: r.parent,
            at: r.at,
            hashdiff: r.hashdiff,
        }));
        stored.sort_by_key(|version| (version.parent, version.at));
    }

    fn values(stored: Vec<SatelliteRecord<String>>) -> Vec<String> {
        stored.into_iter().map(|record| record.value).collect()
    }

    #[test]
    fn a_position_tells_where_it_came_from() {
        for (partition, offset) in [(0, 0), (5, 7), (4095, 1 << 40)] {
            let at = LoadPosition::new(DateTime::UNIX_EPOCH, partition, offset);
            assert_eq!(LoadPosition::source(at.load_seq), (partition, offset));
        }
    }

    #[test]
    fn only_changes_are_kept() {
        let history = ["OPEN", "OPEN", "COOKING", "OPEN"].iter().enumerate();
        let records = history.map(|(i, status)| record(1, i as i64, i as i64, status)).collect();
        assert_eq!(values(changes(records, &[])), ["OPEN", "COOKING", "OPEN"]);
    }

    #[test]
    fn a_late_record_is_compared_with_its_own_past() {
        let mut stored = Vec::new();
        store(&mut stored, vec![record(1, 10, 1, "OPEN"), record(1, 30, 2, "CLOSED")]);
        assert_eq!(values(changes(vec![record(1, 20, 3, "COOKING")], &stored)), ["COOKING"]);
        assert_eq!(values(changes(vec![record(1, 20, 3, "OPEN")], &stored)), Vec::<String>::new());
        assert_eq!(values(changes(vec![record(1, 5, 3, "OPEN")], &stored)), ["OPEN"]);
    }

    #[test]
    fn two_changes_within_a_millisecond_are_ordered_by_offset() {
        let records = vec![record(1, 10, 1000, "b"), record(1, 10, 999, "a")];
        assert_eq!(values(changes(records, &[])), ["a", "b"]);
    }

    proptest! {
        /// Every record of a parent differs from the one before it, so nothing is compacted away.
        #[test]
        fn order_duplicates_and_splits_of_the_input_do_not_matter(
            shuffled in (1usize..20).prop_flat_map(|n| {
                let events: Vec<(u8, i64)> = (0..n).map(|i| ((i % 3) as u8, (i / 3) as i64)).collect();
                let twice: Vec<_> = events.iter().chain(&events).copied().collect();
                Just(twice).prop_shuffle()
            }),
            split in 1usize..7,
        ) {
            let make = |&(parent, at): &(u8, i64)| record(parent, at / 2, at, &format!("value {at}"));
            let mut in_order: Vec<_> = shuffled.clone();
            in_order.sort_unstable();
            in_order.dedup();
            let mut expected = Vec::new();
            store(&mut expected, in_order.iter().map(make).collect());
            let mut stored = Vec::new();
            for chunk in shuffled.chunks(split) {
                store(&mut stored, chunk.iter().map(make).collect());
            }
            prop_assert_eq!(stored, expected);
        }

        /// With repeated values too, a stored history never holds the same value twice in a row when it
        /// arrives in order, and a replay of it adds nothing.
        #[test]
        fn a_replay_adds_nothing(picks in prop::collection::vec((0u8..3, 0u8..3), 1..30), split in 1usize..7) {
            let records: Vec<_> = picks
                .iter()
                .enumerate()
                .map(|(i, (parent, value))| record(*parent, i as i64 / 3, i as i64, &value.to_string()))
                .collect();
            let mut stored = Vec::new();
            for chunk in records.chunks(split) {
                store(&mut stored, chunk.to_vec());
            }
            for pair in stored.windows(2) {
                prop_assert!(pair[0].parent != pair[1].parent || pair[0].hashdiff != pair[1].hashdiff);
            }
            prop_assert!(changes(records, &stored).is_empty());
        }
    }
}
