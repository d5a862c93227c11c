//! The registry of streams: which topics an event passes on its path through the layers, and who reads them.
//!
//! A new stream is one more entry here and one handler per stage.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A layer's service as a consumer: it names consumer groups, offsets, dead letters and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageId {
    /// The raw layer.
    Stg,
    /// The Data Vault.
    Dds,
    /// The marts.
    Cdm,
}

impl StageId {
    /// All of them, in the order of the layers.
    pub const ALL: [Self; 3] = [Self::Stg, Self::Dds, Self::Cdm];

    /// The name in consumer groups, tables and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stg => "stg",
            Self::Dds => "dds",
            Self::Cdm => "cdm",
        }
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StageId {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let names = Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == name)
            .ok_or_else(|| format!("no stage {name:?}; there are: {names}"))
    }
}

impl Serialize for StageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Where a stage keeps its data, and beside them its offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Rows in Postgres; offsets in `ops.consumer_offsets`.
    Postgres,
    /// Metrics in Redis; offsets in a hash beside them.
    Redis,
}

/// A topic: the variable that names it and the name it has by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    /// Environment variable that overrides the name.
    pub env: &'static str,
    /// Name where the variable is not set.
    pub default: &'static str,
}

/// One step of a stream: a topic, and the stage that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Who reads.
    pub stage: StageId,
    /// What is read.
    pub topic: TopicSpec,
    /// Where the stage keeps what comes of it.
    pub store: StoreKind,
}

/// One kind of event and its path: one hop per stage, in the order in which an event takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSpec {
    /// Name for requests, metrics and dead letters.
    pub name: &'static str,
    /// What people call several of its events.
    pub events: &'static str,
    /// The hops; data-source writes the topic of the first, each stage that of the next.
    pub hops: &'static [Hop],
}

impl StreamSpec {
    /// The topic that data-source writes.
    pub const fn source(&self) -> TopicSpec {
        self.hops[0].topic
    }

    /// So many of its events, for people.
    pub fn named(&self, count: impl fmt::Display) -> String {
        format!("{count} {}", self.events)
    }

    /// The topic that a stage reads, for code that knows the stream.
    ///
    /// Panics where the stream does not pass the stage; in a constant that is an error of the compiler.
    pub const fn topic(&self, stage: StageId) -> TopicSpec {
        let mut index = 0;
        while index < self.hops.len() {
            if self.hops[index].stage as u8 == stage as u8 {
                return self.hops[index].topic;
            }
            index += 1;
        }
        panic!("the stream does not pass this stage")
    }

    /// The hop of a stage, where the stream passes it.
    pub fn hop(&self, stage: StageId) -> Option<&'static Hop> {
        self.hops.iter().find(|hop| hop.stage == stage)
    }

    /// The hop before that of a stage: what the stage reads was written there.
    pub fn before(&self, stage: StageId) -> Option<&'static Hop> {
        let at = self.hops.iter().position(|hop| hop.stage == stage)?;
        self.hops.get(at.checked_sub(1)?)
    }

    /// The hop after that of a stage: it reads what the stage writes.
    pub fn after(&self, stage: StageId) -> Option<&'static Hop> {
        let at = self.hops.iter().position(|hop| hop.stage == stage)?;
        self.hops.get(at + 1)
    }
}

const fn hop(stage: StageId, store: StoreKind, env: &'static str, default: &'static str) -> Hop {
    Hop { stage, topic: TopicSpec { env, default }, store }
}

/// Orders of a shop.
pub const ORDER: StreamSpec = StreamSpec {
    name: "order",
    events: "orders",
    hops: &[
        hop(StageId::Stg, StoreKind::Postgres, "KAFKA_STG_TOPIC", "stg_topic"),
        hop(StageId::Dds, StoreKind::Postgres, "KAFKA_DDS_TOPIC", "dds_topic"),
        hop(StageId::Cdm, StoreKind::Postgres, "KAFKA_CDM_TOPIC", "cdm_topic"),
    ],
};

/// Hotel searches of a travel site.
pub const HOTEL_SEARCH: StreamSpec = StreamSpec {
    name: "hotel_search",
    events: "searches",
    hops: &[
        hop(StageId::Stg, StoreKind::Postgres, "KAFKA_RAW_DATA_TOPIC", "raw_data_topic"),
        hop(StageId::Dds, StoreKind::Postgres, "KAFKA_PROCESSED_DATA_TOPIC", "processed_data_topic"),
        hop(StageId::Cdm, StoreKind::Redis, "KAFKA_METRICS_TOPIC", "metrics_topic"),
    ],
};

/// Every stream of the fleet.
pub const STREAMS: &[StreamSpec] = &[ORDER, HOTEL_SEARCH];

/// The stream of this name.
///
/// **Errors**: a sentence that lists the names.
pub fn find(name: &str) -> Result<&'static StreamSpec, String> {
    STREAMS.iter().find(|stream| stream.name == name).ok_or_else(|| {
        let names = STREAMS.iter().map(|stream| stream.name).collect::<Vec<_>>().join(", ");
        format!("no stream {name:?}; there are: {names}")
    })
}

/// Every topic that an event passes, the dead letters aside.
pub fn topics() -> impl Iterator<Item = TopicSpec> {
    STREAMS.iter().flat_map(|stream| stream.hops).map(|hop| hop.topic)
}

/// Name of the topic that keeps the dead letters of `topic`.
pub fn dlq_topic(topic: &str) -> String {
    format!("{topic}.dlq")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn streams_topics_and_stages_are_named_once() {
        let mut faults = Vec::new();
        let names: BTreeSet<&str> = STREAMS.iter().map(|stream| stream.name).collect();
        if names.len() != STREAMS.len() {
            faults.push("two streams share a name".to_owned());
        }
        let (topics, variables): (BTreeSet<_>, BTreeSet<_>) =
            topics().map(|topic| (topic.default, topic.env)).unzip();
        let hops: usize = STREAMS.iter().map(|stream| stream.hops.len()).sum();
        if topics.len() != hops || variables.len() != hops {
            faults.push("two hops share a topic".to_owned());
        }
        for stream in STREAMS {
            let order: Vec<StageId> = stream.hops.iter().map(|hop| hop.stage).collect();
            if order.is_empty() || !order.is_sorted_by(|a, b| a < b) {
                faults.push(format!("{} passes {order:?}", stream.name));
            }
            if !stream.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                faults.push(format!("{} does not fit into a path", stream.name));
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
    }

    #[test]
    fn hops_know_their_neighbours() {
        let stage = |hop: Option<&Hop>| hop.map(|hop| hop.stage);
        assert_eq!(stage(ORDER.before(StageId::Stg)), None);
        assert_eq!(stage(ORDER.before(StageId::Cdm)), Some(StageId::Dds));
        assert_eq!(stage(ORDER.after(StageId::Stg)), Some(StageId::Dds));
        assert_eq!(stage(ORDER.after(StageId::Cdm)), None);
        assert_eq!("dds".parse(), Ok(StageId::Dds));
        assert!("mart".parse::<StageId>().is_err());
    }
}
