//! What tells a stuck client from a quiet one. Pure: what is seen and the time are passed in.
//!
//! A client can lose its way to Kafka for good, or a partition without a word. Whatever the cause, the remedy is
//! the same: a client that is made for the question asks Kafka, and where that one is served and ours is not, the
//! process ends with [`RestartNeeded`](strata_service::restart::RestartNeeded). Its supervisor starts another one, which reads at the stored offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::record::Record;
use strata_service::config::KafkaSettings;

/// Another client is asked no more often than this.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// A group gives partitions, and Kafka acknowledgements, within this beside twice the time that a group waits
/// for members that are gone.
const PATIENCE: Duration = Duration::from_secs(15);
/// A partition that was behind for this long is looked at by another client.
const LASTS: Duration = Duration::from_secs(10);
/// So often, meanwhile, nothing was left to be taken.
const DRAINED: u32 = 5;

/// A client that gets nothing out of Kafka: no partitions, no acknowledgements, or only errors.
#[derive(Debug, Clone)]
pub(crate) struct Unserved {
    patience: Duration,
    /// When Kafka did not serve it last.
    refused: Option<Instant>,
    /// When another client was asked last, or would have been at the beginning.
    asked: Option<Instant>,
    /// Since when Kafka has served others and not this one.
    since: Option<Instant>,
}

impl Unserved {
    /// A client that has just been made.
    pub fn new(settings: &KafkaSettings) -> Self {
        let session = Duration::from_millis(u64::from(settings.session_timeout_ms));
        Self { patience: PATIENCE + 2 * session, refused: None, asked: None, since: None }
    }

    /// Kafka has served it.
    pub fn is_over(&mut self) {
        (self.refused, self.asked, self.since) = (None, None, None);
    }

    /// Nothing failed now. Where Kafka was not asked that is no proof that it serves, but what lies back for long is
    /// over.
    pub fn passed(&mut self, is_proof: bool, now: Instant) {
        if is_proof || self.refused.is_some_and(|at| now.duration_since(at) >= ASK_EVERY) {
            self.is_over();
        }
    }

    /// Kafka does not serve it now; true when another client should ask.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.refused = Some(now);
        let due = now.duration_since(*self.asked.get_or_insert(now)) >= ASK_EVERY;
        if due {
            self.asked = Some(now);
        }
        due
    }

    /// Takes whether Kafka served the other client; true when it has done so for too long to wait any more.
    pub fn learn(&mut self, serves_others: bool, now: Instant) -> bool {
        if !serves_others {
            self.since = None;
            return false;
        }
        now.duration_since(*self.since.get_or_insert(now)) >= self.patience
    }

    /// True when Kafka serves others and not this one, though for too short a time to be sure.
    pub fn is_in_doubt(&self) -> bool {
        self.since
            .is_some_and(|since| self.asked.is_some_and(|asked| asked.duration_since(since) >= ASK_EVERY))
    }
}

/// What is known of one partition.
#[derive(Debug)]
struct Quiet {
    /// When it brought a record, was started, or was asked about.
    since: Instant,
    behind: Option<Behind>,
}

/// A partition that ended behind its position when Kafka was asked.
#[derive(Debug)]
struct Behind {
    since: Instant,
    position: i64,
    high: i64,
    /// Collections since then that left nothing.
    drained: u32,
}

/// A place where records may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gap {
    /// Partition.
    pub partition: i32,
    /// Offset that is wanted next.
    pub position: i64,
    /// First offset that was brought, or the end of the partition where none was.
    pub found: i64,
}

/// Partitions that bring nothing though Kafka holds more, or begin behind where they were told to.
///
/// Transactions and compaction leave offsets that no record stands at. What another client sees there as well is
/// believed.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    partitions: BTreeMap<i32, Quiet>,
    /// Started partitions that have brought no record yet.
    unproven: BTreeSet<i32>,
    believed: BTreeSet<Gap>,
}

impl Stalls {
    /// The loop has started these partitions.
    pub fn started(&mut self, partitions: impl Iterator<Item = i32>, now: Instant) {
        self.partitions =
            partitions.map(|partition| (partition, Quiet { since: now, behind: None })).collect();
        self.unproven = self.partitions.keys().copied().collect();
    }

    /// A collection brought these records; `drained` where it left nothing. Returns where a partition that was
    /// started begins behind its position.
    pub fn collected(
        &mut self,
        records: &[Record],
        positions: &BTreeMap<i32, i64>,
        drained: bool,
        now: Instant,
    ) -> Vec<Gap> {
        let mut first: BTreeMap<i32, i64> = BTreeMap::new();
        for record in records {
            first.entry(record.partition).or_insert(record.offset);
        }
        let mut gaps = Vec::new();
        for (partition, found) in first {
            self.partitions.insert(partition, Quiet { since: now, behind: None });
            let position = positions.get(&partition).copied().unwrap_or_default();
            if self.unproven.remove(&partition) && found > position {
                gaps.push(Gap { partition, position, found });
            }
        }
        if drained {
            for behind in self.partitions.values_mut().filter_map(|quiet| quiet.behind.as_mut()) {
                behind.drained += 1;
            }
        }
        gaps
    }

    /// Partitions whose end must be asked for now.
    pub fn due(&self, now: Instant) -> Vec<i32> {
        let due = self.partitions.iter().filter(|(_, quiet)| now.duration_since(quiet.since) >= ASK_EVERY);
        due.map(|(&partition, _)| partition).collect()
    }

