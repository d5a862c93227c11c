//! End-to-end latency: from the timestamp of an event, which every layer passes on, to the commit here.
//!
//! A histogram of its own, because it is the one measure taken of each record: counting is one addition.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use strata_service::metrics::text;

/// Seconds from an event's timestamp to its commit in this layer, by stream.
pub const LATENCY: &str = "strata_event_latency_seconds";

/// Upper bounds of the buckets, in milliseconds.
const BOUNDS_MS: [u64; 16] =
    [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 3_600_000];

/// Number of buckets; the last one has no bound.
pub const BUCKETS: usize = BOUNDS_MS.len() + 1;

/// Records by bucket.
pub type Counts = [u64; BUCKETS];

/// Histograms by stream.
static ALL: Mutex<Vec<(&'static str, Arc<Latency>)>> = Mutex::new(Vec::new());

/// The latencies of one stream.
#[derive(Debug, Default)]
pub struct Latency {
    counts: [AtomicU64; BUCKETS],
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
        let mut counts: Counts = [0; BUCKETS];
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

    /// Records by bucket since the process began.
    fn counts(&self) -> Counts {
        std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed))
    }

    fn write(&self, text: &mut String, stream: &'static str) {
        let bucket = format!("{LATENCY}_bucket");
        let mut total = 0;
        for (index, count) in self.counts().into_iter().enumerate() {
            total += count;
            let bound = BOUNDS_MS.get(index).map_or("+Inf".to_owned(), |&ms| seconds(ms).to_string());
            text::sample(text, &bucket, &[("stream", &stream), ("le", &bound)], total as f64);
        }
        let sum = seconds(self.sum_ms.load(Ordering::Relaxed));
        text::sample(text, &format!("{LATENCY}_sum"), &[("stream", &stream)], sum);
        text::sample(text, &format!("{LATENCY}_count"), &[("stream", &stream)], total as f64);
    }
}

/// The milliseconds that a share of the records stayed below, evenly spread within a bucket; none without any.
pub fn quantile(counts: &Counts, share: f64) -> Option<f64> {
    let rank = counts.iter().sum::<u64>() as f64 * share;
    let (mut below, mut from) = (0.0, 0.0);
    for (index, &count) in counts.iter().enumerate() {
        // Beyond the last bound nothing more is known than that.
        let to = BOUNDS_MS.get(index).map_or(from, |&bound| bound as f64);
        if count > 0 && below + count as f64 >= rank {
            return Some(from + (to - from) * (rank - below) / count as f64);
        }
        below += count as f64;
        from = to;
    }
    None
}

/// Reads the records of a stream by bucket from the text of `/metrics`; none where it does not show them.
pub fn read(text: &str, stream: &str) -> Option<Counts> {
    let series = format!("{LATENCY}_bucket{{stream=\"{stream}\",le=\"");
    let mut totals =
        text.lines().filter_map(|line| line.strip_prefix(&series)?.rsplit_once(' ')?.1.parse::<f64>().ok());
    let (mut counts, mut below): (Counts, u64) = ([0; BUCKETS], 0);
    for count in &mut counts {
        let total = totals.next()? as u64;
        *count = total.checked_sub(below)?;
        below = total;
    }
    Some(counts)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Writes the histograms of all streams.
pub(crate) fn write(text: &mut String) {
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
    fn a_quantile_lies_within_its_bucket() {
        let latency = Latency::default();
        assert_eq!(quantile(&latency.counts(), 0.5), None);
        latency.observe([20; 50].into_iter().chain([400; 50]));
        assert_eq!(quantile(&latency.counts(), 0.5), Some(25.0));
        assert_eq!(quantile(&latency.counts(), 0.25), Some(17.5));
        assert_eq!(quantile(&latency.counts(), 0.75), Some(375.0));
        latency.observe([9_000_000; 900].into_iter());
        assert_eq!(quantile(&latency.counts(), 0.99), Some(3_600_000.0));
    }

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
        assert_eq!(read(&text, "order"), Some(latency.counts()));
        assert_eq!(read(&text, "hotel_search"), None);
    }
}
