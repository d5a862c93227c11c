//! One moment of Postgres, and the ends of the topics around it.
//!
//! What Kafka holds only grows at its end and shrinks at its beginning. So the beginnings are asked before
//! the snapshot is taken and the ends after it: an offset of the snapshot lies between them, or is wrong.

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Postgres};
use strata_events::STREAMS;
use strata_runtime::Settings;
use strata_runtime::kafka::{Output, pending};

use super::report::Check;
use crate::fleet::{Fleet, STAGES};

/// Where a stage stands in a topic: partition → next offset.
pub type Offsets = BTreeMap<i32, i64>;

/// A watermark's place: partition read, topic and partition of the origin.
pub type Lane = (i32, String, i32);

/// The moment that all checks look at.
pub struct Snapshot {
    connection: PoolConnection<Postgres>,
    /// Next offsets by stage and topic.
    pub offsets: BTreeMap<(String, String), Offsets>,
    /// First offset that Kafka held before the snapshot, and the end after it, by topic.
    pub edges: BTreeMap<String, BTreeMap<i32, (i64, i64)>>,
}

impl Snapshot {
    /// Takes the snapshot.
    pub async fn take(settings: &Settings, fleet: &Fleet) -> anyhow::Result<Self> {
        let topics: Vec<&str> = STREAMS.iter().flat_map(|stream| settings.topics.of(stream)).collect();
        let before: Vec<_> = topics.iter().map(|topic| fleet.watermarks(topic)).collect::<Result<_, _>>()?;
        let mut connection =
            fleet.pool.acquire().await.context("Postgres does not answer; is the fleet up? (make up)")?;
        connection.close_on_drop();
        for statement in [
            "set statement_timeout = 0",
            "set idle_in_transaction_session_timeout = 0",
            "set work_mem = '256MB'",
            "set max_parallel_workers_per_gather = 4",
            // Whole tables are compared: statistics that lag behind must not lead to lookups row by row.
            "set enable_nestloop = off",
            "set jit = off",
            "begin isolation level repeatable read, read only",
        ] {
            sqlx::query(statement).execute(&mut *connection).await?;
        }
        let mut offsets: BTreeMap<_, Offsets> = BTreeMap::new();
        let rows: Vec<(String, String, i32, i64)> =
            sqlx::query_as("select stage, topic, partition, next_offset from ops.consumer_offsets")
                .fetch_all(&mut *connection)
                .await?;
        for (stage, topic, partition, next) in rows {
            offsets.entry((stage, topic)).or_default().insert(partition, next);
        }
        let mut edges = BTreeMap::new();
        for (topic, before) in topics.iter().zip(before) {
            let lows: BTreeMap<i32, i64> = before.into_iter().map(|(p, low, _)| (p, low)).collect();
            let ends = fleet.watermarks(topic)?.into_iter();
            let both = ends.map(|(p, low, high)| (p, (lows.get(&p).copied().unwrap_or(low), high)));
            edges.insert((*topic).to_owned(), both.collect());
        }
        Ok(Self { connection, offsets, edges })
    }

    /// Where a stage stood.
    pub fn offsets_of(&self, stage: &str, topic: &str) -> Offsets {
        self.offsets.get(&(stage.to_owned(), topic.to_owned())).cloned().unwrap_or_default()
    }

    /// What a stage had still to read: from its offset to the end after the snapshot.
    pub fn unread(&self, stage: &str, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let offsets = self.offsets_of(stage, topic);
        let edges = self.edges.get(topic).into_iter().flatten();
        edges.map(|(&p, &(low, high))| (p, (offsets.get(&p).copied().unwrap_or(low), high))).collect()
    }

    /// The connection that sees the snapshot.
    pub fn connection(&mut self) -> &mut PoolConnection<Postgres> {
        &mut self.connection
    }

    /// Runs a statement whose rows are differences, each in one text column.
    pub async fn differences(&mut self, check: &mut Check, statement: String) -> anyhow::Result<()> {
        let mut rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(statement)).fetch(&mut *self.connection);
        while let Some(row) = rows.try_next().await? {
            check.differs(|| row);
        }
        Ok(())
    }

    /// Counts the rows of a table.
    pub async fn count(&mut self, table: &str) -> anyhow::Result<i64> {
        let count = AssertSqlSafe(format!("select count(*) from {table}"));
        Ok(sqlx::query_scalar(count).fetch_one(&mut *self.connection).await?)
    }

    /// Outputs of a stage that may not have been sent.
    pub async fn pending(&mut self, stage: &str, topic: &str) -> anyhow::Result<Vec<Output>> {
        let packs: Vec<Vec<u8>> =
            sqlx::query_scalar("select outputs from ops.pending_outputs where stage = $1 and topic = $2")
                .bind(stage)
                .bind(topic)
                .fetch_all(&mut *self.connection)
                .await?;
        let mut outputs = Vec::new();
        for pack in packs {
            outputs.extend(pending::unpack(&pack)?);
        }
        Ok(outputs)
    }

    /// The watermarks of a stage in a topic.
    pub async fn watermarks(&mut self, stage: &str, topic: &str) -> anyhow::Result<BTreeMap<Lane, i64>> {
        let rows: Vec<(i32, String, i32, i64)> = sqlx::query_as(
            "select partition, origin_topic, origin_partition, last_offset from ops.origin_watermarks \
             where stage = $1 and topic = $2",
        )
        .bind(stage)
        .bind(topic)
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|(read, topic, partition, last)| ((read, topic, partition), last)).collect())
    }

    /// Checks that every stored offset is one that Kafka had.
    pub fn check_offsets(&self, settings: &Settings) -> Check {
        let mut check = Check::new("offsets lie within their topics");
        for stream in STREAMS {
            for (stage, topic) in STAGES.iter().zip(settings.topics.of(stream)) {
                let edges = self.edges.get(topic);
                for (partition, next) in self.offsets_of(stage, topic) {
                    check.compared += 1;
                    let edge = edges.and_then(|edges| edges.get(&partition));
                    if edge.is_none_or(|(low, high)| next < *low || next > *high) {
                        check.differs(|| match edge {
                            None => format!("{stage} stands at {topic}/{partition}/{next}: no such partition"),
                            Some((low, high)) => {
                                format!("{stage} stands at {topic}/{partition}/{next}: Kafka holds {low} to {high}")
                            }
                        });
                    }
                }
            }
        }
        check
    }
}
