//! The `origin` header: the input record an output was made from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Name of the Kafka header.
pub const HEADER: &str = "origin";

/// Name of the Kafka header of a replayed record: the record that started the event's way.
///
/// The replay has an `origin` of its own, so that it is applied; its place in the vault's time and the
/// identity of an event without a business key stay those of the first record.
pub const REPLAY_OF_HEADER: &str = "replay_of";

/// Longest name of a topic that Kafka allows.
const MAX_TOPIC_CHARS: usize = 249;

/// Coordinates of an input record, written `topic/partition/offset`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Topic name; Kafka allows no slash in it.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
    /// Offset within the partition.
    pub offset: i64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// The header does not have the form `topic/partition/offset`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin has the form topic/partition/offset")]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().ok_or(InvalidOrigin);
        let (topic, partition, offset) = (next()?, next()?, next()?);
        let partition = partition.parse().map_err(|_| InvalidOrigin)?;
        let offset = offset.parse().map_err(|_| InvalidOrigin)?;
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !(1..=MAX_TOPIC_CHARS).contains(&topic.len()) || !topic.chars().all(is_legal) {
            return Err(InvalidOrigin);
        }
        if partition < 0 || offset < 0 {
            return Err(InvalidOrigin);
        }
        Ok(Self { topic: topic.into(), partition, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_survives_its_text() {
        let origin = Origin { topic: "stg_topic".into(), partition: 3, offset: 42 };
        assert_eq!(origin.to_string().parse(), Ok(origin));
    }

    #[test]
    fn text_of_another_form_is_refused() {
        let long = format!("{}/1/1", "a".repeat(MAX_TOPIC_CHARS + 1));
        for text in
            [&long, "a\0/1/1", "a b/1/1", "", "a", "a/1", "a/b/1", "a/1/-1", "/1/1", "a/1/1/1", "a/-1/1"]
        {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin), "{text}");
        }
    }
}
