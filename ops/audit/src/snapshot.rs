//! One moment of Postgres, and what Kafka and Redis held around it.
//!
//! What Kafka holds only grows at its end and shrinks at its beginning. So the beginnings are asked before
//! the snapshot is taken and the ends after it: an offset of the snapshot lies between them, or is wrong.
//! Redis is read before the snapshot, so that the snapshot holds every search that the metrics have counted.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use strata_events::StageId;
use strata_observe::{Fleet, read_ranges};
use strata_pipeline::Output;
use strata_pipeline::watermark::OriginKey;
use strata_service::Settings;
use tokio::runtime::Handle;

use super::dead_letters::{self, DeadLetter};
use super::ordered::{Sorter, Source};
use super::outputs::{self, Kept};
use super::reader::Reader;
use super::redis::{Offsets, RedisMetrics};

/// A partition as Kafka holds it.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    /// First offset, before the snapshot.
    pub low: i64,
    /// The one after the last, after the snapshot.
    pub high: i64,
    /// Kafka time of the first record, in milliseconds, where there is one.
    pub begins: Option<i64>,
}

/// The moment that all checks look at.
pub struct Snapshot<'a> {
    /// Names of topics, and how servers are reached.
    pub settings: &'a Settings,
    /// Reads of this moment.
    pub source: Source,
    /// Next offsets by stage and topic, those of the metrics included.
    pub offsets: BTreeMap<(String, String), Offsets>,
    /// What Kafka held, by topic.
    pub edges: BTreeMap<String, BTreeMap<i32, Edge>>,
    /// Outputs that may not have been sent.
    pub kept: Vec<Kept>,
    /// All dead letters.
    pub dead_letters: Vec<DeadLetter>,
    /// Watermarks by stage and topic, those of the metrics included.
    watermarks: BTreeMap<(String, String), BTreeMap<OriginKey, i64>>,
    /// Last replay numbers by stage and topic.
    pub replays: BTreeMap<(String, String), i64>,
    /// Since when records of one event cannot have overtaken each other on their way to dds, by topics that partitions
    /// were added to.
    pub in_order_since: BTreeMap<String, DateTime<Utc>>,
    /// The metrics.
    pub redis: RedisMetrics,
}

impl<'a> Snapshot<'a> {
    /// Takes the snapshot; it lasts while the reader lives. The metrics of users go to the sorter.
    pub fn take(
        settings: &'a Settings,
        fleet: &Fleet,
        runtime: &Handle,
    ) -> anyhow::Result<(Self, Reader, Sorter)> {
        let topics: Vec<&str> = strata_streams::topics().map(|topic| settings.topics.name(topic)).collect();
        let before: Vec<_> = topics.iter().map(|topic| fleet.watermarks(topic)).collect::<Result<_, _>>()?;
        let (redis, users) = RedisMetrics::read(settings, runtime)?;
        let (mut reader, name) = Reader::export(runtime, &settings.postgres)?;
        let source = Source::new(runtime.clone(), settings.postgres.clone(), name);
        let edges = edges(settings, fleet, &topics, &before)?;
        let (mut offsets, mut watermarks) = (read_offsets(&mut reader)?, read_watermarks(&mut reader)?);
        let metrics = (StageId::Cdm.as_str().to_owned(), redis.topic().to_owned());
        offsets.insert(metrics.clone(), redis.position.offsets.clone());
        watermarks.insert(metrics, redis.position.watermarks.clone());
        let snapshot = Self {
            settings,
            offsets,
            edges,
            kept: outputs::read(&mut reader)?,
            dead_letters: dead_letters::read(&source)?,
            watermarks,
            replays: read_replays(&mut reader)?,
            in_order_since: in_order_since(&mut reader)?,
            redis,
            source,
        };
        Ok((snapshot, reader, users))
    }

    /// A moment at which Kafka and Redis were empty.
    #[cfg(test)]
    pub fn of_nothing(settings: &'a Settings, source: Source) -> Self {
        Self {
            settings,
            source,
            offsets: BTreeMap::new(),
            edges: BTreeMap::new(),
            kept: Vec::new(),
            dead_letters: Vec::new(),
            watermarks: BTreeMap::new(),
            replays: BTreeMap::new(),
            in_order_since: BTreeMap::new(),
            redis: RedisMetrics::default(),
        }
    }

    /// Where a stage stood.
    pub fn offsets_of(&self, stage: &str, topic: &str) -> Offsets {
        self.offsets.get(&(stage.to_owned(), topic.to_owned())).cloned().unwrap_or_default()
    }

    /// The watermarks of a stage in a topic.
    pub fn watermarks_of(&self, stage: &str, topic: &str) -> BTreeMap<OriginKey, i64> {
        self.watermarks.get(&(stage.to_owned(), topic.to_owned())).cloned().unwrap_or_default()
    }

    /// What a stage had still to read: from its offset to the end after the snapshot.
    pub fn unread(&self, stage: &str, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let offsets = self.offsets_of(stage, topic);
        let edges = self.edges.get(topic).into_iter().flatten();
        edges
            .map(|(&partition, edge)| {
                let next = offsets.get(&partition).copied().unwrap_or(edge.low);
                // What is lost is said by the check of the offsets.
                (partition, (next.max(edge.low), edge.high))
            })
            .collect()
    }

