//! Partitions that bring nothing though Kafka holds more.
//!
//! A consumer can lose a partition without a word: its fetcher stops, or what it fetches is dropped. So the loop
//! asks Kafka where a quiet partition ends. One that lies behind, while everything that was fetched has been taken,
//! is suspected; one that stays so is started again. Transactions and compaction leave ends that no record stands
//! at: what is the same after a new start is believed. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A partition that has brought nothing for this long is asked about, and asked about again.
const QUIET: Duration = Duration::from_secs(5);
/// A partition that was behind for this long is started again.
const LASTS: Duration = Duration::from_secs(10);
/// So often, meanwhile, nothing was left to be taken.
const DRAINED: u32 = 5;

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

/// Watches the partitions of one loop.
#[derive(Debug, Default)]
pub(super) struct Silence {
    partitions: BTreeMap<i32, Quiet>,
    /// Partition, position and end for which a new start has changed nothing.
    believed: BTreeSet<(i32, i64, i64)>,
}

impl Silence {
    /// The loop has started these partitions.
    pub fn started(&mut self, partitions: impl Iterator<Item = i32>, now: Instant) {
        self.partitions =
            partitions.map(|partition| (partition, Quiet { since: now, behind: None })).collect();
    }

    /// A collection brought records of these partitions; `drained` where it left nothing.
    pub fn collected(&mut self, partitions: impl Iterator<Item = i32>, drained: bool, now: Instant) {
        for partition in partitions.collect::<BTreeSet<_>>() {
            self.partitions.insert(partition, Quiet { since: now, behind: None });
            self.believed.retain(|(believed, ..)| *believed != partition);
        }
        if drained {
            for behind in self.partitions.values_mut().filter_map(|quiet| quiet.behind.as_mut()) {
                behind.drained += 1;
            }
        }
    }

    /// Partitions whose end must be asked for now.
    pub fn due(&self, now: Instant) -> Vec<i32> {
        let due = self.partitions.iter().filter(|(_, quiet)| now.duration_since(quiet.since) >= QUIET);
        due.map(|(&partition, _)| partition).collect()
    }

    /// Takes the answer; true when the partition must be started again.
    pub fn ends_at(&mut self, partition: i32, position: i64, high: i64, now: Instant) -> bool {
        let Some(quiet) = self.partitions.get_mut(&partition) else { return false };
        quiet.since = now;
        if high <= position || self.believed.contains(&(partition, position, high)) {
            quiet.behind = None;
            return false;
        }
        let behind = quiet.behind.get_or_insert(Behind { since: now, position, high, drained: 0 });
        if now.duration_since(behind.since) < LASTS || behind.drained < DRAINED {
            return false;
        }
        self.believed.insert((partition, position, high));
        true
    }

    /// What `/health` says of a partition that has been behind for more than a moment.
    pub fn suspicion(&self) -> Option<String> {
        self.partitions.iter().find_map(|(partition, quiet)| {
            let behind = quiet.behind.as_ref()?;
            let lasted = quiet.since.duration_since(behind.since) >= QUIET && behind.drained >= DRAINED;
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
    struct Clock(Silence, Instant);

    impl Clock {
        fn new() -> Self {
            let (mut silence, now) = (Silence::default(), Instant::now());
            silence.started([0, 1].into_iter(), now);
            Self(silence, now)
        }

        /// A second passes, in which partition 0 brings records, and Kafka tells these ends: true when started again.
        fn second(&mut self, drained: bool, ends: [(i64, i64); 2]) -> bool {
            self.1 += Duration::from_secs(1);
            for _ in 0..3 {
                self.0.collected([0].into_iter(), drained, self.1);
            }
            let due = self.0.due(self.1);
            assert!(!due.contains(&0), "it brings records");
            due.into_iter().any(|partition| {
                let (position, high) = ends[usize::try_from(partition).expect("0 or 1")];
                self.0.ends_at(partition, position, high, self.1)
            })
        }

        /// Seconds until a partition is started again.
        fn until_started(&mut self, drained: bool, ends: [(i64, i64); 2]) -> Option<usize> {
            (1..60).find(|_| self.second(drained, ends))
        }
    }

    #[test]
    fn a_partition_that_stays_behind_is_suspected_and_started_again() {
        let mut clock = Clock::new();
        assert_eq!((1..12).find(|_| clock.second(true, [(9, 9), (5, 8)])), None);
        let suspicion = clock.0.suspicion().expect("suspected");
        assert!(suspicion.contains("partition 1") && suspicion.contains("5 to 8"), "{suspicion}");
        assert_eq!(clock.until_started(true, [(9, 9), (5, 8)]), Some(4));
    }

    #[test]
    fn what_is_the_same_after_a_new_start_is_believed_until_the_end_moves() {
        let mut clock = Clock::new();
        assert!(clock.until_started(true, [(9, 9), (5, 8)]).is_some());
        clock.0.started([0, 1].into_iter(), clock.1);
        assert_eq!(clock.until_started(true, [(9, 9), (5, 8)]), None);
        assert_eq!(clock.0.suspicion(), None);
        assert!(clock.until_started(true, [(9, 9), (5, 9)]).is_some());
    }

    #[test]
    fn a_partition_at_its_end_and_one_whose_records_wait_to_be_taken_are_left_alone() {
        assert_eq!(Clock::new().until_started(true, [(9, 9), (8, 8)]), None);
        assert_eq!(Clock::new().until_started(false, [(9, 9), (5, 8)]), None);
    }
}