    /// Takes the answer; returns what another client must look at.
    pub fn ends_at(&mut self, partition: i32, position: i64, high: i64, now: Instant) -> Option<Gap> {
        let gap = Gap { partition, position, found: high };
        let quiet = self.partitions.get_mut(&partition)?;
        quiet.since = now;
        if high <= position || self.believed.contains(&gap) {
            quiet.behind = None;
            return None;
        }
        let behind = quiet.behind.get_or_insert(Behind { since: now, position, high, drained: 0 });
        let lasts = now.duration_since(behind.since) >= LASTS && behind.drained >= DRAINED;
        lasts.then_some(gap)
    }

    /// Another client found nothing there either, up to the end.
    pub fn believe(&mut self, gap: Gap) {
        self.believed.retain(|believed| believed.partition != gap.partition);
        self.believed.insert(gap);
    }

    /// What `/health` says of a partition that has been behind for more than a moment.
    pub fn doubt(&self) -> Option<String> {
        self.partitions.iter().find_map(|(partition, quiet)| {
            let behind = quiet.behind.as_ref()?;
            let lasted = quiet.since.duration_since(behind.since) >= ASK_EVERY && behind.drained >= DRAINED;
            let Behind { position, high, .. } = behind;
            lasted.then(|| {
                format!(
                    "partition {partition} brings nothing, though kafka holds offsets {position} to {high}"
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch over partitions 0 and 1, and its clock.
    struct Clock(Stalls, Instant);

    /// A record.
    fn record(partition: i32, offset: i64) -> Record {
        Record { partition, offset, ..Record::default() }
    }

    impl Clock {
        fn new() -> Self {
            let (mut stalls, now) = (Stalls::default(), Instant::now());
            stalls.started([0, 1].into_iter(), now);
            Self(stalls, now)
        }

        /// A second passes, in which partition 0 brings records, and Kafka tells these ends.
        fn second(&mut self, drained: bool, ends: [(i64, i64); 2]) -> Option<Gap> {
            self.1 += Duration::from_secs(1);
            for _ in 0..3 {
                self.0.collected(&[record(0, 9)], &BTreeMap::from([(0, 9)]), drained, self.1);
            }
            let due = self.0.due(self.1);
            assert!(!due.contains(&0), "it brings records");
            due.into_iter().find_map(|partition| {
                let (position, high) = ends[usize::try_from(partition).expect("0 or 1")];
                self.0.ends_at(partition, position, high, self.1)
            })
        }

        /// Seconds until another client must look.
        fn until_asked(&mut self, drained: bool, ends: [(i64, i64); 2]) -> Option<usize> {
            (1..60).find(|_| self.second(drained, ends).is_some())
        }
    }

    #[test]
    fn a_partition_that_stays_behind_is_doubted_and_then_looked_at() {
        let mut clock = Clock::new();
        assert_eq!((1..12).find(|_| clock.second(true, [(9, 9), (5, 8)]).is_some()), None);
        let doubt = clock.0.doubt().expect("doubted");
        assert!(doubt.contains("partition 1") && doubt.contains("5 to 8"), "{doubt}");
        assert_eq!(clock.until_asked(true, [(9, 9), (5, 8)]), Some(4));
    }

    #[test]
    fn what_another_client_does_not_find_either_is_believed_until_the_end_moves() {
        let mut clock = Clock::new();
        assert!(clock.until_asked(true, [(9, 9), (5, 8)]).is_some());
        clock.0.believe(Gap { partition: 1, position: 5, found: 8 });
        assert_eq!(clock.until_asked(true, [(9, 9), (5, 8)]), None);
        assert_eq!(clock.0.doubt(), None);
        assert!(clock.until_asked(true, [(9, 9), (5, 9)]).is_some());
    }

    #[test]
    fn a_partition_at_its_end_and_one_whose_records_wait_to_be_taken_are_left_alone() {
        assert_eq!(Clock::new().until_asked(true, [(9, 9), (8, 8)]), None);
        assert_eq!(Clock::new().until_asked(false, [(9, 9), (5, 8)]), None);
    }

    #[test]
    fn a_partition_must_begin_where_it_was_told_to() {
        let mut clock = Clock::new();
        let positions = BTreeMap::from([(0, 5), (1, 5)]);
        let mut collected = |records: &[Record]| clock.0.collected(records, &positions, true, clock.1);
        let gap = Gap { partition: 1, position: 5, found: 7 };
        assert_eq!(collected(&[record(0, 5), record(1, 7), record(1, 8), record(0, 9)]), [gap]);
        // A hole behind the first record is Kafka's own.
        assert_eq!(collected(&[record(0, 20), record(1, 20)]), []);
    }

    #[test]
    fn a_client_is_stuck_when_kafka_serves_others_for_long_and_not_it() {
        let settings =
            strata_service::Settings::from_lookup("STG_PORT", |_| None).expect("defaults fit").kafka;
        let (mut unserved, start) = (Unserved::new(&settings), Instant::now());
        let mut stuck_within = |seconds: u64, serves_others: bool, from: u64| {
            (from..from + seconds).find(|second| {
                let now = start + Duration::from_secs(*second);
                unserved.is_due(now) && unserved.learn(serves_others, now)
            })
        };
        // While Kafka is away, and in the first moments after, nobody is stuck.
        assert_eq!(stuck_within(600, false, 0), None);
        assert_eq!(stuck_within(30, true, 600), None);
        assert_eq!(stuck_within(30, true, 630), Some(635));
        assert!(unserved.is_in_doubt());
        // A moment without a question proves nothing, a longer one ends it.
        unserved.passed(false, start + Duration::from_secs(637));
        assert!(unserved.is_in_doubt());
        unserved.passed(false, start + Duration::from_secs(641));
        assert!(!unserved.is_in_doubt());
        assert!(!unserved.is_due(start + Duration::from_secs(690)));
        unserved.is_over();
        assert!(!unserved.is_in_doubt());
        assert!(!unserved.is_due(start + Duration::from_secs(700)));
    }
}
