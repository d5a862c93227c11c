//! What this instance sends, counted, and told to whoever shows the fleet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strata_service::producers::{self, BEAT, Producer, Sent};
use strata_service::redis::Connection;
use strata_streams::{STREAMS, StreamDef};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Beats that a rate is taken over: requests come in bursts.
const WINDOW: usize = 5;

/// Records of one stream since the start.
pub type Counter = Arc<AtomicU64>;

/// The counters of all streams.
#[derive(Debug, Clone)]
pub struct Counters(BTreeMap<&'static str, Counter>);

impl Default for Counters {
    /// Nothing is sent yet.
    fn default() -> Self {
        Self(STREAMS.iter().map(|stream| (stream.spec.name, Counter::default())).collect())
    }
}

impl Counters {
    /// The counter of a stream.
    pub fn of(&self, stream: &StreamDef) -> Counter {
        self.0.get(stream.spec.name).cloned().unwrap_or_default()
    }

    fn totals(&self) -> Totals {
        self.0.iter().map(|(name, records)| (*name, records.load(Ordering::Relaxed))).collect()
    }

    /// Tells of them until the service stops; a Redis that is down hears of it later.
    pub async fn announce(
        self,
        mut redis: Connection,
        prefix: String,
        instance: String,
        stop: CancellationToken,
    ) {
        if let Err(e) = producers::forget_gone(&mut redis, &prefix).await {
            tracing::debug!(error = %e, "producers that are gone are not forgotten");
        }
        let mut beats = VecDeque::from([(Instant::now(), self.totals())]);
        let mut tick = interval(BEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let (now, totals) = (Instant::now(), self.totals());
            let streams = match beats.front() {
                Some((since, before)) => rates(before, &totals, (now - *since).as_secs_f64()),
                None => BTreeMap::new(),
            };
            beats.push_back((now, totals));
            if beats.len() > WINDOW {
                beats.pop_front();
            }
            let producer = Producer { instance: instance.clone(), streams };
            if let Err(e) = producers::announce(&mut redis, &prefix, &producer).await {
                tracing::debug!(error = %e, "redis does not hear what is sent");
            }
        }
    }
}

/// Records by stream.
type Totals = BTreeMap<&'static str, u64>;

/// The streams that something was sent of, with what was sent in so many seconds.
fn rates(before: &Totals, now: &Totals, seconds: f64) -> BTreeMap<String, Sent> {
    let rate = |name: &str, records: u64| {
        let new = records - before.get(name).copied().unwrap_or_default();
        if seconds > 0.0 { new as f64 / seconds } else { 0.0 }
    };
    let sent = now.iter().filter(|(_, records)| **records > 0);
    let sent =
        sent.map(|(name, &records)| ((*name).to_owned(), Sent { records, per_second: rate(name, records) }));
    sent.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_by_the_time_between_and_nothing_is_said_of_a_stream_that_is_not_sent() {
        let (before, now) = (Totals::from([("a", 10), ("b", 0)]), Totals::from([("a", 30), ("b", 0)]));
        let sent = Sent { records: 30, per_second: 10.0 };
        assert_eq!(rates(&before, &now, 2.0), BTreeMap::from([("a".to_owned(), sent)]));
        assert_eq!(rates(&now, &now, 0.0)["a"].per_second, 0.0);
    }
}
