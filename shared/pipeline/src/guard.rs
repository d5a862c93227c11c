//! A stage that would refuse too much of what it should be able to use stops instead, and says so.
//!
//! Only suspicious refusals count: the store refuses what every check let pass, or a layer wrote what the next
//! cannot read. Then the cause is hardly in the records, but in a constraint, a contract or a release. What a sender
//! got wrong, and what waits for reference data, never stops anything. The guard is asked before a batch is
//! committed, so the batch is there to be used once the cause is removed, or an operator says that it may go.

use std::collections::{BTreeMap, VecDeque};

use sqlx::PgExecutor;
use strata_events::Reject;
use strata_events::reject::Class;

use crate::dead_letter::{DeadLetters, Resumes};
use crate::error::StageError;
use crate::record::Record;
use strata_service::config::DeadLetterLimits;

/// Records and how many of them were refused suspiciously.
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

/// Why a loop reads on or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Too many refusals stop it.
    Armed,
    /// They have stopped it, when it had been resumed so many times.
    Stopped(i64),
    /// An operator has looked and let them pass, until a whole window is good again.
    Resumed,
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
    state: State,
}

impl DeadLetterGuard {
    /// Starts without a past.
    pub fn new(limits: DeadLetterLimits) -> Self {
        Self { limits, window: VecDeque::new(), sum: Tally::default(), batch: None, state: State::Armed }
    }

    /// Lets a batch pass, or says why the stage must stop: most of the batch, and of what was read last
    /// together with it, is refused suspiciously, and no operator has let that pass since.
    ///
    /// `executor` leads to the table that `strata stage resume` writes; it is used only when there is a reason.
    /// **Errors**: [`StageError::NeedsOperator`]; nothing of the batch may be committed then.
    pub async fn admit(
        &mut self,
        place: &DeadLetters,
        records: usize,
        refused: &[(&Record, &Reject)],
        executor: impl PgExecutor<'_>,
    ) -> Result<(), StageError> {
        let Some(why) = self.judge(records, refused) else { return Ok(()) };
        let resumed = place.resumes(executor).await?;
        if self.resumes(resumed) {
            // As a stage that was resumed it admits the batch.
            self.judge(records, refused);
            return Ok(());
        }
        let (stage, stream) = (place.stage(), place.stream());
        Err(StageError::NeedsOperator(format!(
            "{stage} has stopped reading {stream}: {why}. Remove the cause and it goes on by itself, or let these \
             records become dead letters: strata stage resume {stage} --stream {stream}"
        )))
    }

    /// Why the batch must not pass; none where it may.
    fn judge(&mut self, records: usize, refused: &[(&Record, &Reject)]) -> Option<String> {
        let suspicious: Vec<&Reject> =
            refused.iter().map(|(_, reject)| *reject).filter(|r| r.class == Class::Suspicious).collect();
        let batch = Tally { records, refused: suspicious.len() };
        let seen = self.sum.plus(batch);
        let too_many = |tally: Tally| tally.share() > self.limits.max_share;
        if self.state == State::Resumed
            || seen.records < self.limits.min_records
            || !too_many(batch)
            || !too_many(seen)
        {
            self.batch = Some(batch);
            return None;
        }
        self.batch = None;
        Some(format!(
            "{:.0}% of the last {} records should be usable and are refused, most often as {}",
            seen.share() * 100.0,
            seen.records,
            most_common(&suspicious)
        ))
    }

    /// Notes that the loop stops, or that an operator has resumed it since it did.
    ///
    /// A stage reads in several loops, and the slower ones come to the same records after the resume: it holds for
    /// them, too.
    fn resumes(&mut self, resumes: Resumes) -> bool {
        let resumed = match self.state {
            State::Stopped(before) => resumes.times > before,
            State::Armed | State::Resumed => resumes.holds,
        };
        if resumed {
            self.forget();
            self.state = State::Resumed;
        } else if !matches!(self.state, State::Stopped(_)) {
            self.state = State::Stopped(resumes.times);
        }
        resumed
    }

    fn forget(&mut self) {
        self.window.clear();
        self.sum = Tally::default();
    }

