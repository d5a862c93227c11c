//! How far each consumer loop is behind, in records and in seconds, by the partitions it has now.
//!
//! The ends of partitions are those that librdkafka learns with every fetch; the loop tells where it stands.
//! Values are made when they are asked for, so a loop that hangs shows a growing lag, and a partition that
//! went to another instance shows none. The timestamp of a record is its sender's word: one that lies in the future
//! counts as the time at which the record was first seen in the partition, else a clock that is ahead would hide the
//! lag for as long.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;

use strata_service::metrics::text;

/// Records that are there and not applied, by topic and partition.
pub const MESSAGES: &str = "strata_consumer_lag_messages";
/// Age of the oldest record that is not applied, by topic and partition; 0 when all are.
pub const SECONDS: &str = "strata_consumer_lag_seconds";

/// Looks at the end of a partition within so many milliseconds count as one, at first.
const LOOK_MS: i64 = 1000;

/// Looks that are remembered of a partition; when there are more, every second one is forgotten, and twice the time
/// counts as one.
const MAX_LOOKS: usize = 256;

/// All loops of this process.
static ALL: Mutex<Vec<Lag>> = Mutex::new(Vec::new());

/// The lag of one consumer loop; clones share it.
#[derive(Debug, Clone)]
pub struct Lag {
    topic: Arc<str>,
    partitions: Arc<Mutex<BTreeMap<i32, Partition>>>,
}

/// One partition.
#[derive(Debug)]
struct Partition {
    /// Offset to apply next.
    next: i64,
    /// The one after the last that Kafka holds.
    high: i64,
    /// Nothing that waits is older than this, Unix milliseconds.
    since_ms: i64,
    /// Ends of the partition that lie ahead, each with the time by which everything before it was there.
    looks: VecDeque<(i64, i64)>,
    /// Looks within so many milliseconds count as one.
    step_ms: i64,
}

impl Partition {
    fn new(next: i64, now_ms: i64) -> Self {
        Self { next, high: next, since_ms: now_ms, looks: VecDeque::new(), step_ms: LOOK_MS }
    }

    fn messages(&self) -> i64 {
        (self.high - self.next).max(0)
    }

    /// Learns the end of the partition; records that turn up came after the last look that found none.
    fn reached(&mut self, high: i64, now_ms: i64) {
        if high > self.high {
            self.high = high;
            self.look(now_ms);
        }
        if self.messages() == 0 {
            self.since_ms = now_ms;
        }
    }

    fn look(&mut self, now_ms: i64) {
        match self.looks.back_mut() {
            Some(last) if last.1 / self.step_ms == now_ms / self.step_ms => *last = (self.high, now_ms),
            _ => self.looks.push_back((self.high, now_ms)),
        }
        if self.looks.len() > MAX_LOOKS {
            self.step_ms *= 2;
            // What a forgotten look saw was there at the next one, too.
            let mut kept = false;
            self.looks.retain(|_| {
                kept = !kept;
                kept
            });
        }
    }

    fn applied(&mut self, next: i64, timestamp_ms: i64, now_ms: i64) {
        self.next = next;
        self.high = self.high.max(next);
        while self.looks.front().is_some_and(|(high, _)| *high < next) {
            self.looks.pop_front();
        }
        if self.looks.is_empty() {
            self.step_ms = LOOK_MS;
        }
        let seen_ms = self.looks.front().map_or(now_ms, |(_, seen_ms)| *seen_ms);
        self.since_ms = self.since_ms.max(timestamp_ms.min(seen_ms));
    }

    fn seconds(&self, now_ms: i64) -> f64 {
        if self.messages() == 0 {
            return 0.0;
        }
        (now_ms - self.since_ms).max(0) as f64 / 1000.0
    }
}

impl Lag {
    /// The lag of a loop over `topic`, shown from now on.
    pub fn of(topic: &str) -> Self {
        let lag = Self { topic: topic.into(), partitions: Arc::default() };
        ALL.lock().unwrap_or_else(PoisonError::into_inner).push(lag.clone());
        lag
    }

