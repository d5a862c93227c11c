//! Records in and out, free of librdkafka's types.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rdkafka::Message;
use rdkafka::message::Headers;
use serde::{Deserialize, Serialize, Serializer};
use strata_events::schema_id::{self, Frame, SchemaId};
use strata_events::stream::dlq_topic;
use strata_events::{Origin, Reject, TIMES, event_id, origin, reject};

use crate::partitioner::partition_of;
use strata_service::trace::{self, TraceParent};

/// Largest record of the fleet's topics, in bytes.
pub const MAX_RECORD_BYTES: usize = 8 << 20;

/// A record as it was read.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Topic it was read from.
    pub topic: Arc<str>,
    /// Partition it was read from.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
    /// Key, where it has one.
    pub key: Option<Vec<u8>>,
    /// Body without its frame; empty for a tombstone.
    pub payload: Vec<u8>,
    /// What framed the body, where something did.
    pub frame: Option<Frame>,
    /// The schema that its header names, where one does.
    pub schema: Option<SchemaId>,
    /// The record it was made from, where it says so.
    pub origin: Option<Origin>,
    /// The record that started the event's way, where this is a replay or was made from one.
    pub replay_of: Option<Origin>,
    /// Identity of an event that has no business key, where it carries one.
    pub event_id: Option<String>,
    /// The request or span that it came from, where it carries one.
    pub traceparent: Option<TraceParent>,
    /// Why it must not be applied, where that is known before its body is read.
    pub refused: Option<Reject>,
    /// True when the stage before wrote it, as far as that can be told; see [`super::entrance`].
    pub is_ours: bool,
}

/// Kafka timestamps that are believed, Unix milliseconds.
const TIMES_MS: std::ops::Range<i64> = TIMES.start * 1000..TIMES.end * 1000;

impl Record {
    /// Copies a message out of librdkafka's buffers.
    pub fn copy(topic: &Arc<str>, message: &impl Message) -> Self {
        let (frame, payload) = schema_id::split(message.payload().unwrap_or_default());
        let mut record = Self {
            topic: Arc::clone(topic),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
            key: message.key().map(<[u8]>::to_vec),
            payload: payload.to_vec(),
            frame,
            schema: None,
            origin: None,
            replay_of: None,
            event_id: None,
            traceparent: None,
            refused: None,
            is_ours: false,
        };
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            if header.key == schema_id::HEADER {
                record.schema = header.value.map(SchemaId::from_header);
                continue;
            }
            let Some(Ok(text)) = header.value.map(std::str::from_utf8) else { continue };
            match header.key {
                origin::HEADER => record.origin = text.parse().ok(),
                origin::REPLAY_OF_HEADER => record.replay_of = text.parse().ok(),
                event_id::EVENT_ID_HEADER => record.event_id = Some(text.to_owned()),
                reject::REFUSED_HEADER => record.refused = Some(Reject::from_header(text)),
                trace::HEADER => record.traceparent = text.parse().ok(),
                _ => {}
            }
        }
        record
    }

    /// Reads the body, unless the record is refused whatever that says: by its headers, or as `refuse_as`.
    ///
    /// **Errors**: why it cannot be used; suspicious where the stage before wrote what this one cannot read.
    pub fn read<'r, T>(
        &'r self,
        refuse_as: Option<&Reject>,
        decode: impl FnOnce(&'r Self) -> Result<T, Reject>,
    ) -> Result<T, Reject> {
        if let Some(reject) = self.refused.as_ref().or(refuse_as) {
            return Err(reject.clone());
        }
        decode(self).map_err(|reject| if self.is_ours { reject.suspicious() } else { reject })
    }

    /// Refuses the record where its Kafka timestamp cannot be a moment of the vault's time.
    pub fn check_time(&mut self) {
        if self.refused.is_none() && self.implausible_timestamp().is_some() {
            let detail =
                format!("the Kafka timestamp lies outside the years 2000 to 2099: {} ms", self.timestamp_ms);
            self.refused = Some(Reject::new("timestamp_out_of_range", detail));
        }
    }

    /// The Kafka timestamp where it is not to be believed.
    pub fn implausible_timestamp(&self) -> Option<i64> {
        (!TIMES_MS.contains(&self.timestamp_ms)).then_some(self.timestamp_ms)
    }

    /// The Kafka timestamp, or the nearest one that every store can hold.
    pub fn clamped_timestamp_ms(&self) -> i64 {
        self.timestamp_ms.clamp(TIMES_MS.start, TIMES_MS.end - 1)
    }

    /// The schema that it says it was written with: by its header, else by its frame.
    pub fn named_schema(&self) -> Option<SchemaId> {
        self.schema.or_else(|| self.frame.map(SchemaId::from_frame))
    }

    /// The value as it was read, for whoever keeps it.
    pub fn kept(&self) -> Cow<'_, [u8]> {
        match &self.frame {
            None => Cow::Borrowed(&self.payload),
            Some(frame) => Cow::Owned([frame, self.payload.as_slice()].concat()),
        }
    }

    /// The coordinates of this record, as its outputs carry them.
    pub fn coordinates(&self) -> Origin {
        Origin { topic: Arc::clone(&self.topic), partition: self.partition, offset: self.offset }
    }

    /// What this record is applied as: its `origin`, or itself where it was sent by hand.
    pub fn source(&self) -> Origin {
        self.origin.clone().unwrap_or_else(|| self.coordinates())
    }

    /// The record that started this one's way, replays left aside: its place in the vault's time.
    pub fn start(&self) -> Origin {
        self.replay_of.clone().unwrap_or_else(|| self.source())
    }

    /// The number of the replay that this record is, where it is one of its own topic's dead letters.
    pub fn replay_seq(&self) -> Option<i64> {
        let origin = self.origin.as_ref()?;
        (*origin.topic == *dlq_topic(&self.topic)).then_some(origin.offset)
    }

    /// Forgets what the record says it was made from, as stages do with records of whoever is not one of them.
    pub fn forget_origin(&mut self) {
        self.origin = None;
        self.replay_of = None;
    }

    /// The Kafka timestamp as the vault's `load_dt`.
    pub fn load_dt(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.timestamp_ms).unwrap_or_default()
    }
}

