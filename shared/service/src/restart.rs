//! When only a new process helps: how a part says so, and loops that can say nothing any more.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::status::WorkerStatus;

/// Exit status of a process that a new one should replace (EX_TEMPFAIL); whoever supervises it starts it again.
pub const STATUS: u8 = 75;

/// A part of this process cannot go on; a new process can.
#[derive(Debug, thiserror::Error)]
#[error("{0}; this process ends so that a new one takes over")]
pub struct RestartNeeded(pub String);

/// A loop, and since when it has reported nothing.
#[derive(Debug)]
struct Stall {
    reported: Instant,
    looks: u32,
}

impl Stall {
    /// Takes the time of its last report; true when there were so many looks at the same one.
    ///
    /// Looks are counted, not time: a process that was stopped as a whole has not looked either.
    fn look(&mut self, reported: Instant, limit: u32) -> bool {
        self.looks = if reported == self.reported { self.looks + 1 } else { 0 };
        self.reported = reported;
        self.looks >= limit
    }
}

/// Watches loops from a thread of its own, and calls `stuck` when one has not reported for `limit` looks, one
/// `every` so often: it hangs in a call.
pub fn watch(
    loops: Vec<Arc<WorkerStatus>>,
    (every, limit): (Duration, u32),
    token: CancellationToken,
    stuck: impl FnOnce(RestartNeeded) + Send + 'static,
) -> std::io::Result<()> {
    let look = move || {
        let mut stalls: Vec<Stall> =
            loops.iter().map(|status| Stall { reported: status.last_turn(), looks: 0 }).collect();
        while !token.is_cancelled() {
            thread::sleep(every);
            let mut watched = stalls.iter_mut().zip(&loops);
            if watched.any(|(stall, status)| stall.look(status.last_turn(), limit)) {
                let silent = (every * limit).as_secs();
                return stuck(RestartNeeded(format!(
                    "a consumer loop hangs, it has not reported for {silent} s"
                )));
            }
        }
    };
    thread::Builder::new().name("watchdog".into()).spawn(look).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_loop_that_hangs_is_noticed_and_one_that_reports_is_not() {
        // GIVEN two loops that report, and one that stops doing so
        let loops: Vec<Arc<WorkerStatus>> = (0..3).map(|_| Arc::default()).collect();
        let (told, heard) = mpsc::channel();
        let report = move |stuck: RestartNeeded| told.send(stuck.to_string()).expect("the test listens");
        let every = Duration::from_millis(20);
        watch(loops.clone(), (every, 10), CancellationToken::new(), report).expect("a thread");
        for round in 0..50 {
            loops[0].ok();
            loops[1].turned();
            if round < 25 {
                loops[2].waiting("postgres");
            }
            let heard = heard.recv_timeout(every).ok();
            // THEN the watch speaks of that one only
            if let Some(heard) = heard {
                assert!(round > 25, "{heard}");
                assert!(heard.contains("hangs"), "{heard}");
                return;
            }
        }
        panic!("nobody noticed");
    }

    #[test]
    fn looks_count_and_not_time() {
        let start = Instant::now();
        let mut stall = Stall { reported: start, looks: 0 };
        assert!(!stall.look(start, 3) && !stall.look(start, 3));
        let later = start + Duration::from_secs(3600);
        assert!(!stall.look(later, 3), "it reported");
        assert_eq!((0..9).find(|_| stall.look(later, 3)), Some(2));
    }
}
