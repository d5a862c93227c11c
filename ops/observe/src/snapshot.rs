//! One moment of the fleet, in the shape that `strata status --json` prints and the dashboard receives.
//!
//! What could not be asked is null, never zero: Kafka down leaves `end` and `lag` null, a store down leaves
//! `applied` and `lag` null.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strata_service::producers::Producer;

use crate::members::Members;

/// The fleet at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was taken.
    pub at: DateTime<Utc>,
    /// True when every service and server is `ok`.
    pub healthy: bool,
    /// The four services in the order of the data's way.
    pub services: Vec<Part>,
    /// Postgres, Redis and Kafka, as they answered whoever took the snapshot.
    pub servers: Vec<Part>,
    /// Where every stage of every stream stands.
    pub streams: Vec<Stream>,
    /// The instances of data-source that run, and what each sends. Others may write to the topics, too.
    pub producers: Option<Vec<Producer>>,
    /// Rows by table, in the order of the layers.
    pub tables: Option<Vec<Table>>,
    /// Members of the hotel metrics in Redis.
    pub metrics: Option<Metrics>,
    /// Dead letters that nobody dealt with yet; empty when there are none.
    pub dead_letters: Option<Vec<DeadLetters>>,
    /// Records that wait for reference data and are taken up by themselves.
    pub parked: Option<i64>,
    /// What `strata reconcile` found last; null also where it never ran.
    pub reconcile: Option<Reconcile>,
}

/// A service or a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Name for people.
    pub name: String,
    /// How it does.
    pub state: State,
    /// What is wrong, in its own words or ours; null when nothing is.
    pub detail: Option<String>,
}

/// How a part does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It answers and can do its work.
    Ok,
    /// It answers, but cannot do its work.
    Unhealthy,
    /// It does not answer.
    Down,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Unhealthy => "unhealthy",
            Self::Down => "down",
        })
    }
}

/// One stream's way through the layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Name, as in requests and metrics.
    pub name: String,
    /// What people call one of its events.
    pub one: String,
    /// What they call several.
    pub many: String,
    /// Its stages in the order of the layers.
    pub stages: Vec<Stage>,
}

/// Where a stage stands in a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The layer.
    pub stage: String,
    /// The topic it reads.
    pub topic: String,
    /// What the records of the topic are, for people.
    pub records: String,
    /// Records applied since the topic began.
    pub applied: Option<i64>,
    /// Records in Kafka since the topic began.
    pub end: Option<i64>,
    /// Records still to be applied.
    pub lag: Option<i64>,
    /// Age of the oldest record still to be applied, in seconds; 0 when there is none.
    pub lag_seconds: Option<f64>,
    /// Records applied a second since the snapshot before; null in the first.
    pub applied_per_second: Option<f64>,
    /// Records that reached Kafka a second since the snapshot before; null in the first.
    pub arrived_per_second: Option<f64>,
    /// The same by partition.
    pub partitions: Vec<Partition>,
    /// The instances that read it; none while Kafka shares the partitions out.
    pub readers: Option<Vec<Reader>>,
}

/// An instance of a stage, as the reader of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// The instance: host and port; what Kafka knows of it where it does not say.
    pub instance: String,
    /// The partitions it reads; empty where there are more instances than partitions.
    pub partitions: Vec<i32>,
    /// Records of these that are still to be applied.
    pub lag: Option<i64>,
}

/// Where a stage stands in a partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// Offset that the stage reads next, as its store has it; the first in Kafka where it never read.
    pub next_offset: Option<i64>,
    /// Offset after the last record in Kafka.
    pub end: Option<i64>,
    /// Records between the two.
    pub lag: Option<i64>,
    /// Age of the record at `next_offset`, in seconds; 0 when there is none.
    pub lag_seconds: Option<f64>,
}

/// A table and its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Schema: the layer.
    pub layer: String,
    /// Name within the schema.
    pub name: String,
    /// Live rows.
    pub rows: i64,
    /// True when they were counted and nothing has moved since; else about so many, from the statistics.
    pub exact: bool,
}

