//! A stage that would refuse most of what it reads stops instead, and says so.
//!
//! Dead letters are for records that cannot be used. When most of them cannot, the cause is hardly in the
//! records: the reference data are gone, or a contract has changed. The guard is asked before a batch is
//! committed, so that the batch is there to be used once the cause is mended.

use std::collections::{BTreeMap, VecDeque};

use strata_events::Reject;

use super::record::Record;
use super::stage::StageError;
use crate::config::DeadLetterLimits;

/// Records and how many of them were refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    records: usize,
    refused: usize,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self { records: self.records + other.records, refused: self.refused + other.refused }
    }

    fn share(self) -> f64 {
        self.refused as f64 / self.records.max(1) as f64
    }
}

/// The newest batches of one loop and how much of them was refused.
#[derive(Debug)]
pub struct DeadLetterGuard {
    limits: DeadLetterLimits,
    /// Committed batches: the fewest that hold `min_records`.
    window: VecDeque<Tally>,
    /// Sum of the window.
    sum: Tally,
    /// The batch in hand, when it was admitted.
    batch: Option<Tally>,
    /// The last batch was not admitted.
    stopped: bool,
}

impl DeadLetterGuard {
    /// Starts without a past.
    pub fn new(limits: DeadLetterLimits) -> Self {
        Self { limits, window: VecDeque::new(), sum: Tally::default(), batch: None, stopped: false }
    }

    /// Lets a batch pass, or says why the stage must stop: most of the batch, and of what was read last
    /// together with it, would become dead letters.
    ///
    /// **Errors**: [`StageError::NeedsOperator`]; nothing of the batch may be committed then.
    pub fn admit(&mut self, records: usize, letters: &[(&Record, &Reject)]) -> Result<(), StageError> {
        let batch = Tally { records, refused: letters.len() };
        let seen = self.sum.plus(batch);
        let too_many = |tally: Tally| tally.share() > self.limits.max_share;
        if seen.records < self.limits.min_records || !too_many(batch) || !too_many(seen) {
            self.batch = Some(batch);
            return Ok(());
        }
        self.batch = None;
        self.stopped = true;
        Err(StageError::NeedsOperator(format!(
            "too many dead letters ({:.0}% of the last {} records): most common reason {}; mend the cause, or raise \
             DEAD_LETTER_MAX_SHARE",
            seen.share() * 100.0,
            seen.records,
            most_common(letters)
        )))
    }

    /// Remembers the admitted batch; it is committed now.
    pub fn applied(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        if std::mem::take(&mut self.stopped) {
            // The cause is mended: what was refused because of it says nothing about what comes.
            self.window.clear();
            self.sum = Tally::default();
        }
        self.window.push_back(batch);
        self.sum = self.sum.plus(batch);
        while let Some(oldest) = self.window.front() {
            let rest = self.sum.records - oldest.records;
            if rest < self.limits.min_records {
                break;
            }
            self.sum = Tally { records: rest, refused: self.sum.refused - oldest.refused };
            self.window.pop_front();
        }
    }
}

/// The reason that most letters share, with an example.
fn most_common(letters: &[(&Record, &Reject)]) -> String {
    let mut reasons: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (_, reject) in letters {
        reasons.entry(reject.code).or_insert((0, &reject.detail)).0 += 1;
    }
    let most = reasons.iter().max_by_key(|(_, (count, _))| *count);
    most.map_or_else(String::new, |(code, (_, detail))| {
        format!("{code} ({})", detail.chars().take(100).collect::<String>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> DeadLetterGuard {
        DeadLetterGuard::new(DeadLetterLimits { max_share: 0.5, min_records: 100 })
    }

    fn record() -> Record {
        Record { topic: "stg_topic".into(), ..Record::default() }
    }

    /// Offers a batch and commits it when it is admitted.
    fn offer(guard: &mut DeadLetterGuard, records: usize, refused: usize) -> Result<(), String> {
        let (record, reject) = (record(), Reject::new("unknown_user", "user 1 is not there"));
        let letters = vec![(&record, &reject); refused];
        guard.admit(records, &letters).map_err(|e| e.to_string())?;
        guard.applied();
        Ok(())
    }

    #[test]
    fn few_records_are_never_judged() {
        let mut guard = guard();
        for _ in 0..99 {
            assert_eq!(offer(&mut guard, 1, 1), Ok(()));
        }
        let why = offer(&mut guard, 1, 1).expect_err("100 of 100");
        assert!(why.starts_with("too many dead letters (100% of the last 100 records)"), "{why}");
        assert!(why.contains("unknown_user") && why.contains("DEAD_LETTER_MAX_SHARE"), "{why}");
    }

    #[test]
    fn half_is_not_most() {
        let mut guard = guard();
        for _ in 0..50 {
            assert_eq!(offer(&mut guard, 10, 5), Ok(()));
        }
        assert!(offer(&mut guard, 10, 6).is_err());
    }

    #[test]
    fn a_good_past_is_forgotten_after_as_many_records_as_are_judged() {
        let mut guard = guard();
        for _ in 0..1000 {
            assert_eq!(offer(&mut guard, 10, 0), Ok(()));
        }
        let passed = (0..100).take_while(|_| offer(&mut guard, 10, 10).is_ok()).count();
        assert!((5..=10).contains(&passed), "{passed} bad batches passed");
    }

    #[test]
    fn a_stopped_stage_goes_on_when_its_batch_can_be_used_and_bears_no_grudge() {
        let mut guard = guard();
        assert_eq!(offer(&mut guard, 99, 99), Ok(()));
        for _ in 0..3 {
            assert!(offer(&mut guard, 5, 5).is_err());
        }
        assert_eq!(offer(&mut guard, 5, 1), Ok(()));
        assert_eq!(offer(&mut guard, 1, 1), Ok(()));
    }

    #[test]
    fn a_batch_that_is_not_committed_leaves_no_trace() {
        let mut guard = guard();
        let (record, reject) = (record(), Reject::new("unknown_user", "user 1 is not there"));
        for _ in 0..10 {
            assert!(guard.admit(60, &vec![(&record, &reject); 60]).is_ok());
        }
        assert_eq!(guard.sum, Tally::default());
    }

    #[test]
    fn no_limit_is_no_limit() {
        let mut guard = DeadLetterGuard::new(DeadLetterLimits { max_share: 1.0, min_records: 1 });
        assert_eq!(offer(&mut guard, 1000, 1000), Ok(()));
    }
}
