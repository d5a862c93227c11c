//! A dead letter as the table has it.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

/// A row of `ops.dead_letters`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// Kind of event.
    pub stream: String,
    /// Layer that refused it.
    pub stage: String,
    /// Topic it was read from.
    pub topic: String,
    /// Partition it was read from.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka timestamp.
    pub record_dt: DateTime<Utc>,
    /// Key, where it has one.
    pub key: Option<Vec<u8>>,
    /// Body.
    pub payload: Vec<u8>,
    /// Code of the reason.
    pub reason: String,
    /// The reason in words.
    pub detail: String,
    /// JSON pointer to what breaks its schema; empty for the message itself.
    pub pointer: Option<String>,
    /// The rule of the schema that it breaks.
    pub rule: Option<String>,
    /// When the stage refused it.
    pub first_seen: DateTime<Utc>,
    /// How often the event was put through the stage.
    pub attempts: i32,
    /// open, parked, replaying, replayed or discarded.
    pub status: String,
    /// Its origin header.
    pub origin: Option<String>,
    /// The record that started the event's way, where its headers named one.
    pub source: Option<String>,
    /// Its `event_id` header.
    pub event_id: Option<String>,
    /// Number of its replay.
    pub replay_seq: Option<i64>,
    /// What a parked one waits for.
    pub waits_for: Option<Vec<String>>,
}

/// The columns of a [`DeadLetter`], of `ops.dead_letters as d`.
macro_rules! columns {
    () => {
        "d.id, d.stream, d.stage, d.topic, d.partition, d.\"offset\", d.record_dt, d.key, d.payload, d.reason, \
         d.detail, d.pointer, d.rule, d.first_seen, d.attempts, d.status, d.origin, d.source, d.event_id, d.replay_seq, d.waits_for"
    };
}
pub(super) use columns;

impl DeadLetter {
    /// Where it lies in Kafka, as an origin is written.
    pub fn coordinates(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }

    /// The record that started the event's way.
    pub fn start(&self) -> String {
        self.source.clone().or_else(|| self.origin.clone()).unwrap_or_else(|| self.coordinates())
    }

    /// What is known of it, key and payload aside, in an order for people.
    pub fn fields(&self) -> [(&'static str, Value); 19] {
        [
            ("id", json!(self.id)),
            ("status", json!(self.status)),
            ("stream", json!(self.stream)),
            ("stage", json!(self.stage)),
            ("topic", json!(self.topic)),
            ("partition", json!(self.partition)),
            ("offset", json!(self.offset)),
            ("record_dt", json!(rfc3339(self.record_dt))),
            ("reason", json!(self.reason)),
            ("detail", json!(self.detail)),
            ("pointer", json!(self.pointer)),
            ("rule", json!(self.rule)),
            ("waits_for", json!(self.waits_for)),
            ("first_seen", json!(rfc3339(self.first_seen))),
            ("attempts", json!(self.attempts)),
            ("origin", json!(self.origin)),
            ("source", json!(self.start())),
            ("event_id", json!(self.event_id)),
            ("replay_seq", json!(self.replay_seq)),
        ]
    }

    /// As JSON, without key and payload.
    pub fn summary(&self) -> Value {
        self.fields().into_iter().collect()
    }

    /// As JSON, with key and payload; what is no text is given in hexadecimal digits.
    pub fn full(&self) -> Value {
        let mut all = self.summary();
        for (name, bytes) in [("key", self.key.as_deref()), ("payload", Some(self.payload.as_slice()))] {
            match bytes.map(std::str::from_utf8) {
                Some(Ok(text)) => all[name] = json!(text),
                Some(Err(_)) => all[format!("{name}_hex")] = json!(bytes.map(hex)),
                None => all[name] = Value::Null,
            }
        }
        all
    }
}

/// A time to the second, UTC.
fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
