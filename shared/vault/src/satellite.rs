//! Which records become satellite rows: only changes, each in its place in time.
//!
//! A parent has two orders of time: the one in which its records reached Kafka (their load position), and the one in
//! which their source sent them, where it says so. The version in force is the one that was sent last; among those
//! sent at the same time, or without a word of it, the one that was loaded last.
//!
//! A record is stored when its hashdiff differs from the version just before it in either order, of those that were
//! loaded before it. So a late, older version neither hides a newer one nor is hidden by it, and both questions have
//! an answer: what was known at a moment, and what was true. What comes later never changes the decision, so reading
//! records again, in whatever batches, stores nothing more.
//!
//! A value that both orders repeat is not stored a second time. So a late record that contradicts it holds until the
//! next stored change: of A, A again, and B which was sent between them and came last, B is in force. Only a row for
//! every record would tell, and a satellite keeps changes.

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

/// When the source sent a version; none where it does not say, which counts as before all others.
pub type Sent = Option<DateTime<Utc>>;

/// A record that may become a satellite row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SatelliteRecord<T> {
    /// Hub key of the parent.
    pub parent: Uuid,
    /// Its place in time.
    pub at: LoadPosition,
    /// When it was sent.
    pub sent: Sent,
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
    /// When it was sent.
    pub sent: Sent,
    /// Fingerprint of the attributes.
    pub hashdiff: Uuid,
}

/// Keeps the records that change their parent, sorted by parent and time.
///
/// **Shape**: `stored` must hold, for every parent, the version just before its earliest record in both orders, and
/// all later ones; order does not matter. **Idempotent**: a record that is stored is not kept again.
pub fn changes<T>(mut records: Vec<SatelliteRecord<T>>, stored: &[StoredVersion]) -> Vec<SatelliteRecord<T>> {
    let mut known: HashMap<Uuid, Vec<Version>> = HashMap::new();
    for version in stored {
        let StoredVersion { parent, at, sent, hashdiff } = *version;
        known.entry(parent).or_default().push(Version { at, sent, hashdiff });
    }
    records.sort_by_key(|record| (record.parent, record.at));
    let (mut of, mut versions): (Option<Uuid>, Vec<Version>) = (None, Vec::new());
    records.retain(|record| {
        if of != Some(record.parent) {
            of = Some(record.parent);
            versions = known.remove(&record.parent).unwrap_or_default();
        }
        let version = Version { at: record.at, sent: record.sent, hashdiff: record.hashdiff };
        let is_change = version.changes(&versions);
        if is_change {
            versions.push(version);
        }
        is_change
    });
    records
}

/// A version of a parent.
struct Version {
    at: LoadPosition,
    sent: Sent,
    hashdiff: Uuid,
}

impl Version {
    /// True when it says something new after those of `versions` that were loaded before it.
    fn changes(&self, versions: &[Self]) -> bool {
        // Where the store has the place, that very record is there already.
        if versions.iter().any(|version| version.at == self.at) {
            return false;
        }
        let before = || versions.iter().filter(|version| version.at < self.at);
        let Some(loaded) = before().max_by_key(|version| version.at) else { return true };
        let sent = before().filter(|version| version.sent <= self.sent).max_by_key(|v| (v.sent, v.at));
        loaded.hashdiff != self.hashdiff || sent.is_some_and(|version| version.hashdiff != self.hashdiff)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{hashdiff, hub_key};

    fn time(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).expect("in range")
    }

    fn record(parent: u8, millis: i64, offset: i64, value: &str) -> SatelliteRecord<String> {
        SatelliteRecord {
            parent: hub_key(&parent.to_string()),
            at: LoadPosition::new(time(millis), 0, offset),
            sent: None,
            hashdiff: hashdiff(&[value]),
            value: value.to_owned(),
        }
    }

    /// A record of parent 1 that reached Kafka at one time and was sent at another.
    fn sent(loaded: i64, sent: i64, value: &str) -> SatelliteRecord<String> {
        SatelliteRecord { sent: Some(time(sent)), ..record(1, loaded, loaded, value) }
    }

    /// The hashdiff in force: of what was sent last.
    fn in_force(stored: &[StoredVersion]) -> Option<Uuid> {
        stored.iter().max_by_key(|version| (version.sent, version.at)).map(|version| version.hashdiff)
    }

