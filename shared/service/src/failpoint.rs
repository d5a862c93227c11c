//! Named windows of the loop in which a test can have the process die, stop, sleep or fail.
//!
//! `STRATA_FAILPOINT=after_commit:kill:3` acts on the third passage of that window. The whole of it is
//! left out of release binaries; see docs/TESTING.md for the windows and the test of each.

/// The failure that a test asked for.
#[derive(Debug, thiserror::Error)]
#[error("a failpoint")]
pub struct Failed;

/// The windows: those of a batch, in the order in which it passes them; those whose `error` makes the loop's first
/// partition bring nothing any more, its consumer leave the group, the producer take no acknowledgement any
/// more, and the producer be told no partitions any more; those of `strata rebuild` and of `strata dlq replay`.
pub const WINDOWS: [&str; 15] = [
    "after_fetch",
    "in_copy",
    "in_transaction",
    "after_commit",
    "after_send",
    "after_ack",
    "silent_partition",
    "forgotten_consumer",
    "deaf_producer",
    "untold_partitions",
    "rebuild_in_transaction",
    "rebuild_committed",
    "rebuild_before_swap",
    "replay_numbered",
    "replay_sent",
];

/// Passes a window; without the variable, and in release binaries, nothing happens.
///
/// **Errors**: the failure that the action `error` asks for.
#[cfg(not(debug_assertions))]
#[inline]
pub fn pass(_window: &str) -> Result<(), Failed> {
    Ok(())
}

#[cfg(debug_assertions)]
pub use armed::{pass, stall_after};

/// After how long a loop counts as hanging; a test may have less patience, a release binary has none of this.
#[cfg(not(debug_assertions))]
#[inline]
pub fn stall_after(usual: std::time::Duration) -> std::time::Duration {
    usual
}

#[cfg(debug_assertions)]
mod armed {
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::{Failed, WINDOWS};

    /// What happens in the window.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        /// Ends the process at once, nothing is cleaned up.
        Kill,
        /// SIGSTOP: the process hangs until somebody continues it.
        Stop,
        /// Blocks the loop this long.
        Sleep(Duration),
        /// Fails as if a dependency had.
        Error,
    }

    /// One window, what happens there, and on which passage.
    #[derive(Debug, PartialEq, Eq)]
    struct Failpoint {
        window: &'static str,
        action: Action,
        passage: u64,
    }

    /// `window:action[:passage]`, where sleeping is `window:sleep:MS[:passage]`.
    fn parse(text: &str) -> Option<Failpoint> {
        let mut parts = text.split(':');
        let name = parts.next()?;
        let window = WINDOWS.into_iter().find(|window| *window == name)?;
        let action = match parts.next()? {
            "kill" => Action::Kill,
            "stop" => Action::Stop,
            "sleep" => Action::Sleep(Duration::from_millis(parts.next()?.parse().ok()?)),
            "error" => Action::Error,
            _ => return None,
        };
        let passage = parts.next().map_or(Some(1), |passage| passage.parse().ok())?;
        parts.next().is_none().then_some(Failpoint { window, action, passage })
    }

    /// After how long a loop counts as hanging: `STRATA_STALL_AFTER_MS`, where it is set.
    pub fn stall_after(usual: Duration) -> Duration {
        static CHOSEN: OnceLock<Option<Duration>> = OnceLock::new();
        let read = || Some(Duration::from_millis(std::env::var("STRATA_STALL_AFTER_MS").ok()?.parse().ok()?));
        CHOSEN.get_or_init(read).unwrap_or(usual)
    }

    fn chosen() -> Option<&'static Failpoint> {
        static CHOSEN: OnceLock<Option<Failpoint>> = OnceLock::new();
        let read = || {
            let text = std::env::var("STRATA_FAILPOINT").ok().filter(|text| !text.is_empty())?;
            let chosen = parse(&text);
            assert!(chosen.is_some(), "STRATA_FAILPOINT={text:?} is no failpoint");
            chosen
        };
        CHOSEN.get_or_init(read).as_ref()
    }

    /// Passes a window, acting when it is the chosen one and this is the chosen passage.
    ///
    /// **Errors**: the failure that the action `error` asks for.
    pub fn pass(window: &str) -> Result<(), Failed> {
        static PASSAGES: AtomicU64 = AtomicU64::new(0);
        let Some(chosen) = chosen().filter(|chosen| chosen.window == window) else { return Ok(()) };
        if PASSAGES.fetch_add(1, Ordering::Relaxed) + 1 != chosen.passage {
            return Ok(());
        }
        eprintln!("failpoint {window}: {:?}", chosen.action);
        match chosen.action {
            // SIGABRT: the one way to end at once without unsafe code, and the sign that it was here.
            Action::Kill => std::process::abort(),
            Action::Stop => {
                let own = std::process::id().to_string();
                drop(Command::new("kill").args(["-STOP", &own]).status());
            }
            Action::Sleep(time) => std::thread::sleep(time),
            Action::Error => return Err(Failed),
        }
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_failpoint_names_window_action_and_passage() {
            let point = |window, action, passage| Some(Failpoint { window, action, passage });
            assert_eq!(parse("after_commit:kill:3"), point("after_commit", Action::Kill, 3));
            assert_eq!(parse("after_ack:stop"), point("after_ack", Action::Stop, 1));
            let nap = Action::Sleep(Duration::from_millis(50));
            assert_eq!(parse("after_fetch:sleep:50:2"), point("after_fetch", nap, 2));
            for text in ["", "after_lunch:kill", "after_ack", "after_ack:kill:x", "after_ack:kill:1:1"] {
                assert_eq!(parse(text), None, "{text}");
            }
        }
    }
}
