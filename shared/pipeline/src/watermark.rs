//! Which messages were applied before: the last origin by partition read and partition of origin.
//!
//! dds sends the outputs of a partition in the order of its inputs and commits them before it sends
//! them, so within one (partition read, origin partition) origins only grow, and one that does not was
//! here already.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::PgConnection;
use strata_events::Origin;

/// Identity of a watermark: partition read, topic and partition of the origin.
pub type OriginKey = (i32, Arc<str>, i32);

/// Last applied origin offsets.
#[derive(Debug, Default)]
pub struct Watermarks {
    stored: BTreeMap<OriginKey, i64>,
    moved: BTreeMap<OriginKey, i64>,
}

impl Watermarks {
    /// Starts from what is stored.
    pub fn new(stored: impl IntoIterator<Item = (OriginKey, i64)>) -> Self {
        Self { stored: stored.into_iter().collect(), moved: BTreeMap::new() }
    }

    /// Reads those of some partitions of a stage's topic; their offset rows must be locked.
    pub async fn read(
        tx: &mut PgConnection,
        stage: &str,
        topic: &str,
        partitions: Vec<i32>,
    ) -> Result<Self, sqlx::Error> {
        let rows: Vec<(i32, String, i32, i64)> =
            sqlx::query_as(include_str!("../sql/select_origin_watermarks.sql"))
                .bind(stage)
                .bind(topic)
                .bind(partitions)
                .fetch_all(tx)
                .await?;
        Ok(Self::new(
            rows.into_iter().map(|(read, origin, partition, last)| ((read, origin.into(), partition), last)),
        ))
    }

    /// Stores those that moved.
    pub async fn write(&self, tx: &mut PgConnection, stage: &str, topic: &str) -> Result<(), sqlx::Error> {
        if self.moved.is_empty() {
            return Ok(());
        }
        let keys: Vec<&OriginKey> = self.moved.keys().collect();
        sqlx::query(include_str!("../sql/upsert_origin_watermarks.sql"))
            .bind(stage)
            .bind(topic)
            .bind(keys.iter().map(|(read, ..)| *read).collect::<Vec<_>>())
            .bind(keys.iter().map(|(_, origin, _)| &**origin).collect::<Vec<_>>())
            .bind(keys.iter().map(|(.., partition)| *partition).collect::<Vec<_>>())
            .bind(self.moved.values().copied().collect::<Vec<_>>())
            .execute(tx)
            .await?;
        Ok(())
    }

    /// Moves the watermark to `origin`, or tells by `false` that it was applied before.
    pub fn advance(&mut self, partition: i32, origin: &Origin) -> bool {
        let key = (partition, Arc::clone(&origin.topic), origin.partition);
        let last = self.moved.get(&key).or_else(|| self.stored.get(&key));
        if last.is_some_and(|&last| origin.offset <= last) {
            return false;
        }
        self.moved.insert(key, origin.offset);
        true
    }

    /// The watermarks that moved, sorted.
    pub fn moved(&self) -> &BTreeMap<OriginKey, i64> {
        &self.moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(partition: i32, offset: i64) -> Origin {
        Origin { topic: "dds_topic".into(), partition, offset }
    }

    #[test]
    fn an_origin_is_applied_once_per_partition_pair() {
        let mut marks = Watermarks::new([((0, "dds_topic".into(), 1), 10)]);
        assert!(!marks.advance(0, &origin(1, 9)));
        assert!(!marks.advance(0, &origin(1, 10)));
        assert!(marks.advance(0, &origin(1, 11)));
        assert!(!marks.advance(0, &origin(1, 11)));
        assert!(marks.advance(0, &origin(2, 0)));
        assert!(marks.advance(5, &origin(1, 0)));
        assert_eq!(marks.moved().len(), 3);
    }
}