    /// Outputs that a stage keeps for a topic.
    pub fn kept_for(&self, stage: &str, read: &str, sent_to: &str) -> impl Iterator<Item = &Output> {
        let own = self.kept.iter().filter(move |kept| kept.stage == stage && kept.topic == read);
        own.flat_map(|kept| &kept.outputs).filter(move |output| *output.topic == *sent_to)
    }

    /// Partitions of a topic.
    pub fn partitions(&self, topic: &str) -> i32 {
        self.edges.get(topic).map_or(0, |edges| i32::try_from(edges.len()).unwrap_or(i32::MAX))
    }
}

/// What Kafka holds of each topic: side by side, for each takes a client of its own, which mostly waits.
fn edges(
    settings: &Settings,
    fleet: &Fleet,
    topics: &[&str],
    before: &[Vec<(i32, i64, i64)>],
) -> anyhow::Result<BTreeMap<String, BTreeMap<i32, Edge>>> {
    std::thread::scope(|scope| {
        let looks: Vec<_> = topics
            .iter()
            .zip(before)
            .map(|(&topic, before)| (topic, scope.spawn(move || look_around(settings, fleet, topic, before))))
            .collect();
        let edges = looks.into_iter().map(|(topic, look)| {
            let edges = look.join().map_err(|_| anyhow::anyhow!("the look at {topic} panicked"))??;
            Ok((topic.to_owned(), edges))
        });
        edges.collect()
    })
}

fn look_around(
    settings: &Settings,
    fleet: &Fleet,
    topic: &str,
    before: &[(i32, i64, i64)],
) -> anyhow::Result<BTreeMap<i32, Edge>> {
    let lows: BTreeMap<i32, i64> = before.iter().map(|&(p, low, _)| (p, low)).collect();
    let now = fleet.watermarks(topic)?;
    let firsts = now.iter().map(|&(p, low, high)| (p, (low, high.min(low + 1)))).collect();
    let mut begins = BTreeMap::new();
    read_ranges(&settings.kafka, topic, &firsts, |record| {
        begins.insert(record.partition, record.timestamp_ms);
        Ok(())
    })?;
    let edge = |(p, low, high)| {
        let low = lows.get(&p).copied().unwrap_or(low);
        (p, Edge { low, high, begins: begins.get(&p).copied() })
    };
    Ok(now.into_iter().map(edge).collect())
}

fn read_offsets(reader: &mut Reader) -> anyhow::Result<BTreeMap<(String, String), Offsets>> {
    let rows: Vec<(String, String, i32, i64)> = reader
        .rows(sqlx::query_as("select stage, topic, partition, next_offset from ops.consumer_offsets"))?;
    let mut offsets: BTreeMap<_, Offsets> = BTreeMap::new();
    for (stage, topic, partition, next) in rows {
        offsets.entry((stage, topic)).or_default().insert(partition, next);
    }
    Ok(offsets)
}

fn read_watermarks(
    reader: &mut Reader,
) -> anyhow::Result<BTreeMap<(String, String), BTreeMap<OriginKey, i64>>> {
    let rows: Vec<(String, String, i32, String, i32, i64)> = reader.rows(sqlx::query_as(
        "select stage, topic, partition, origin_topic, origin_partition, last_offset from ops.origin_watermarks",
    ))?;
    let mut watermarks: BTreeMap<_, BTreeMap<OriginKey, i64>> = BTreeMap::new();
    for (stage, topic, read, origin_topic, origin_partition, last) in rows {
        let key = (read, origin_topic.into(), origin_partition);
        watermarks.entry((stage, topic)).or_default().insert(key, last);
    }
    Ok(watermarks)
}

fn read_replays(reader: &mut Reader) -> anyhow::Result<BTreeMap<(String, String), i64>> {
    let rows: Vec<(String, String, i64)> =
        reader.rows(sqlx::query_as("select stage, topic, last_seq from ops.replay_sequences"))?;
    Ok(rows.into_iter().map(|(stage, topic, last)| ((stage, topic), last)).collect())
}

/// From when on all records of an event came by one partition of a topic of dds, where partitions were added to it.
///
/// What lay in the old partition then may be read after what was sent to the new one. A fleet that starts meets all
/// partitions within seconds; those that stg uses only a moment after dds has met them are the reason for the minute.
fn in_order_since(reader: &mut Reader) -> anyhow::Result<BTreeMap<String, DateTime<Utc>>> {
    let query = sqlx::query_as(
        "with dds as (select topic, since, min(since) over (partition by topic) as first \
         from ops.consumer_offsets where stage = $1) \
         select topic, max(since) + interval '1 minute' from dds where since > first + interval '20 seconds' \
         group by topic",
    );
    let rows: Vec<(String, DateTime<Utc>)> = reader.rows(query.bind(StageId::Dds.as_str()))?;
    Ok(rows.into_iter().collect())
}
