//! What is checked of a record before its body is read: its time, what it says that it was made from, and the schema
//! that it says it was written with.
//!
//! An origin decides what a later stage skips, so one that nobody can have written is refused. The stage before
//! commits how far it has read, on disk, before it sends what it made of that; so does a replay with its number.
//! Hence an origin beyond both is forged. On a stream's first topic origins mean nothing but replays.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::PgPool;
use strata_events::stream::dlq_topic;
use strata_events::{Origin, Reject, SchemaId};
use strata_service::SchemaRegistry;
use strata_service::config::{Route, Upstream};

use crate::error::StageError;
use crate::record::Record;

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
pub struct Known {
    /// By partition of the topic that the stage before reads: its records below this offset were read.
    pub read: BTreeMap<i32, i64>,
    /// The last number given to a replay of this stage.
    pub replays: i64,
}

/// The checks of one loop.
pub struct Entrance {
    look: Look,
    dlq: String,
    upstream: Option<Upstream>,
    known: Known,
    registry: SchemaRegistry,
}

/// Learns how far origins are believed.
type Look = Box<dyn Fn() -> BoxFuture<'static, Result<Known, StageError>> + Send>;

impl Entrance {
    /// The checks of what a stage reads; the stage before keeps its offsets in this Postgres.
    pub fn new(route: &Route, pool: PgPool, registry: SchemaRegistry) -> Self {
        let asked = route.clone();
        let look = move || {
            let (route, pool) = (asked.clone(), pool.clone());
            async move { look_up(&route, &pool).await }.boxed()
        };
        Self { registry, ..Self::told_by(route, look) }
    }

    /// The same, where `look` tells how far origins are believed.
    pub fn told_by(
        route: &Route,
        look: impl Fn() -> BoxFuture<'static, Result<Known, StageError>> + Send + 'static,
    ) -> Self {
        let (dlq, upstream) = (dlq_topic(&route.input), route.upstream.clone());
        let (known, registry) = (Known::default(), SchemaRegistry::default());
        Self { look: Box::new(look), dlq, upstream, known, registry }
    }

    /// Marks the records that must be refused, and those that the stage before wrote.
    ///
    /// Asks Postgres once where origins are newer than what is known, and the schema registry where a schema is, else
    /// neither.
    pub async fn examine(&mut self, records: &mut [Record]) -> Result<(), StageError> {
        if records.iter().any(|record| self.sender(record) == Sender::Unknown) {
            self.known = (self.look)().await?;
        }
        for record in records.iter_mut() {
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
        self.examine_schemas(records).await
    }

    /// Marks the records whose schema the registry does not know; without a registry nobody asks.
    async fn examine_schemas(&self, records: &mut [Record]) -> Result<(), StageError> {
        if !self.registry.is_used() {
            return Ok(());
        }
        let named: BTreeSet<SchemaId> = records.iter().filter_map(Record::named_schema).collect();
        let unknown = self
            .registry
            .unknown(named)
            .await
            .map_err(|e| StageError::Transient { dependency: "the schema registry", source: e.into() })?;
        for record in records.iter_mut().filter(|record| record.refused.is_none()) {
            if let Some(schema) = record.named_schema().filter(|schema| unknown.contains(schema)) {
                let detail =
                    format!("the schema registry does not know the schema that the record names: {schema}");
                record.refused = Some(Reject::new("unknown_schema", detail));
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
}

/// Reads how far the stage before has come, and which replays there were.
async fn look_up(route: &Route, pool: &PgPool) -> Result<Known, StageError> {
    let upstream = route.upstream.as_ref();
    let rows: Vec<(Option<i32>, i64)> = sqlx::query_as(include_str!("../sql/select_known_origins.sql"))
        .bind(upstream.map(|upstream| upstream.stage.as_str()))
        .bind(upstream.map(|upstream| &upstream.topic))
        .bind(route.stage.as_str())
        .bind(&route.input)
        .fetch_all(pool)
        .await?;
    let mut known = Known::default();
    for (partition, last) in rows {
        match partition {
            Some(partition) => drop(known.read.insert(partition, last)),
            None => known.replays = last,
        }
    }
    Ok(known)
}
