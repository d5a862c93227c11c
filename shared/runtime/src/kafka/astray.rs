//! Notices that our clients get nothing out of Kafka though it answers a new one.
//!
//! A client can lose its way for good. A broker that comes back from a pause longer than its session with the
//! controller names no broker for a moment, not even itself. librdkafka (2.12) then drops the brokers it knows;
//! one that something still refers to is neither asked again nor replaced, and topics without a leader stay
//! unknown. Only a new client helps.

use std::time::{Duration, Instant};

use super::admin;
use crate::config::KafkaSettings;

/// A group gives partitions, and Kafka acknowledgements, within this beside twice the time that a group waits
/// for members that are gone.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest wait for the answer to a new client.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// How long Kafka has been of no use.
pub(super) struct Astray {
    settings: KafkaSettings,
    since: Option<Instant>,
}

impl Astray {
    pub fn new(settings: &KafkaSettings) -> Self {
        Self { settings: settings.clone(), since: None }
    }

    /// Kafka has been of use.
    pub fn is_over(&mut self) {
        self.since = None;
    }

    /// Kafka is of no use now; says whether that has lasted for long although it answers a new client.
    ///
    /// The time begins anew with every yes. Blocks the thread for up to two seconds.
    pub fn lasts(&mut self) -> bool {
        let patience = PATIENCE + 2 * Duration::from_millis(u64::from(self.settings.session_timeout_ms));
        let lasts = self.since.get_or_insert_with(Instant::now).elapsed() >= patience
            && admin::answers(&self.settings, ANSWERS_WITHIN);
        if lasts {
            self.since = None;
        }
        lasts
    }
}