/// Members of the hotel metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Users seen in searches.
    pub users: i64,
    /// Hotels seen in searches.
    pub hotels: i64,
    /// Advertisers seen in searches.
    pub advertisers: i64,
}

/// Open dead letters of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// Stream.
    pub stream: String,
    /// Stage that could not use them.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub open: i64,
}

/// A finished run of `strata reconcile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconcile {
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i64,
    /// Checks it made.
    pub checks: i32,
    /// Rows that differ; 0 means that all layers agree.
    pub differences: i64,
}

impl Part {
    /// A part that is well.
    pub fn ok(name: &str) -> Self {
        Self { name: name.to_owned(), state: State::Ok, detail: None }
    }

    /// A part that is not, and why.
    pub fn not_ok(name: &str, state: State, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state, detail: Some(detail.into()) }
    }
}

impl Stage {
    /// Sums partitions up; what one of them does not know, the stage does not know.
    pub fn of(stage: &str, topic: &str, records: &str, partitions: Vec<Partition>) -> Self {
        let sum = |of: fn(&Partition) -> Option<i64>| {
            let parts: Option<Vec<i64>> = partitions.iter().map(of).collect();
            parts.filter(|parts| !parts.is_empty()).map(|parts| parts.iter().sum())
        };
        let lag = sum(|partition| partition.lag);
        // The oldest of those that are known: one that could not be read in time hides no other.
        let oldest = partitions.iter().filter_map(|partition| partition.lag_seconds).reduce(f64::max);
        let known = lag == Some(0) || oldest.is_some_and(|seconds| seconds > 0.0);
        Self {
            stage: stage.to_owned(),
            topic: topic.to_owned(),
            records: records.to_owned(),
            applied: sum(|partition| partition.next_offset),
            end: sum(|partition| partition.end),
            lag,
            lag_seconds: oldest.filter(|_| known),
            applied_per_second: None,
            arrived_per_second: None,
            partitions,
            readers: None,
        }
    }

    /// Takes in who reads which partitions, by instance.
    pub(crate) fn read_by(&mut self, members: &Members) {
        let lag = |partition: &i32| self.partitions.iter().find(|known| known.partition == *partition)?.lag;
        let reader = |(instance, partitions): (&String, &Vec<i32>)| Reader {
            instance: instance.clone(),
            partitions: partitions.clone(),
            lag: partitions.iter().map(lag).sum(),
        };
        self.readers = Some(members.iter().map(reader).collect());
    }

    fn rate_since(&mut self, before: &Self, seconds: f64) {
        let rate = |now: Option<i64>, before: Option<i64>| {
            // Backwards is a stage that was set back or a topic that was recreated: no rate.
            let moved = now?.checked_sub(before?).filter(|moved| *moved >= 0)?;
            Some(moved as f64 / seconds)
        };
        self.applied_per_second = rate(self.applied, before.applied);
        self.arrived_per_second = rate(self.end, before.end);
    }
}

impl Snapshot {
    /// Fills in the rates since an earlier snapshot.
    pub fn rate_since(&mut self, before: &Self) {
        let seconds = (self.at - before.at).as_seconds_f64();
        if seconds <= 0.0 {
            return;
        }
        for stream in &mut self.streams {
            let Some(known) = before.streams.iter().find(|known| known.name == stream.name) else { continue };
            for stage in &mut stream.stages {
                if let Some(known) = known.stages.iter().find(|known| known.stage == stage.stage) {
                    stage.rate_since(known, seconds);
                }
            }
        }
    }

    /// Rows by table, in the order of the layers, then what Redis counts.
    pub fn rows(&self) -> Option<Vec<(String, i64)>> {
        let tables = self.tables.as_ref()?.iter();
        let tables = tables.map(|table| (format!("{}.{}", table.layer, table.name), table.rows));
        let metrics = self.metrics.iter().flat_map(|Metrics { users, hotels, advertisers }| {
            let counted = [("users", users), ("hotels", hotels), ("advertisers", advertisers)];
            counted.map(|(name, count)| (format!("metrics: {name}"), *count))
        });
        Some(tables.chain(metrics).collect())
    }

