//! What is staged, and dds will bring, or has refused, by itself.
//!
//! Were a search put into the vault before dds reads it, dds would find it known and tell cdm nothing. So the
//! records that dds has not read, and the outputs that stg has kept and not sent, are left to dds. What dds refused
//! stays refused until it is replayed.
//!
//! Asked after the list of what is staged was made: an output of a listed row is then kept by stg, or in Kafka.

use std::collections::HashSet;

use sqlx::PgConnection;
use strata_events::{Origin, StageId, StreamSpec, origin};
use strata_pipeline::{Output, pending};
use strata_service::Settings;

use strata_observe::Fleet;
use strata_observe::read_ranges;

/// The records that start what is still to come.
pub struct Coming(HashSet<Origin>);

impl Coming {
    /// Finds them; dds must be held.
    pub async fn find(
        tx: &mut PgConnection,
        settings: &Settings,
        fleet: &Fleet,
        stream: &StreamSpec,
    ) -> anyhow::Result<Self> {
        let [stg_topic, dds_topic] =
            [StageId::Stg, StageId::Dds].map(|stage| settings.topics.name(stream.topic(stage)));
        let mut starts = HashSet::new();
        let packs: Vec<Vec<u8>> =
            sqlx::query_scalar("select outputs from ops.pending_outputs where stage = 'stg' and topic = $1")
                .bind(stg_topic)
                .fetch_all(&mut *tx)
                .await?;
        for pack in packs {
            starts.extend(pending::unpack(&pack)?.iter().filter_map(start_of));
        }
        let refused: Vec<String> = sqlx::query_scalar(
            "select coalesce(source, origin, topic || '/' || partition || '/' || \"offset\") from ops.dead_letters \
             where stage = 'dds' and topic = $1 and status <> 'replayed'",
        )
        .bind(dds_topic)
        .fetch_all(&mut *tx)
        .await?;
        starts.extend(refused.iter().filter_map(|start| start.parse().ok()));
        let read: Vec<(i32, i64)> = sqlx::query_as(
            "select partition, next_offset from ops.consumer_offsets where stage = 'dds' and topic = $1",
        )
        .bind(dds_topic)
        .fetch_all(tx)
        .await?;
        let unread = fleet.watermarks(dds_topic)?.into_iter().filter_map(|(partition, low, high)| {
            let (_, next) = read.iter().find(|(read, _)| *read == partition)?;
            Some((partition, (low.max(*next), high)))
        });
        read_ranges(&settings.kafka, dds_topic, &unread.collect(), |record| {
            starts.insert(record.start());
            Ok(())
        })?;
        Ok(Self(starts))
    }

    /// True when dds will bring what began with this record.
    pub fn holds(&self, start: &Origin) -> bool {
        self.0.contains(start)
    }
}

fn start_of(output: &Output) -> Option<Origin> {
    let header = |wanted: &str| output.headers.iter().find(|(name, _)| name == wanted);
    header(origin::REPLAY_OF_HEADER).or_else(|| header(origin::HEADER))?.1.parse().ok()
}
