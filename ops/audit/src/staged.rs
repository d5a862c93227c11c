//! The raw layer against the vault: what is staged has arrived, and what has arrived is staged.
//!
//! stg commits an event and its output together, dds applies it later. In flight are the events of the outputs that stg
//! has kept and of the records that dds has not read, as far as their inputs lie below stg's offset in the snapshot. An
//! event that dds refused is a dead letter. Every other event must be in both layers, or in none.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strata_events::event_id::EVENT_ID_HEADER;
use strata_events::stream::dlq_topic;
use strata_events::{Origin, StageId};
use strata_observe::read_ranges;
use strata_streams::{RawRow, StreamDef};
use strata_vault::model::Parent;
use strata_vault::rows::Load;
use strata_vault::{LoadPosition, hub_key};
use uuid::Uuid;

use super::claims::Claim;
use super::copy::Row;
use super::identity::{describe, identity};
use super::ordered::Ordered;
use super::outputs::{header, origin_of};
use super::report::Check;
use super::shape::{Shape, Subject};
use super::snapshot::Snapshot;
use super::tables::{Place, Places};

/// The raw layer against the vault.
pub struct Staged {
    stream: &'static StreamDef,
    /// Keys of events that dds need not have as stg has them.
    pub excused: HashSet<Uuid>,
    /// What is worth knowing besides.
    notes: Vec<String>,
    there: Check,
    versions: Check,
    /// Where events come in versions.
    in_force: Option<Check>,
    back: Check,
    positions: Check,
    /// Events of which stg and dds hold different records.
    others: u64,
}

/// What is kept of a staged event until it is looked at.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: String,
    /// Partition and offset of its record; none in rows that are older than the columns.
    place: Option<(i32, i64)>,
    /// When it was sent, and when its record reached Kafka, microseconds.
    times: (i64, i64),
    /// What the vault must have of it, or what is wrong with the row by itself.
    claims: Result<Vec<Claim>, String>,
}

impl Staged {
    /// Reads the raw layer; the rows come in the order of the events' keys.
    pub fn read(snapshot: &Snapshot<'_>, stream: &'static StreamDef) -> anyhow::Result<(Self, Ordered)> {
        let (raw, stg_topic) = (&stream.raw, snapshot.settings.topics.name(stream.spec.topic(StageId::Stg)));
        let mut staged = Self::excusing(snapshot, stream)?;
        let (places, shape) =
            (Places::new(snapshot, &[(StageId::Stg.as_str(), stg_topic)]), Shape::of(stream));
        let load =
            Load::new(DateTime::UNIX_EPOCH, &Origin { topic: stg_topic.into(), partition: 0, offset: 0 });
        let mut sorter = snapshot.source.sorter();
        snapshot.source.all(&format!("select {} from {}", raw.columns(), raw.table), |row| {
            let (id, loaded, place) = (row.text(0)?.to_owned(), row.micros(2)?, place(row)?);
            if let (Some(topic), Some(place)) = (row.optional_text(3)?, place) {
                let name = || format!("{}: {}", raw.table, describe(stream, &id));
                places.check(&mut staged.positions, topic, place, loaded, name);
            }
            let sent = row.micros(1)?;
            let read = RawRow {
                id,
                sent: DateTime::from_timestamp_micros(sent).unwrap_or_default(),
                payload: row.text(6)?.to_owned(),
                said: row.texts(7)?.into_iter().map(str::to_owned).collect(),
            };
            let claims = (raw.read)(&read).map(|event| shape.claims(&event.rows(&read.id, &load)));
            sorter.put(hub_key(&read.id), &Kept { id: read.id, place, times: (sent, loaded), claims })
        })?;
        Ok((staged, sorter.sorted()?))
    }

    /// Starts the checks, with what dds need not have.
    fn excusing(snapshot: &Snapshot<'_>, stream: &'static StreamDef) -> anyhow::Result<Self> {
        let (one, many, compared) = (stream.words.one, stream.words.many, stream.raw.compared);
        let [stg_topic, dds_topic] =
            [StageId::Stg, StageId::Dds].map(|stage| snapshot.settings.topics.name(stream.spec.topic(stage)));
        let in_flight = in_flight(snapshot, stream, [stg_topic, dds_topic])?;
        let refused = refused(snapshot, stream, dds_topic);
        let mut notes = Vec::new();
        if !in_flight.is_empty() {
            notes.push(format!("{} are on their way from stg to dds", stream.named(in_flight.len())));
        }
        if !refused.is_empty() {
            let refused = stream.named(refused.len());
            notes.push(format!("{refused} are dead letters of dds and need not be in the vault"));
        }
        let versions = stream.raw.version.is_some();
        let staged = if versions { "versions" } else { "rows" };
        Ok(Self {
            stream,
            excused: &in_flight | &refused,
            notes,
            there: Check::new(format!("stg → dds: every {one} has arrived")),
            versions: Check::new(format!("stg → dds: {compared} of every {one}")),
            in_force: versions.then(|| {
                Check::new(format!(
                    "stg → dds: the version in force of every {one} is the one that was sent last"
                ))
            }),
            back: Check::new(format!("dds → stg: every {one} is staged")),
            positions: Check::new(format!("stg {many}: {staged} came from records below the offsets")),
            others: 0,
        })
    }