    fn store(stored: &mut Vec<StoredVersion>, records: Vec<SatelliteRecord<String>>) {
        let fresh = changes(records, stored);
        stored.extend(fresh.iter().map(|r| StoredVersion {
            parent: r.parent,
            at: r.at,
            sent: r.sent,
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

    #[test]
    fn a_late_older_version_does_not_hide_a_newer_one() {
        let mut stored = Vec::new();
        store(&mut stored, vec![sent(1, 10, "OPEN"), sent(2, 30, "CLOSED")]);
        assert_eq!(values(changes(vec![sent(3, 20, "COOKING")], &stored)), ["COOKING"]);
        store(&mut stored, vec![sent(3, 20, "COOKING")]);
        assert_eq!(in_force(&stored), Some(hashdiff(&["CLOSED"])));
        // It is no news that the order was being cooked before, nor that it was closed.
        assert_eq!(values(changes(vec![sent(4, 25, "COOKING")], &stored)), Vec::<String>::new());
    }

    #[test]
    fn a_newer_version_that_repeats_the_last_loaded_one_is_kept() {
        // COOKING came last, but CLOSED is in force.
        let mut stored = Vec::new();
        store(&mut stored, vec![sent(1, 30, "CLOSED"), sent(2, 20, "COOKING")]);
        store(&mut stored, vec![sent(3, 40, "COOKING")]);
        assert_eq!(stored.len(), 3);
        assert_eq!(in_force(&stored), Some(hashdiff(&["COOKING"])));
    }

    #[test]
    fn versions_that_do_not_say_when_they_were_sent_are_the_oldest() {
        let mut stored = Vec::new();
        store(&mut stored, vec![sent(1, 10, "CLOSED"), record(1, 2, 2, "OPEN")]);
        assert_eq!((stored.len(), in_force(&stored)), (2, Some(hashdiff(&["CLOSED"]))));
    }

    proptest! {
        /// Whatever came before, what is known at the moment of a record is what it says, and so is what is true
        /// where nothing was sent after it. Reading all of it again, in other batches, stores nothing more.
        #[test]
        fn both_orders_of_time_are_kept_and_reading_again_changes_nothing(
            picks in prop::collection::vec((0i64..6, 0u8..3), 1..20),
            split in 1usize..7,
        ) {
            let records: Vec<_> = picks
                .iter()
                .zip(0i64..)
                .map(|(&(at, value), loaded)| SatelliteRecord {
                    sent: (at > 0).then(|| time(at)),
                    ..record(1, loaded, loaded, &value.to_string())
                })
                .collect();
            let mut stored = Vec::new();
            for (index, record) in records.iter().enumerate() {
                store(&mut stored, vec![record.clone()]);
                prop_assert_eq!(stored.last().map(|version| version.hashdiff), Some(record.hashdiff));
                if records[..index].iter().all(|earlier| earlier.sent <= record.sent) {
                    prop_assert_eq!(in_force(&stored), Some(record.hashdiff));
                }
            }
            let mut batched = Vec::new();
            for chunk in records.chunks(split) {
                store(&mut batched, chunk.to_vec());
            }
            prop_assert_eq!(&batched, &stored);
            for chunk in records.chunks(split) {
                prop_assert_eq!(values(changes(chunk.to_vec(), &stored)), Vec::<String>::new());
            }
        }

        /// In whatever order distinct versions come, and however often, the one in force was sent last.
        #[test]
        fn the_version_in_force_was_sent_last(
            shuffled in (1i64..15).prop_flat_map(|n| {
                let twice: Vec<(i64, i64)> = (0..n).chain(0..n).map(|i| (i, (i * 7 + 3) % n)).collect();
                Just(twice).prop_shuffle()
            }),
            split in 1usize..7,
        ) {
            let make = |&(loaded, at): &(i64, i64)| sent(loaded, at / 2, &format!("value {loaded}"));
            let mut stored = Vec::new();
            for chunk in shuffled.chunks(split) {
                store(&mut stored, chunk.iter().map(make).collect());
            }
            let newest = shuffled.iter().map(make).max_by_key(|r| (r.sent, r.at)).expect("some");
            prop_assert_eq!(in_force(&stored), Some(newest.hashdiff));
        }

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
