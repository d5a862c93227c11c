//! End-to-end latency: from the timestamp of an event, which every layer passes on, to the commit here.
//!
//! A histogram of its own, because it is the one measure taken of each record: counting is one addition.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::text;

/// Seconds from an event's timestamp to its commit in this layer, by stream.
pub const LATENCY: &str = "strata_event_latency_seconds";

/// Upper bounds of the buckets, in milliseconds.
const BOUNDS_MS: [u64; 16] =
    [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 3_600_000];

/// Histograms by stream.
static ALL: Mutex<Vec<(&'static str, Arc<Latency>)>> = Mutex::new(Vec::new());

/// The latencies of one stream.
#[derive(Debug, Default)]
pub struct Latency {
    /// By bucket; the last one has no bound.
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_ms: AtomicU64,
}

impl Latency {
    /// The histogram of a stream, shared by all who ask.
    pub fn of(stream: &'static str) -> Arc<Self> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = all.iter().find(|(name, _)| *name == stream) {
            return Arc::clone(known);
        }
        let latency = Arc::<Self>::default();
        all.push((stream, Arc::clone(&latency)));
        latency
    }

    /// Counts a batch, given by the ages of its records in milliseconds; clocks that differ make an age of 0.
    pub fn observe(&self, ages_ms: impl Iterator<Item = i64>) {
        let mut counts = [0_u64; BOUNDS_MS.len() + 1];
        let mut sum = 0_u64;
        for age in ages_ms {
            let age = u64::try_from(age).unwrap_or_default();
            counts[BOUNDS_MS.partition_point(|&bound| bound < age)] += 1;
            sum = sum.saturating_add(age);
        }
        for (total, count) in self.counts.iter().zip(counts) {
            if count > 0 {
                total.fetch_add(count, Ordering::Relaxed);
            }
        }
        self.sum_ms.fetch_add(sum, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, stream: &'static str) {
        let bucket = format!("{LATENCY}_bucket");
        let mut total = 0;
        for (index, count) in self.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            let bound = BOUNDS_MS.get(index).map_or("+Inf".to_owned(), |&ms| seconds(ms).to_string());
            text::sample(text, &bucket, &[("stream", &stream), ("le", &bound)], total as f64);
        }
        let sum = seconds(self.sum_ms.load(Ordering::Relaxed));
        text::sample(text, &format!("{LATENCY}_sum"), &[("stream", &stream)], sum);
        text::sample(text, &format!("{LATENCY}_count"), &[("stream", &stream)], total as f64);
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Writes the histograms of all streams.
pub(super) fn write(text: &mut String) {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    if all.is_empty() {
        return;
    }
    text::family(text, LATENCY, "histogram", "Seconds from an event's timestamp to its commit in this layer");
    for (stream, latency) in all.iter() {
        latency.write(text, stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_age_counts_in_its_bucket_and_all_above() {
        let latency = Latency::default();
        latency.observe([-5, 0, 1, 2, 250, 251, 4_000_000].into_iter());
        latency.observe(std::iter::once(1));
        let mut text = String::new();
        latency.write(&mut text, "order");
        let value = |series: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_default();
            line.trim().parse::<f64>().unwrap_or_else(|_| panic!("{series} in {text}"))
        };
        let bucket = |le: &str| value(&format!("{LATENCY}_bucket{{stream=\"order\",le=\"{le}\"}}"));
        for (le, count) in [
            ("0.001", 4.0),
            ("0.005", 5.0),
            ("0.1", 5.0),
            ("0.25", 6.0),
            ("0.5", 7.0),
            ("3600", 7.0),
            ("+Inf", 8.0),
        ] {
            assert_eq!(bucket(le), count, "{le}");
        }
        assert_eq!(value(&format!("{LATENCY}_count{{stream=\"order\"}}")), 8.0);
        assert_eq!(value(&format!("{LATENCY}_sum{{stream=\"order\"}}")), 4000.505);
    }
}
