//! Satellites hold changes only: which rows say what the row before them says.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use strata_events::Origin;
use strata_vault::LoadPosition;

use super::report::Check;
use super::snapshot::Snapshot;
use super::tables::Version;

/// Finds repeated values, where the two rows reached dds in the order of their offsets and of their sending, and
/// nothing else was sent between them.
///
/// A late record takes its place in the past, and the equal value after it stays, for dds deletes nothing.
/// Two rows from one source partition, the second with the higher offset, came in order, unless the first
/// is a dead letter that was replayed; these are remembered for a while, and older rows not looked at, as are those
/// that may have been overtaken when partitions were added. Names are
/// not looked at: their records come by way of several partitions, while those of an event have one key.
pub struct Repeats {
    /// From when on rows are judged, in microseconds.
    judged: i64,
    /// The records of dead letters that were replayed.
    replayed: HashSet<Origin>,
}

impl Repeats {
    /// Judges rows from a time on.
    pub fn new(snapshot: &Snapshot<'_>, judged: DateTime<Utc>) -> Self {
        let replayed = snapshot.dead_letters.iter().filter(|dead_letter| dead_letter.replay_seq.is_some());
        let replayed = replayed.filter_map(|dead_letter| dead_letter.start()).collect();
        Self { judged: judged.timestamp_micros(), replayed }
    }

    /// Reports the versions of an event that repeat a value; sorts them by their load.
    pub fn find(&self, table: &str, described: &str, versions: &mut [Version], check: &mut Check) {
        versions.sort_unstable_by_key(|version| (version.load_dt, version.load_seq));
        for at in 1..versions.len() {
            if self.is_repeat(&versions[..=at]) {
                let [at, before] = [&versions[at], &versions[at - 1]].map(|version| {
                    DateTime::from_timestamp_micros(version.load_dt).unwrap_or_default().to_rfc3339()
                });
                check.differs(|| format!("{table}: {described} repeats at {at} the value of {before}"));
            }
        }
    }

    /// True where the last of the versions says what the one before says, and should not be there.
    fn is_repeat(&self, versions: &[Version]) -> bool {
        let [earlier @ .., before, last] = versions else { return false };
        let [(partition, _), (partition_before, offset)] =
            [last, before].map(|version| LoadPosition::source(version.load_seq));
        last.fingerprint == before.fingerprint
            && last.load_src == before.load_src
            && partition == partition_before
            && last.load_seq > before.load_seq
            && last.sent >= before.sent
            && before.load_dt >= self.judged
            && !earlier.iter().any(|other| {
                let between = before.place() < other.place() && other.place() < last.place();
                between && other.fingerprint != last.fingerprint
            })
            && !self.replayed.contains(&Origin { topic: before.load_src.as_str().into(), partition, offset })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use strata_vault::{SatelliteRecord, StoredVersion, changes, hub_key};

    use super::*;

    /// Judges all rows, and knows no dead letters.
    fn all() -> Repeats {
        Repeats { judged: i64::MIN, replayed: HashSet::new() }
    }

    #[test]
    fn a_value_that_follows_itself_is_a_repeat_unless_it_came_out_of_order() {
        let version = |offset: i64, value: &str, sent: i64| Version {
            fingerprint: hub_key(value),
            load_src: "topic".to_owned(),
            load_seq: offset * 4096 + 3,
            load_dt: offset * 1000,
            sent,
        };
        let found = |repeats: &Repeats, mut versions: Vec<Version>| {
            let mut check = Check::new("");
            repeats.find("s", "order 7", &mut versions, &mut check);
            check.differences
        };
        let twice = || vec![version(2, "a", 2), version(1, "a", 1)];
        assert_eq!(found(&all(), twice()), 1);
        // The first is a dead letter that was replayed,
        let replayed = [Origin { topic: "topic".into(), partition: 3, offset: 1 }].into();
        assert_eq!(found(&Repeats { replayed, ..all() }, twice()), 0);
        // or older than what is remembered.
        assert_eq!(found(&Repeats { judged: 1_001, ..all() }, twice()), 0);
        // Sent the other way round, by other partitions, or with another value between them in either order.
        assert_eq!(found(&all(), vec![version(1, "a", 2), version(2, "a", 1)]), 0);
        let mut other = twice();
        other[0].load_seq += 1;
        assert_eq!(found(&all(), other), 0);
        assert_eq!(found(&all(), vec![version(1, "a", 1), version(2, "b", 2), version(3, "a", 3)]), 0);
        assert_eq!(found(&all(), vec![version(1, "b", 2), version(2, "a", 1), version(3, "a", 3)]), 0);
    }

    proptest! {
        #[test]
        fn what_the_rule_of_satellites_stores_has_no_repeats(
            records in prop::collection::vec((0_i64..4, 0_i64..6), 0..12),
        ) {
            // As dds applies them: in the order of their offsets, one batch each.
            let (mut stored, mut versions) = (Vec::new(), Vec::new());
            for ((value, sent), offset) in records.into_iter().zip(0..) {
                let time = DateTime::from_timestamp_millis(offset).expect("a time");
                let record = SatelliteRecord {
                    parent: hub_key("7"),
                    at: LoadPosition::new(time, 0, offset),
                    sent: DateTime::from_timestamp_millis(sent),
                    hashdiff: hub_key(&value.to_string()),
                    value: (),
                };
                for SatelliteRecord { parent, at, sent, hashdiff, .. } in changes(vec![record], &stored) {
                    stored.push(StoredVersion { parent, at, sent, hashdiff });
                    versions.push(Version {
                        fingerprint: hashdiff,
                        load_src: "topic".to_owned(),
                        load_seq: at.load_seq,
                        load_dt: at.load_dt.timestamp_micros(),
                        sent: sent.map_or(i64::MIN, |sent| sent.timestamp_micros()),
                    });
                }
            }
            let mut check = Check::new("");
            all().find("s", "order 7", &mut versions, &mut check);
            prop_assert_eq!(check.named, Vec::<String>::new());
        }
    }
}