    /// Remembers the admitted batch; it is committed now.
    pub fn applied(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        if matches!(self.state, State::Stopped(_)) {
            // The cause is gone: what was refused because of it says nothing about what comes.
            self.forget();
            self.state = State::Armed;
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
        if self.sum.records >= self.limits.min_records && self.sum.share() <= self.limits.max_share {
            self.state = State::Armed;
        }
    }
}

/// The reason that most refusals share, with an example.
fn most_common(refusals: &[&Reject]) -> String {
    let mut reasons: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for reject in refusals {
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

    fn refusal() -> Reject {
        Reject::new("refused_by_store", "a constraint").suspicious()
    }

    /// Offers a batch and commits it when it is admitted; the stage was resumed so many times.
    fn offer_as(
        guard: &mut DeadLetterGuard,
        (records, refused): (usize, usize),
        reject: &Reject,
        times: i64,
    ) -> Result<(), String> {
        let resumes = Resumes { times, holds: false };
        let record = Record { topic: "stg_topic".into(), ..Record::default() };
        let refused = vec![(&record, reject); refused];
        if let Some(why) = guard.judge(records, &refused)
            && !(guard.resumes(resumes) && guard.judge(records, &refused).is_none())
        {
            return Err(why);
        }
        guard.applied();
        Ok(())
    }

    fn offer(guard: &mut DeadLetterGuard, records: usize, refused: usize) -> Result<(), String> {
        offer_as(guard, (records, refused), &refusal(), 0)
    }

    #[test]
    fn few_records_are_never_judged() {
        let mut guard = guard();
        for _ in 0..99 {
            assert_eq!(offer(&mut guard, 1, 1), Ok(()));
        }
        let why = offer(&mut guard, 1, 1).expect_err("100 of 100");
        assert!(why.starts_with("100% of the last 100 records should be usable"), "{why}");
        assert!(why.contains("refused_by_store (a constraint)"), "{why}");
    }

    #[test]
    fn what_senders_got_wrong_and_what_waits_never_stops_anything() {
        let mut guard = guard();
        let malformed = Reject::new("malformed_json", "no JSON");
        let parked = Reject::new("unknown_user", "user 1").parked(vec!["user/1".into()]);
        for reject in [malformed, parked] {
            for _ in 0..20 {
                assert_eq!(offer_as(&mut guard, (1000, 1000), &reject, 0), Ok(()));
            }
        }
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
    fn a_stage_that_was_resumed_lets_pass_what_comes_until_it_is_good_again() {
        let mut guard = guard();
        // Resumes of the past say nothing about this stop.
        for _ in 0..3 {
            assert!(offer_as(&mut guard, (100, 100), &refusal(), 7).is_err());
        }
        for _ in 0..50 {
            assert_eq!(offer_as(&mut guard, (100, 100), &refusal(), 8), Ok(()));
        }
        assert_eq!(offer_as(&mut guard, (100, 0), &refusal(), 8), Ok(()));
        assert!(offer_as(&mut guard, (200, 200), &refusal(), 8).is_err());
        assert_eq!(offer_as(&mut guard, (200, 200), &refusal(), 9), Ok(()));
    }

    #[test]
    fn a_loop_that_comes_to_the_same_records_after_the_resume_goes_on_too() {
        let mut guard = guard();
        let (record, reject) = (Record::default(), refusal());
        let refused = vec![(&record, &reject); 100];
        assert!(guard.judge(100, &refused).is_some());
        assert!(guard.resumes(Resumes { times: 1, holds: true }));
        assert_eq!(guard.judge(100, &refused), None);
    }

    #[test]
    fn a_batch_that_is_not_committed_leaves_no_trace() {
        let mut guard = guard();
        let (record, reject) = (Record::default(), refusal());
        for _ in 0..10 {
            assert_eq!(guard.judge(60, &vec![(&record, &reject); 60]), None);
        }
        assert_eq!(guard.sum, Tally::default());
    }

    #[test]
    fn no_limit_is_no_limit() {
        let mut guard = DeadLetterGuard::new(DeadLetterLimits { max_share: 1.0, min_records: 1 });
        assert_eq!(offer(&mut guard, 1000, 1000), Ok(()));
    }
}
