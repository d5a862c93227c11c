//! Names of what this service counts.

use metrics::{counter, describe_counter};

/// Events by stream and outcome: `pushed`, `accepted` or `rejected`.
pub const EVENTS: &str = "data_source_events_total";

/// Tells the recorder what the numbers mean.
pub fn describe() {
    describe_counter!(EVENTS, "Events by stream and outcome: pushed, accepted or rejected");
}

/// Adds to [`EVENTS`].
pub fn count(stream: &'static str, outcome: &'static str, events: u64) {
    counter!(EVENTS, "stream" => stream, "outcome" => outcome).increment(events);
}