/// Headers of a record to be sent, in order.
pub type OutputHeaders = Vec<(Cow<'static, str>, String)>;

/// A record to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Topic it goes to.
    pub topic: Arc<str>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Body.
    #[serde(serialize_with = "as_bytes")]
    pub payload: Vec<u8>,
    /// Kafka timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
    /// Headers in order.
    pub headers: OutputHeaders,
    /// Partition it goes to, at every attempt; none before that is decided: the key decides.
    pub partition: Option<i32>,
}

/// As one piece: the same bytes as a list of numbers makes, without a call for each.
fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

impl Output {
    /// An output made from `input`: keeps its timestamp and its place in a trace, and names it as the origin.
    pub fn from_input(input: &Record, topic: &Arc<str>, key: Vec<u8>, payload: Vec<u8>) -> Self {
        let mut headers = Vec::with_capacity(2);
        headers.push((origin::HEADER.into(), input.coordinates().to_string()));
        if let Some(start) = &input.replay_of {
            headers.push((origin::REPLAY_OF_HEADER.into(), start.to_string()));
        }
        if let Some(at) = input.traceparent {
            headers.push((trace::HEADER.into(), at.to_string()));
        }
        let (topic, timestamp_ms) = (Arc::clone(topic), input.timestamp_ms);
        Self { topic, key: Some(key), payload, timestamp_ms, headers, partition: None }
    }

    /// The partition that was decided, else the one among `count` that the key chooses; the body where there is
    /// no key, so that it may be any.
    pub fn partition_among(&self, count: i32) -> i32 {
        let chosen_by = || partition_of(self.key.as_deref().unwrap_or(&self.payload), count);
        self.partition.unwrap_or_else(chosen_by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_of_another_century_is_refused_and_can_be_kept() {
        for (timestamp_ms, kept) in [
            (i64::MIN, 946_684_800_000),
            (-9_000_000_000_000_000_000, 946_684_800_000),
            (0, 946_684_800_000),
            (946_684_799_999, 946_684_800_000),
            (4_102_444_800_000, 4_102_444_799_999),
            (i64::MAX, 4_102_444_799_999),
        ] {
            let mut record = Record { timestamp_ms, ..Record::default() };
            record.check_time();
            let code = record.refused.as_ref().map(|reject| reject.code);
            assert_eq!(code, Some("timestamp_out_of_range"), "{timestamp_ms}");
            assert_eq!(
                (record.clamped_timestamp_ms(), record.implausible_timestamp()),
                (kept, Some(timestamp_ms))
            );
        }
        for timestamp_ms in [946_684_800_000, 1_740_214_574_049, 4_102_444_799_999] {
            let mut record = Record { timestamp_ms, ..Record::default() };
            record.check_time();
            assert!(record.refused.is_none() && record.implausible_timestamp().is_none(), "{timestamp_ms}");
            assert_eq!(record.clamped_timestamp_ms(), timestamp_ms);
        }
    }
}
