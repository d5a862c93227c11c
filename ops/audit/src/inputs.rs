//! What Kafka holds of the fleet's inputs against the raw layer: events in are events stored or dead letters.
//!
//! Every record that Kafka still holds below stg's offset is either a dead letter at its coordinates, with the
//! body of the record, or its event is staged: where events come in versions the newest, so one that was sent no
//! earlier than the record's; what an older version said is in the vault, too. And every dead letter whose coordinates
//! Kafka still holds is such a record.
//! Records that Kafka has deleted, and those above the offset, are not looked at.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strata_events::StageId;
use strata_observe::{Fleet, Ranges, read_ranges};
use strata_pipeline::Record;
use strata_streams::StreamDef;
use strata_vault::hub_key;
use strata_vault::rows::Load;
use uuid::Uuid;

use super::claims::Claim;
use super::dead_letters::{DeadLetter, fingerprint};
use super::identity::{describe, identity};
use super::ordered::{Ordered, Sorter};
use super::report::Check;
use super::shape::{Shape, Subject};
use super::snapshot::Snapshot;

/// What became of a record's event in the raw layer.
enum Fate {
    /// It is the stored one.
    Stored,
    /// It says what was said before, or after it.
    Superseded,
    /// It should be there; in words.
    Missing(String),
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct At {
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
}

/// What is kept of a record until its event is looked at.
#[derive(Serialize, Deserialize)]
struct Kept {
    at: At,
    id: String,
    /// When this version was sent, and what the vault must have of it; none where events have no versions.
    version: Option<(DateTime<Utc>, Vec<Claim>)>,
}

/// The records of a stream that Kafka holds below stg's offsets.
pub struct Inputs<'a> {
    stream: &'static StreamDef,
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
    /// Reads the records; those that are no dead letters come in the order of their events' keys.
    pub fn read(
        snapshot: &'a Snapshot<'_>,
        fleet: &Fleet,
        stream: &'static StreamDef,
    ) -> anyhow::Result<(Self, Ordered)> {
        let topic = snapshot.settings.topics.name(stream.spec.topic(StageId::Stg));
        let one = stream.words.one;
        let mut inputs = Self {
            stream,
            topic,
            check: Check::new(format!("Kafka → stg: every {one} read is staged or a dead letter")),
            remembered_ms: (Utc::now() - snapshot.settings.keep_settled).timestamp_millis(),
            stored: 0,
            superseded: 0,
            refused: 0,
            forgotten: 0,
        };
        let ranges = held(snapshot, fleet, topic)?;
        let mut refused = dead_letters_of(snapshot, topic);
        let (mut sorter, shape) = (snapshot.source.sorter(), Shape::of(stream));
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
            } else if !keep(&shape, &record, at, &mut sorter)? {
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
        if dead_letter.body != fingerprint(&record.kept()) {
            let (id, topic, partition, offset) =
                (dead_letter.id, self.topic, record.partition, record.offset);
            self.check.differs(|| {
                format!("ops.dead_letters: {id} holds another body than {topic}/{partition}/{offset}")
            });
        }
    }

    /// Compares the records of an event with what is staged and with its vault; `staged` is when the staged version was
    /// sent.
    pub fn compare(
        &mut self,
        rows: &mut Ordered,
        key: Uuid,
        staged: Option<DateTime<Utc>>,
        excused: &HashSet<Uuid>,
        (shape, found): (&Shape, &Subject),
    ) -> anyhow::Result<()> {
        let mut is_first = true;
        rows.rows(key, |row| {
            let Kept { at, id, version } = row.json()?;
            let described = describe(self.stream, &id);
            let fate = match (staged, version) {
                (None, _) => Fate::Missing(format!("is of {described}, which is not staged")),
                (Some(_), None) if std::mem::take(&mut is_first) => Fate::Stored,
                (Some(_), None) => Fate::Superseded,
                (Some(staged), Some((sent, _))) if staged == sent => Fate::Stored,
                (Some(staged), Some((sent, _))) if staged < sent => {
                    Fate::Missing(format!("is newer than {described} in {}", self.stream.raw.table))
                }
                (Some(_), Some(_)) if excused.contains(&key) => Fate::Superseded,
                // The newest version is compared as it is staged.
                (Some(_), Some((_, claims))) => match &shape.missing(&claims, found)[..] {
                    [] => Fate::Superseded,
                    missing => {
                        Fate::Missing(format!("is an older version of {described}: {}", missing.join("; ")))
                    }
                },
            };
            self.judge(at, fate);
            Ok(())
        })
    }

    /// Notes what became of a record.
    fn judge(&mut self, at: At, fate: Fate) {
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

/// Keeps a record; false where it cannot be read.
fn keep(shape: &Shape, record: &Record, at: At, sorter: &mut Sorter) -> anyhow::Result<bool> {
    let (stream, start) = (shape.stream, record.start());
    let kept = match stream.raw.version {
        Some(version) => version(&record.payload).map(|version| {
            let load = Load::new(record.load_dt(), &start);
            let claims = shape.claims(&version.event.rows(&version.id, &load));
            // As Postgres keeps it.
            let sent = DateTime::from_timestamp_micros(version.sent.timestamp_micros());
            Kept { at, id: version.id, version: Some((sent.unwrap_or_default(), claims)) }
        }),
        None => {
            let id = identity(stream, StageId::Stg, record.event_id.as_deref(), &record.payload, &start);
            id.map(|id| Kept { at, id, version: None })
        }
    };
    match kept {
        Some(kept) => sorter.put(hub_key(&kept.id), &kept).map(|()| true),
        None => Ok(false),
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
