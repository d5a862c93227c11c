//! Pacing: so many events a second, evenly.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A sender this far behind its pace continues from now instead of catching up in one burst.
const MAX_LAG: Duration = Duration::from_millis(100);

/// Lets events pass one by one; those that fall into one tick of the timer pass together.
#[derive(Debug)]
pub struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
    /// One event each `gap`, the first one at once.
    pub fn new(gap: Duration) -> Self {
        Self { gap, next: Instant::now() }
    }

    /// Waits until the next event is due.
    pub async fn wait(&mut self) {
        let now = Instant::now();
        if self.next > now {
            sleep_until(self.next).await;
        } else if now - self.next > MAX_LAG {
            self.next = now;
        }
        self.next += self.gap;
    }
}
