//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `condition` is `Ok` and returns what it found.
///
/// `Err` says what was seen instead. **Panics** at the deadline, with `what` never came and what was
/// seen last.
pub async fn eventually<T>(
    within: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + within;
    let mut seen = "nothing, the first look did not end".to_owned();
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(LOOK_EVERY);
        match tokio::time::timeout(left, condition()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(instead)) => seen = instead,
            Err(_) => {}
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}; last seen: {seen}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// `Ok` when the condition holds, else what was seen instead: for use within [`eventually`].
pub fn holds(condition: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(seen()) }
}
