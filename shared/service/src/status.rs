//! What a loop says of itself, and the words for what does not answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::failpoint;

/// What a check says of a dependency that nobody answers for.
pub const UNREACHABLE: &str = "unreachable";

/// What a loop says that got no connection out of its pool; whether that is the pool's fault or that of a
/// server which does not answer, [`Health`](crate::health::Health) knows.
pub const NO_CONNECTION: &str = "waiting for a connection to postgres";

/// A loop reports to its [`WorkerStatus`] within this, whatever it waits for; one that has not hangs in a call.
pub const REPORTS_WITHIN: Duration = Duration::from_secs(120);

/// State of one consumer loop, shared with `/health`.
#[derive(Debug)]
pub struct WorkerStatus(Mutex<State>);

/// What a loop and who looks after it have said.
#[derive(Debug)]
struct State {
    /// Whether the loop can do its work.
    work: Result<(), String>,
    /// When the loop reported last.
    reported: Instant,
    /// What of its topics loses or changes events.
    topics: Vec<String>,
}

impl Default for WorkerStatus {
    fn default() -> Self {
        let work = Err("starting".to_owned());
        Self(Mutex::new(State { work, reported: Instant::now(), topics: Vec::new() }))
    }
}

impl WorkerStatus {
    /// The loop turned and can do its work.
    pub fn ok(&self) {
        self.set(Ok(()));
    }

    /// The loop turned, but waits for something that an operator can read here.
    pub fn waiting(&self, why: impl Into<String>) {
        self.set(Err(why.into()));
    }

    /// The loop is not stuck: a part of what it does came to its end.
    pub fn turned(&self) {
        self.lock().reported = Instant::now();
    }

    /// What of its topics loses or changes events, though the loop works; none when all fit.
    pub fn topics(&self, misfits: Vec<String>) {
        self.lock().topics = misfits;
    }

    /// When the loop reported last.
    pub fn last_turn(&self) -> Instant {
        self.lock().reported
    }

    /// Whether the loop hangs in a call that does not return.
    pub fn is_stalled(&self) -> bool {
        self.last_turn().elapsed() > failpoint::stall_after(REPORTS_WITHIN)
    }

    fn set(&self, work: Result<(), String>) {
        let mut state = self.lock();
        (state.work, state.reported) = (work, Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong, where something is.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.is_stalled() {
            return Some(format!("stalled: the loop hangs for {} s", self.last_turn().elapsed().as_secs()));
        }
        let State { work, topics, .. } = &*self.lock();
        let work = work.as_ref().err().map(String::as_str);
        let said: Vec<&str> = work.into_iter().chain(topics.iter().map(String::as_str)).collect();
        (!said.is_empty()).then(|| said.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop that said this so long ago.
    fn said(work: Result<(), String>, ago: Duration) -> WorkerStatus {
        let reported = Instant::now().checked_sub(ago).expect("uptime");
        WorkerStatus(Mutex::new(State { work, reported, topics: Vec::new() }))
    }

    #[test]
    fn a_loop_that_hangs_is_stalled_whatever_it_said_and_one_that_waits_is_not() {
        let long = REPORTS_WITHIN + Duration::from_secs(1);
        for state in [Ok(()), Err("waiting for postgres".to_owned())] {
            let hanging = said(state.clone(), long);
            assert!(hanging.is_stalled());
            assert!(hanging.problem().is_some_and(|problem| problem.starts_with("stalled")));
            let slow = said(state.clone(), REPORTS_WITHIN - Duration::from_secs(5));
            assert!(!slow.is_stalled());
            assert_eq!(slow.problem(), state.clone().err());
            hanging.turned();
            assert_eq!(hanging.problem(), state.err());
        }
    }
}
