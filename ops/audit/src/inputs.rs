//! What Kafka holds of the fleet's inputs against the raw layer: events in are events stored or dead letters.
//!
//! Every record that Kafka still holds below stg's offset is either a dead letter at its coordinates, with the
//! body of the record, or its event is staged: of an order the newest version, so one that was sent no
//! earlier than the record's; what an older version said is in the vault, too. And every dead letter whose coordinates Kafka still holds is such a record.
//! Records that Kafka has deleted, and those above the offset, are not looked at.

use std::collections::HashMap;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use strata_events::{StageId, StreamSpec};
use strata_observe::{Fleet, Ranges, read_ranges};
use strata_pipeline::Record;

use super::dead_letters::{DeadLetter, fingerprint};
use super::ordered::{Ordered, Sorter};
use super::report::Check;
use super::snapshot::Snapshot;

/// What became of a record's event in the raw layer.
pub enum Fate {
    /// It is the stored one.
    Stored,
    /// It says what was said before, or after it.
    Superseded,
    /// It should be there; in words.
    Missing(String),
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct At {
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
}

/// The records of a stream that Kafka holds below stg's offsets.
pub struct Inputs<'a> {
    topic: &'a str,
    check: Check,
    /// Since when dead letters are remembered.
    remembered_ms: i64,
    stored: u64,
    superseded: u64,
    refused: u64,
    forgotten: u64,
}

impl<'a> Inputs<'a> {
    /// Reads the records. Those that are no dead letters go to `keep`, which puts them into the sorter, or tells by
    /// `false` that they cannot be read.
    pub fn read(
        snapshot: &'a Snapshot<'_>,
        fleet: &Fleet,
        stream: &StreamSpec,
        kind: &str,
        keep: impl Fn(&Record, At, &mut Sorter) -> anyhow::Result<bool>,
    ) -> anyhow::Result<(Self, Ordered)> {
        let topic = snapshot.settings.topics.name(stream.topic(StageId::Stg));
        let mut inputs = Self {
            topic,
            check: Check::new(format!("Kafka → stg: every {kind} read is staged or a dead letter")),
            remembered_ms: (Utc::now() - snapshot.settings.keep_settled).timestamp_millis(),
            stored: 0,
            superseded: 0,
            refused: 0,
            forgotten: 0,
        };
        let ranges = held(snapshot, fleet, topic)?;
        let mut refused = dead_letters_of(snapshot, topic);
        let mut sorter = snapshot.source.sorter();
        let replays =
            snapshot.replays.get(&(StageId::Stg.as_str().to_owned(), topic.to_owned())).copied().unwrap_or(0);
        read_ranges(&snapshot.settings.kafka, topic, &ranges, |mut record| {
            inputs.check.compared += 1;
            if record.replay_seq().is_none_or(|seq| seq > replays) {
                record.forget_origin();
            }
            let Record { partition, offset, timestamp_ms, .. } = record;
            let at = At { partition, offset, timestamp_ms };
            if let Some(dead_letter) = refused.remove(&(partition, offset)) {
                inputs.refused(dead_letter, &record);
            } else if !keep(&record, at, &mut sorter)? {
                inputs.judge(at, Fate::Missing("cannot be read".to_owned()));
            }
            Ok(())
        })?;
        for ((partition, offset), dead_letter) in refused {
            if ranges.get(&partition).is_some_and(|(from, to)| (*from..*to).contains(&offset)) {
                let id = dead_letter.id;
                inputs.check.differs(|| {
                    format!(
                        "ops.dead_letters: {id} is {topic}/{partition}/{offset}, which Kafka has no record of"
                    )
                });
            }
        }
        Ok((inputs, sorter.sorted()?))
    }

    fn refused(&mut self, dead_letter: &DeadLetter, record: &Record) {
        self.refused += 1;
        if dead_letter.body != fingerprint(&record.payload) {
            let (id, topic, partition, offset) =
                (dead_letter.id, self.topic, record.partition, record.offset);
            self.check.differs(|| {
                format!("ops.dead_letters: {id} holds another body than {topic}/{partition}/{offset}")
            });
        }
    }

    /// Notes what became of a record.
    pub fn judge(&mut self, at: At, fate: Fate) {
        match fate {
            Fate::Stored => self.stored += 1,
            Fate::Superseded => self.superseded += 1,
            // Its dead letter, had it been one that was settled, would be removed by now.
            Fate::Missing(_) if at.timestamp_ms < self.remembered_ms => self.forgotten += 1,
            Fate::Missing(why) => {
                let (topic, At { partition, offset, .. }) = (self.topic, at);
                self.check.differs(|| format!("{topic}/{partition}/{offset} {why}, and is no dead letter"));
            }
        }
    }

    /// The outcome, and a note.
    pub fn finish(self) -> (Check, String) {
        let Self { topic, check, stored, superseded, refused, forgotten, .. } = self;
        let forgotten = match forgotten {
            0 => String::new(),
            n => format!(", {n} are neither, and older than dead letters are remembered"),
        };
        let again = match superseded {
            0 => String::new(),
            n => format!(", {n} are further records of the same events"),
        };
        let all = check.compared;
        let note = format!(
            "{topic}: of {all} records that Kafka holds below stg's offsets {stored} are stored{again}, {refused} are dead letters{forgotten}"
        );
        (check, note)
    }
}

/// Dead letters of stg by partition and offset.
fn dead_letters_of<'a>(snapshot: &'a Snapshot<'_>, topic: &str) -> HashMap<(i32, i64), &'a DeadLetter> {
    let own = snapshot.dead_letters.iter().filter(|dead_letter| {
        dead_letter.stage == StageId::Stg.as_str() && dead_letter.topic == topic && dead_letter.offset >= 0
    });
    own.map(|dead_letter| ((dead_letter.partition, dead_letter.offset), dead_letter)).collect()
}

/// What Kafka holds below stg's offsets now: retention may have deleted records since the snapshot.
fn held(snapshot: &Snapshot<'_>, fleet: &Fleet, topic: &str) -> anyhow::Result<Ranges> {
    let offsets = snapshot.offsets_of(StageId::Stg.as_str(), topic);
    let lows = fleet.watermarks(topic)?.into_iter();
    let edges = snapshot.edges.get(topic);
    let ranges = lows.filter_map(|(partition, low, _)| {
        let high = edges?.get(&partition)?.high;
        Some((partition, (low, offsets.get(&partition)?.min(&high).to_owned())))
    });
    Ok(ranges.collect())
}
