//! What is checked of a record before its body is read: its time, and what it says that it was made from.
//!
//! An origin decides what a later stage skips, so one that nobody can have written is refused. The stage before
//! commits how far it has read, on disk, before it sends what it made of that; so does a replay with its number.
//! Hence an origin beyond both is forged. On a stream's first topic origins mean nothing but replays.

use std::collections::BTreeMap;

use sqlx::PgPool;
use strata_events::stream::dlq_topic;
use strata_events::{Origin, Reject};
use strata_service::config::{Route, Upstream};

use crate::record::Record;
use crate::stage::StageError;

/// Longest origin that a refusal quotes, in characters.
const QUOTED_CHARS: usize = 100;

/// Who a record is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// Somebody outside: it names no origin.
    Outside,
    /// A replay of this stage's own dead letters.
    Replay,
    /// The stage before.
    Upstream,
    /// Nobody whom this stage knows.
    Unknown,
}

/// How far origins are believed.
#[derive(Debug, Default)]
struct Known {
    /// By partition of the topic that the stage before reads: its records below this offset were read.
    read: BTreeMap<i32, i64>,
    /// The last number given to a replay of this stage.
    replays: i64,
}

/// The checks of one loop.
pub struct Entrance {
    pool: PgPool,
    stage: &'static str,
    topic: String,
    dlq: String,
    upstream: Option<Upstream>,
    known: Known,
}

impl Entrance {
    /// The checks of what a stage reads.
    pub fn new(pool: PgPool, route: &Route) -> Self {
        let (topic, dlq, upstream) = (route.input.clone(), dlq_topic(&route.input), route.upstream.clone());
        Self { pool, stage: route.stage.as_str(), topic, dlq, upstream, known: Known::default() }
    }

    /// Marks the records that must be refused, and those that the stage before wrote.
    ///
    /// Asks Postgres once where origins are newer than what is known, else not at all.
    pub async fn examine(&mut self, records: &mut [Record]) -> Result<(), StageError> {
        if records.iter().any(|record| self.sender(record) == Sender::Unknown) {
            self.look().await?;
        }
        for record in records {
            record.check_time();
            match self.sender(record) {
                Sender::Replay => {}
                Sender::Upstream => record.is_ours = true,
                // Where an event began is for replays and for the stages to say.
                Sender::Outside => record.forget_origin(),
                Sender::Unknown if self.upstream.is_none() => record.forget_origin(),
                Sender::Unknown => self.refuse(record),
            }
        }
        Ok(())
    }

    fn sender(&self, record: &Record) -> Sender {
        let Some(Origin { topic, partition, offset }) = &record.origin else { return Sender::Outside };
        if **topic == *self.dlq && *partition == 0 && (1..=self.known.replays).contains(offset) {
            return Sender::Replay;
        }
        let is_upstream = self.upstream.as_ref().is_some_and(|upstream| *upstream.topic == **topic);
        if is_upstream && self.known.read.get(partition).is_some_and(|read| offset < read) {
            return Sender::Upstream;
        }
        Sender::Unknown
    }

    fn refuse(&self, record: &mut Record) {
        if let (None, Some(origin)) = (&record.refused, &record.origin) {
            let origin: String = origin.to_string().chars().take(QUOTED_CHARS).collect();
            let detail = format!(
                "the origin {origin} is neither of the stage before, as far as that has read, nor of a replay"
            );
            record.refused = Some(Reject::new("unknown_origin", detail));
        }
    }

    /// Learns how far the stage before has read, and which replays there were.
    async fn look(&mut self) -> Result<(), StageError> {
        let (stage, topic) =
            self.upstream.as_ref().map(|upstream| (upstream.stage.as_str(), &upstream.topic)).unzip();
        let rows: Vec<(Option<i32>, i64)> = sqlx::query_as(include_str!("../sql/select_known_origins.sql"))
            .bind(stage)
            .bind(topic)
            .bind(self.stage)
            .bind(&self.topic)
            .fetch_all(&self.pool)
            .await?;
        self.known = Known::default();
        for (partition, last) in rows {
            match partition {
                Some(partition) => drop(self.known.read.insert(partition, last)),
                None => self.known.replays = last,
            }
        }
        Ok(())
    }
}
