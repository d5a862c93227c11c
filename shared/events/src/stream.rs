//! The path of a stream: which topics an event passes on its way through the layers, and who reads them.
//!
//! The streams themselves lie in `shared/streams`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::Schema;

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
    /// What the messages of the topic are.
    pub schema: Schema,
}

impl Hop {
    /// A stage that reads messages of a schema and keeps what comes of them in a store; the topic is its variable and
    /// its default name.
    pub const fn new(
        stage: StageId,
        store: StoreKind,
        (env, default): (&'static str, &'static str),
        schema: Schema,
    ) -> Self {
        Self { stage, topic: TopicSpec { env, default }, store, schema }
    }
}

/// The name and the path of a stream: one hop per stage that it passes, in the order in which an event takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSpec {
    /// Name for requests, metrics and dead letters.
    pub name: &'static str,
    /// The hops; data-source writes the topic of the first, each stage that of the next.
    pub hops: &'static [Hop],
}

impl StreamSpec {
    /// The topic that data-source writes.
    pub const fn source(&self) -> TopicSpec {
        self.hops[0].topic
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

/// Name of the topic that keeps the dead letters of `topic`.
pub fn dlq_topic(topic: &str) -> String {
    format!("{topic}.dlq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_know_their_neighbours() {
        let hop =
            |stage| Hop::new(stage, StoreKind::Postgres, ("KAFKA_A_TOPIC", "a_topic"), Schema::new("{}"));
        let hops: &'static [Hop] = Box::leak(StageId::ALL.map(hop).into());
        let spec = StreamSpec { name: "a", hops };
        let stage = |hop: Option<&Hop>| hop.map(|hop| hop.stage);
        assert_eq!(stage(spec.before(StageId::Stg)), None);
        assert_eq!(stage(spec.before(StageId::Cdm)), Some(StageId::Dds));
        assert_eq!(stage(spec.after(StageId::Stg)), Some(StageId::Dds));
        assert_eq!(stage(spec.after(StageId::Cdm)), None);
        let short = StreamSpec { name: "b", hops: &hops[..2] };
        assert_eq!((stage(short.after(StageId::Dds)), stage(short.hop(StageId::Cdm))), (None, None));
    }

    #[test]
    fn stages_are_found_by_name() {
        assert_eq!("dds".parse(), Ok(StageId::Dds));
        assert!("mart".parse::<StageId>().is_err());
    }
}