    /// Every stage with the name of its stream, in the order of the data's way.
    pub fn stages(&self) -> impl Iterator<Item = (&str, &Stage)> + Clone {
        self.streams.iter().flat_map(|stream| stream.stages.iter().map(|stage| (&*stream.name, stage)))
    }

    /// Parts that are not well.
    pub fn troubled(&self) -> impl Iterator<Item = &Part> {
        self.services.iter().chain(&self.servers).filter(|part| part.state != State::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32, next: Option<i64>, end: Option<i64>, seconds: Option<f64>) -> Partition {
        let lag = next.zip(end).map(|(next, end)| end - next);
        Partition { partition: number, next_offset: next, end, lag, lag_seconds: seconds }
    }

    fn snapshot(at_ms: i64, stage: Stage) -> Snapshot {
        Snapshot {
            at: DateTime::from_timestamp_millis(at_ms).expect("a time"),
            healthy: true,
            services: Vec::new(),
            servers: Vec::new(),
            streams: vec![Stream {
                name: "a".to_owned(),
                one: "event".to_owned(),
                many: "events".to_owned(),
                stages: vec![stage],
            }],
            producers: None,
            tables: None,
            metrics: None,
            dead_letters: None,
            parked: None,
            reconcile: None,
        }
    }

    #[test]
    fn a_stage_is_as_late_as_its_latest_partition() {
        let parts = vec![
            partition(0, Some(5), Some(5), Some(0.0)),
            partition(1, Some(2), Some(9), Some(3.5)),
            partition(2, Some(2), Some(4), Some(1.5)),
        ];
        let stage = Stage::of("stg", "t", "events", parts);
        assert_eq!((stage.applied, stage.end, stage.lag), (Some(9), Some(18), Some(9)));
        assert_eq!(stage.lag_seconds, Some(3.5));
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let unread = vec![partition(0, Some(5), Some(5), Some(0.0)), partition(1, Some(2), Some(9), None)];
        assert_eq!(Stage::of("stg", "t", "events", unread).lag_seconds, None);
        let store_down = Stage::of("stg", "t", "events", vec![partition(0, None, Some(5), None)]);
        assert_eq!((store_down.applied, store_down.end, store_down.lag), (None, Some(5), None));
        let nothing = Stage::of("stg", "t", "events", Vec::new());
        assert_eq!((nothing.applied, nothing.lag, nothing.lag_seconds), (None, None, None));
    }

    #[test]
    fn readers_lag_by_what_their_partitions_do_and_may_have_none() {
        let parts = vec![
            partition(0, Some(5), Some(5), Some(0.0)),
            partition(1, Some(2), Some(9), None),
            partition(2, Some(2), None, None),
        ];
        let mut stage = Stage::of("stg", "t", "events", parts);
        let members = [("a", vec![0, 1]), ("b", vec![2]), ("c", vec![])];
        stage.read_by(&members.map(|(name, partitions)| (name.to_owned(), partitions)).into());
        let lags: Vec<_> = stage.readers.iter().flatten().map(|reader| reader.lag).collect();
        assert_eq!(lags, [Some(7), None, Some(0)]);
    }

    #[test]
    fn rates_are_what_moved_by_the_time_between() {
        let stage =
            |next, end| Stage::of("stg", "t", "events", vec![partition(0, Some(next), Some(end), Some(0.0))]);
        let before = snapshot(1_000, stage(10, 20));
        let mut now = snapshot(3_000, stage(30, 60));
        now.rate_since(&before);
        let moved = &now.streams[0].stages[0];
        assert_eq!((moved.applied_per_second, moved.arrived_per_second), (Some(10.0), Some(20.0)));
        let mut back = snapshot(3_000, stage(5, 60));
        back.rate_since(&before);
        assert_eq!(back.streams[0].stages[0].applied_per_second, None);
    }
}
