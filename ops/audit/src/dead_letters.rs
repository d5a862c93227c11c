//! Dead letters, as far as the checks look at them.

use std::hash::{DefaultHasher, Hasher as _};

use strata_events::{Origin, StageId, schema_id};

use super::ordered::Source;

/// A row of `ops.dead_letters`, as far as the checks look at it.
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// Layer that refused it.
    pub stage: String,
    /// Topic it was read from.
    pub topic: String,
    /// Partition it was read from.
    pub partition: i32,
    /// Offset; its number below zero where the topic was recreated since.
    pub offset: i64,
    /// Code of the reason.
    pub reason: String,
    /// open, replaying, replayed or discarded.
    pub status: String,
    /// Its origin header.
    pub origin: Option<String>,
    /// The record that started the event's way, where its headers named one.
    pub source: Option<String>,
    /// Its `event_id` header.
    pub event_id: Option<String>,
    /// Number of its replay.
    pub replay_seq: Option<i64>,
    /// Body, of dead letters of dds and cdm.
    pub payload: Vec<u8>,
    /// Fingerprint of the body.
    pub body: u64,
}

impl DeadLetter {
    /// The record that started the event's way.
    pub fn start(&self) -> Option<Origin> {
        match self.source.as_ref().or(self.origin.as_ref()) {
            Some(text) => text.parse().ok(),
            None => Some(Origin {
                topic: self.topic.as_str().into(),
                partition: self.partition,
                offset: self.offset,
            }),
        }
    }
}

/// Fingerprint of a body.
pub fn fingerprint(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}

/// Reads all of them.
pub fn read(source: &Source) -> anyhow::Result<Vec<DeadLetter>> {
    let mut refused = Vec::new();
    let select = "select id, stage, topic, partition::bigint, \"offset\", reason, status, origin, source, event_id, \
                  replay_seq, payload from ops.dead_letters";
    source.all(select, |row| {
        let text = |column| anyhow::Ok(row.text(column)?.to_owned());
        let optional = |column| anyhow::Ok(row.optional_text(column)?.map(str::to_owned));
        let (stage, payload) = (text(1)?, row.bytea(11)?);
        refused.push(DeadLetter {
            id: row.bigint(0)?,
            topic: text(2)?,
            partition: i32::try_from(row.bigint(3)?)?,
            offset: row.bigint(4)?,
            reason: text(5)?,
            status: text(6)?,
            origin: optional(7)?,
            source: optional(8)?,
            event_id: optional(9)?,
            replay_seq: row.optional_bigint(10)?,
            body: fingerprint(payload),
            payload: match stage == StageId::Stg.as_str() {
                true => Vec::new(),
                false => schema_id::split(payload).1.to_vec(),
            },
            stage,
        });
        Ok(())
    })?;
    Ok(refused)
}
