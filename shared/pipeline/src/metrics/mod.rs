//! What the loop measures, by name.
//!
//! Nothing is measured per record but [`latency`], which counts in place: no allocation, no lock.

pub mod lag;
pub mod latency;
pub mod written;

use std::time::Instant;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Records by stream and outcome, one of `OUTCOMES`.
pub const EVENTS: &str = "strata_events_total";
/// What becomes of a record; `duplicate` was applied before, `parked` waits for reference data.
const OUTCOMES: [&str; 4] = ["applied", "duplicate", "parked", "dead_letter"];
/// Records per batch, by stream.
pub const BATCH_ROWS: &str = "strata_batch_rows";
/// Seconds from the first record of a batch to its commit and acknowledged outputs, by stream.
pub const BATCH_SECONDS: &str = "strata_batch_seconds";
/// Seconds of a batch by stream and phase, see [`Phases`].
pub const BATCH_PHASE_SECONDS: &str = "strata_batch_phase_seconds";
/// Dead letters by stream and reason.
pub const DEAD_LETTERS: &str = "strata_dead_letters_total";
/// Batches that had to be repeated, by stream and cause.
pub const RETRIES: &str = "strata_batch_retries_total";
/// Every cause of [`RETRIES`], so that each shows from the start.
pub const RETRY_CAUSES: [&str; 6] = ["data", "fenced", "kafka", "lost", "operator", "transient"];

/// Records that wait for reference data, by stream.
pub const PARKED: &str = "strata_parked_records";

fn describe() {
    describe_counter!(EVENTS, "Records by stream and outcome: applied, duplicate, parked or dead_letter");
    describe_counter!(DEAD_LETTERS, "Dead letters by stream and reason");
    describe_counter!(RETRIES, "Batches repeated, by stream and cause");
    describe_histogram!(BATCH_ROWS, Unit::Count, "Records per batch");
    describe_histogram!(BATCH_SECONDS, Unit::Seconds, "Batch duration, outputs acknowledged");
    describe_histogram!(BATCH_PHASE_SECONDS, Unit::Seconds, "Duration of one phase of a batch");
    describe_counter!(written::ROWS, "Rows that committed batches inserted or updated, by table");
    describe_gauge!(PARKED, "Records that wait for reference data, as the table has them");
}

/// Shows the counters of a stream from the start, so that the first increment is seen as one.
pub fn announce_stream(stream: &'static str) {
    describe();
    for outcome in OUTCOMES {
        metrics::counter!(EVENTS, "stream" => stream, "outcome" => outcome).increment(0);
    }
    for cause in RETRY_CAUSES {
        metrics::counter!(RETRIES, "stream" => stream, "cause" => cause).increment(0);
    }
}

/// Measures the phases of one batch, each from the end of the one before.
///
/// `decode` reads the records, `apply` fences and writes their rows, `commit` keeps outputs and offsets and
/// commits, `produce` waits until Kafka has the outputs.
pub struct Phases {
    stream: &'static str,
    since: Instant,
}

impl Phases {
    /// Starts the clock.
    pub fn start(stream: &'static str) -> Self {
        Self { stream, since: Instant::now() }
    }

    /// The phase ends here.
    pub fn end(&mut self, phase: &'static str) {
        let now = Instant::now();
        let took = now.duration_since(std::mem::replace(&mut self.since, now));
        metrics::histogram!(BATCH_PHASE_SECONDS, "stream" => self.stream, "phase" => phase)
            .record(took.as_secs_f64());
    }
}