    fn partitions(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, Partition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop has these partitions now, each with its next offset; a partition that it kept keeps its past.
    pub fn assigned(&self, positions: &BTreeMap<i32, i64>) {
        let now_ms = Utc::now().timestamp_millis();
        let mut partitions = self.partitions();
        partitions.retain(|partition, _| positions.contains_key(partition));
        for (&partition, &next) in positions {
            partitions.entry(partition).or_insert_with(|| Partition::new(next, now_ms)).next = next;
        }
    }

    /// The loop has no partition any more.
    pub fn revoked(&self) {
        self.partitions().clear();
    }

    /// Kafka holds records up to `high`, as far as the loop has the partition.
    pub fn reached(&self, partition: i32, high: i64) {
        if let Some(own) = self.partitions().get_mut(&partition) {
            own.reached(high, Utc::now().timestamp_millis());
        }
    }

    /// The loop has applied everything before `next`; its last record was of this time.
    pub fn applied(&self, partition: i32, next: i64, timestamp_ms: i64) {
        if let Some(own) = self.partitions().get_mut(&partition) {
            own.applied(next, timestamp_ms, Utc::now().timestamp_millis());
        }
    }
}

/// Writes the lag of all loops.
pub(crate) fn write(text: &mut String) {
    let now_ms = Utc::now().timestamp_millis();
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rows = Vec::new();
    for lag in all.iter() {
        rows.extend(lag.partitions().iter().map(|(&number, own)| {
            (Arc::clone(&lag.topic), number, own.messages() as f64, own.seconds(now_ms))
        }));
    }
    if rows.is_empty() {
        return;
    }
    text::family(text, MESSAGES, "gauge", "Records of the partition that are there and not applied");
    for (topic, partition, messages, _) in &rows {
        text::sample(text, MESSAGES, &[("topic", topic), ("partition", partition)], *messages);
    }
    text::family(text, SECONDS, "gauge", "Age of the oldest record of the partition that is not applied");
    for (topic, partition, _, seconds) in &rows {
        text::sample(text, SECONDS, &[("topic", topic), ("partition", partition)], *seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_no_older_than_the_last_moment_without_any() {
        let mut partition = Partition::new(10, 1_000);
        assert_eq!((partition.messages(), partition.seconds(9_000)), (0, 0.0));
        // An hour of silence, then three records.
        partition.reached(10, 3_600_000);
        partition.reached(11, 3_601_000);
        partition.reached(13, 3_602_900);
        assert_eq!((partition.messages(), partition.seconds(3_604_000)), (3, 4.0));
        // Two of them are applied, the third waits since the second came.
        partition.applied(12, 3_602_500, 3_603_000);
        assert_eq!((partition.messages(), partition.seconds(3_604_000)), (1, 1.5));
        partition.applied(13, 3_602_600, 3_604_000);
        assert_eq!(partition.seconds(3_604_000), 0.0);
    }

    #[test]
    fn a_record_from_the_past_makes_no_lag_of_its_age() {
        let mut partition = Partition::new(0, 5_000);
        partition.reached(2, 6_000);
        partition.applied(1, 17, 7_000);
        assert_eq!(partition.seconds(8_000), 3.0);
    }

    #[test]
    fn a_clock_that_is_ahead_does_not_hide_what_waits() {
        // Ten records a second for ten minutes, all of them dated an hour ahead; one a second is applied.
        let ahead = 3_600_000;
        let mut partition = Partition::new(0, 0);
        for second in 1..=600 {
            let now_ms = second * 1000;
            partition.reached(second * 10, now_ms);
            partition.applied(second, now_ms + ahead, now_ms);
            // The record after the one that was applied came with the tenth part of its offset.
            let age_s = (second - second / 10) as f64;
            let shown = partition.seconds(now_ms);
            assert!(
                (age_s - 5.0..=age_s + 1.0).contains(&shown),
                "{shown} s in second {second}, not {age_s}"
            );
        }
        assert!(partition.looks.len() <= MAX_LOOKS);
        // And when the clock is right again, nothing is left of it.
        partition.applied(6_000, 590_000, 601_000);
        partition.reached(6_000, 602_000);
        partition.reached(6_001, 603_000);
        assert_eq!((partition.seconds(603_000), partition.seconds(605_000)), (1.0, 3.0));
    }

    #[test]
    fn only_partitions_in_hand_are_shown() {
        let lag = Lag::of("lag_of_a_test");
        lag.assigned(&BTreeMap::from([(0, 5), (1, 5)]));
        lag.reached(1, 9);
        lag.reached(7, 9);
        let shown = || {
            let mut text = String::new();
            write(&mut text);
            text.lines().filter(|line| line.contains("lag_of_a_test")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(shown().contains(&format!("{MESSAGES}{{topic=\"lag_of_a_test\",partition=\"1\"}} 4")));
        assert_eq!(shown().len(), 4);
        lag.assigned(&BTreeMap::from([(1, 6)]));
        assert!(shown().contains(&format!("{MESSAGES}{{topic=\"lag_of_a_test\",partition=\"1\"}} 3")));
        assert_eq!(shown().len(), 2);
        lag.revoked();
        assert!(shown().is_empty());
    }
}