    /// Compares what is staged of an event with its vault; gives when it was sent, where it is staged.
    pub fn compare(
        &mut self,
        rows: &mut Ordered,
        key: Uuid,
        found: &Subject,
        shape: &Shape,
    ) -> anyhow::Result<Option<DateTime<Utc>>> {
        let (mut sent, raw, table) = (None, self.stream.raw.table, shape.subject.table());
        rows.rows(key, |row| {
            let kept: Kept = row.json()?;
            sent = DateTime::from_timestamp_micros(kept.times.0);
            self.there.compared += 1;
            // Of an event that comes in versions dds may have others.
            let is_excused = self.excused.contains(&key);
            match found.id {
                Some(_) if is_excused && self.in_force.is_some() => {}
                Some(_) => self.arrived(&kept, found, shape),
                None if is_excused => {}
                None => self
                    .there
                    .differs(|| format!("{raw}: {} is not in {table}", describe(self.stream, &kept.id))),
            }
            Ok(())
        })?;
        if let Some(id) = &found.id {
            self.back.compared += 1;
            // Records that were written to the topic of dds by hand never were in stg.
            if sent.is_none() && !found.by_hand {
                self.back.differs(|| format!("{table}: {} is not in {raw}", describe(self.stream, id)));
            }
        }
        Ok(sent)
    }

    fn arrived(&mut self, kept: &Kept, found: &Subject, shape: &Shape) {
        self.versions.compared += 1;
        let staged = || format!("{}: {}", self.stream.raw.table, describe(self.stream, &kept.id));
        let claims = match &kept.claims {
            Ok(claims) => claims,
            Err(why) => return self.versions.differs(|| format!("{} {why}", staged())),
        };
        // Of an event that came more than once each layer keeps the first record that it saw: another one's content
        // says nothing about the vault.
        if matches!(shape.subject, Parent::Link(_)) && !kept.is_of(found) {
            self.others += 1;
            return;
        }
        let missing = shape.missing(claims, found);
        if !missing.is_empty() {
            self.versions.differs(|| format!("{} {}", staged(), missing.join("; ")));
        }
        if let Some(in_force) = &mut self.in_force {
            in_force.compared += 1;
            for what in shape.superseded(claims, found, kept.in_time()) {
                in_force.differs(|| format!("{} {what}", staged()));
            }
        }
    }

    /// What is worth knowing besides.
    pub fn notes(&self) -> Vec<String> {
        let others = (self.others > 0).then(|| {
            let others = self.stream.named(self.others);
            format!("{others} came more than once, and stg and dds hold different records of them")
        });
        self.notes.iter().cloned().chain(others).collect()
    }

    /// What was found.
    pub fn checks(self) -> impl Iterator<Item = Check> {
        [self.there, self.versions].into_iter().chain(self.in_force).chain([self.back, self.positions])
    }
}

impl Kept {
    /// True where the vault's event was made of the same record.
    fn is_of(&self, found: &Subject) -> bool {
        let version = found.satellites.iter().flatten().next();
        match self.place.zip(version) {
            Some((place, version)) => LoadPosition::source(version.load_seq) == place,
            None => found.load_dt == self.times.1,
        }
    }

    /// Its place among the versions; rows that are older than the columns stand behind all that were sent with them.
    fn in_time(&self) -> Place {
        let (sent, loaded) = self.times;
        let Some((partition, offset)) = self.place else { return (sent, i64::MAX, i64::MAX) };
        let load_dt = DateTime::from_timestamp_micros(loaded).unwrap_or_default();
        (sent, loaded, LoadPosition::new(load_dt, partition, offset).load_seq)
    }
}

/// Partition and offset of the record that a row came with; none in rows that are older than the columns.
fn place(row: &Row<'_>) -> anyhow::Result<Option<(i32, i64)>> {
    let place = row.optional_bigint(4)?.zip(row.optional_bigint(5)?);
    place.map(|(partition, offset)| anyhow::Ok((i32::try_from(partition)?, offset))).transpose()
}

/// Keys of the events that stg has and dds need not have yet.
fn in_flight(
    snapshot: &Snapshot<'_>,
    stream: &StreamDef,
    [stg_topic, dds_topic]: [&str; 2],
) -> anyhow::Result<HashSet<Uuid>> {
    let mut keys = HashSet::new();
    let (read, replays) = (snapshot.offsets_of(StageId::Stg.as_str(), stg_topic), dlq_topic(dds_topic));
    let is_staged = |origin: &Origin| {
        *origin.topic == *replays
            || (*origin.topic == *stg_topic
                && read.get(&origin.partition).is_some_and(|next| origin.offset < *next))
    };
    let key = |event_id: Option<&str>, body: &[u8], start: &Origin| {
        identity(stream, StageId::Dds, event_id, body, start).map(|id| hub_key(&id))
    };
    let unread = snapshot.unread(StageId::Dds.as_str(), dds_topic);
    read_ranges(&snapshot.settings.kafka, dds_topic, &unread, |record| {
        if record.origin.as_ref().is_some_and(is_staged) {
            keys.extend(key(record.event_id.as_deref(), &record.payload, &record.start()));
        }
        Ok(())
    })?;
    for output in snapshot.kept_for(StageId::Stg.as_str(), stg_topic, dds_topic) {
        if let Some(origin) = origin_of(output) {
            keys.extend(key(header(output, EVENT_ID_HEADER), &output.payload, &origin));
        }
    }
    Ok(keys)
}

/// Keys of the events that dds refused and that were not replayed since.
fn refused(snapshot: &Snapshot<'_>, stream: &StreamDef, dds_topic: &str) -> HashSet<Uuid> {
    let refused = snapshot.dead_letters.iter().filter(|dead_letter| {
        dead_letter.stage == StageId::Dds.as_str()
            && dead_letter.topic == dds_topic
            && dead_letter.status != "replayed"
    });
    let ids = refused.filter_map(|dead_letter| {
        let (event_id, start) = (dead_letter.event_id.as_deref(), dead_letter.start()?);
        identity(stream, StageId::Dds, event_id, &dead_letter.payload, &start)
    });
    ids.map(|id| hub_key(&id)).collect()
}
