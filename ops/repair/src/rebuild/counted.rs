//! What a rebuild from the vault has counted, by origin: what a stage must skip from now on.

use sqlx::PgConnection;
use strata_events::stream::dlq_topic;
use strata_events::{Origin, StageId};

/// How far dds was in the snapshot, and the last dead letter that was numbered for a replay to the stage.
///
/// dds' offset moves in the transaction that writes the vault. So what it made of a record below its offset is
/// in the snapshot, and of any other is not; whether that was sent, read or refused since makes no difference.
/// Replays that were numbered before the snapshot repeat what dds announced before it, so they are counted
/// too; the numbers of later ones are higher.
#[derive(Debug)]
pub struct Counted {
    /// Topic that dds reads.
    origin_topic: String,
    /// Last offset counted by partition of that topic.
    last: Vec<(i32, i64)>,
    /// Topic that the stage reads.
    topic: String,
    last_replay: Option<i64>,
}

impl Counted {
    /// Describes a snapshot with these next offsets of dds.
    ///
    /// Numbers are given under the lock that the caller holds, so no replay is numbered meanwhile.
    pub async fn new(
        connection: &mut PgConnection,
        [origin_topic, topic]: [&str; 2],
        next_offsets: impl Iterator<Item = (i32, i64)>,
    ) -> anyhow::Result<Self> {
        let last_replay = sqlx::query_scalar(
            "select last_seq from ops.replay_sequences where stage = 'cdm' and topic = $1",
        )
        .bind(topic)
        .fetch_optional(connection)
        .await?;
        Ok(Self {
            origin_topic: origin_topic.to_owned(),
            last: next_offsets.map(|(partition, next)| (partition, next - 1)).collect(),
            topic: topic.to_owned(),
            last_replay,
        })
    }

    /// The last origin of each partition pair that is counted.
    pub fn origins(&self) -> impl Iterator<Item = Origin> {
        let of_dds = self.last.iter().map(|&(partition, offset)| Origin {
            topic: self.origin_topic.as_str().into(),
            partition,
            offset,
        });
        let replays = self.last_replay.map(|offset| Origin {
            topic: dlq_topic(&self.topic).into(),
            partition: 0,
            offset,
        });
        of_dds.chain(replays)
    }

    /// Settles the dead letters of cdm that are counted, those to come included.
    pub async fn mark(&self, connection: &mut PgConnection) -> anyhow::Result<u64> {
        let (partitions, offsets): (Vec<i32>, Vec<i64>) = self.last.iter().copied().unzip();
        let marked = sqlx::query(include_str!("../../sql/mark_counted.sql"))
            .bind(StageId::Cdm.as_str())
            .bind(&self.topic)
            .bind(&self.origin_topic)
            .bind(partitions)
            .bind(offsets)
            .execute(connection)
            .await?;
        Ok(marked.rows_affected())
    }
}
