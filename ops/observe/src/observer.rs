//! Takes snapshots: all parts at once, none waited for longer than [`TIMEOUT`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use strata_events::{Hop, StoreKind};
use strata_service::producers::{self, Producer};
use strata_service::redis::{Connection, MetricsKeys};
use strata_service::{Settings, pg, redis as redis_client};
use strata_streams::{Message, STREAMS, StreamDef};
use tokio::time::timeout;

use crate::kafka::{Edges, Place, Timestamps, Topics};
use crate::members::{Groups, Members};
use crate::rows::Rows;
use crate::services::SERVICES;
use crate::snapshot::{
    DeadLetters, Metrics, Part, Partition, Reconcile, Snapshot, Stage, State, Stream, Table,
};
use crate::store::{self, Offsets};

/// A part that does not answer within this is down. Longer than a service takes to find that it is unhealthy.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Time for reading the oldest records of all partitions that lag; those not read have no age.
const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// What is wrong with a part that does not answer.
const SILENT: &str = "does not answer";

/// Asks the parts of the fleet. Connects when asked first and heals by itself.
pub struct Observer {
    http: reqwest::Client,
    services: Vec<(&'static str, String)>,
    pool: PgPool,
    rows: tokio::sync::Mutex<Rows>,
    redis: Connection,
    redis_prefix: String,
    keys: MetricsKeys,
    topics: Arc<Mutex<Topics>>,
    timestamps: Arc<Mutex<Timestamps>>,
    groups: Arc<Mutex<Groups>>,
    /// Names of the topics in force, by stream, in the order of its hops.
    streams: Vec<(&'static StreamDef, Vec<String>)>,
    /// What was seen last, for the rates.
    last: Mutex<Option<Snapshot>>,
}

/// What Postgres answered; parts that failed by themselves are none.
struct Warehouse {
    offsets: Offsets,
    dead_letters: Option<Vec<DeadLetters>>,
    parked: Option<i64>,
    reconcile: Option<Reconcile>,
}

/// What Redis answered.
struct Live {
    offsets: BTreeMap<i32, i64>,
    metrics: Metrics,
    producers: Vec<Producer>,
}

impl Observer {
    /// Prepares the questions; nothing is connected yet. Call within the tokio runtime.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Self::called(settings, "strata-observer")
    }

    /// The same, under another name in Postgres.
    pub fn called(settings: &Settings, name: &str) -> anyhow::Result<Self> {
        let services = SERVICES.iter().map(|service| Ok((service.name, service.url()?)));
        // What is no longer waited for must not go on in the server.
        let options = pg::options(&settings.postgres, name)
            .options([("statement_timeout", TIMEOUT.as_millis().to_string())]);
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(TIMEOUT)
            .idle_timeout(Duration::from_secs(10))
            .connect_lazy_with(options);
        let streams = STREAMS.iter().map(|stream| {
            let topics = settings.topics.of(&stream.spec).map(|(_, topic)| topic.to_owned());
            (*stream, topics.collect())
        });
        Ok(Self {
            http: reqwest::Client::builder().timeout(TIMEOUT).build()?,
            services: services.collect::<anyhow::Result<_>>()?,
            pool,
            rows: tokio::sync::Mutex::default(),
            redis: redis_client::connect(&settings.redis),
            keys: MetricsKeys::new(&settings.redis_prefix),
            topics: Arc::new(Mutex::new(Topics::new(&settings.kafka)?)),
            timestamps: Arc::new(Mutex::new(Timestamps::new(&settings.kafka)?)),
            groups: Arc::new(Mutex::new(Groups::new(&settings.kafka)?)),
            redis_prefix: settings.redis_prefix.clone(),
            streams: streams.collect(),
            last: Mutex::default(),
        })
    }

    /// Takes a snapshot, with the rates since the one before; what does not answer shows as down.
    pub async fn look(&self) -> Snapshot {
        let mut seen = self.look_once().await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last {
            seen.rate_since(last);
        }
        *last = Some(seen.clone());
        seen
    }

    /// Where every stage of every stream stands, without the rest of a look; what does not answer is not known.
    pub async fn lag(&self) -> Vec<Stream> {
        let (warehouse, live, edges) = self.ask_servers().await;
        let at = Utc::now();
        let mut streams = self.streams(warehouse.as_ref().ok(), live.as_ref().ok(), edges.as_ref().ok());
        self.fill_ages(&mut streams, at).await;
        streams
    }

    async fn look_once(&self) -> Snapshot {
        let (services, members, (warehouse, live, edges)) =
            tokio::join!(self.ask_services(), self.ask_groups(), self.ask_servers());
        let at = Utc::now();
        let servers = vec![part("postgres", &warehouse), part("redis", &live), part("kafka", &edges)];
        let (mut warehouse, live, edges) = (warehouse.ok(), live.ok(), edges.ok());
        let mut streams = self.streams(warehouse.as_ref(), live.as_ref(), edges.as_ref());
        let tables = async {
            warehouse.as_ref()?;
            self.tables(at_rest(&streams)).await
        };
        let tables = tables.await;
        self.fill_ages(&mut streams, at).await;
        for stage in streams.iter_mut().flat_map(|stream| &mut stream.stages) {
            if let Some(members) = members.get(&stage.topic) {
                stage.read_by(members);
            }
        }
        let (metrics, producers) = live.map(|live| (live.metrics, live.producers)).unzip();
        Snapshot {
            at,
            healthy: services.iter().chain(&servers).all(|part| part.state == State::Ok),
            services,
            servers,
            streams,
            producers,
            tables,
            metrics,
            dead_letters: warehouse.as_mut().and_then(|warehouse| warehouse.dead_letters.take()),
            parked: warehouse.as_ref().and_then(|warehouse| warehouse.parked),
            reconcile: warehouse.and_then(|warehouse| warehouse.reconcile),
        }
    }

    /// The stores first: an end that is asked later never lies before what was applied.
    async fn ask_servers(
        &self,
    ) -> (anyhow::Result<Warehouse>, anyhow::Result<Live>, anyhow::Result<BTreeMap<String, Edges>>) {
        let (warehouse, live) = tokio::join!(self.ask_postgres(), self.ask_redis());
        (warehouse, live, self.ask_kafka().await)
    }

    async fn ask_services(&self) -> Vec<Part> {
        let mut asked = tokio::task::JoinSet::new();
        for (index, (name, url)) in self.services.iter().enumerate() {
            let (http, name, url) = (self.http.clone(), *name, format!("{url}/health"));
            asked.spawn(async move { (index, ask_service(&http, name, &url).await) });
        }
        let mut parts = asked.join_all().await;
        parts.sort_by_key(|(index, _)| *index);
        parts.into_iter().map(|(_, part)| part).collect()
    }

    async fn ask_postgres(&self) -> anyhow::Result<Warehouse> {
        let asking = async {
            let offsets = store::offsets(&self.pool).await?;
            let dead_letters = store::dead_letters(&self.pool).await;
            let parked = store::parked(&self.pool).await;
            let reconcile = store::last_reconcile(&self.pool).await;
            anyhow::Ok(Warehouse {
                offsets,
                dead_letters: dead_letters.ok(),
                parked: parked.ok(),
                reconcile: reconcile.ok().flatten(),
            })
        };
        timeout(TIMEOUT, asking).await.context(SILENT)?
    }

    async fn tables(&self, at_rest: Option<Vec<i64>>) -> Option<Vec<Table>> {
        let mut rows = self.rows.lock().await;
        timeout(TIMEOUT, rows.look(&self.pool, at_rest)).await.ok()?.ok()
    }

    async fn ask_redis(&self) -> anyhow::Result<Live> {
        let mut redis = self.redis.clone();
        let asking = async {
            let offsets = store::metrics_offsets(&mut redis, &self.keys.offsets()).await?;
            let metrics = store::metrics(&mut redis, &self.keys).await?;
            let producers = producers::read(&mut redis, &self.redis_prefix).await?;
            anyhow::Ok(Live { offsets, metrics, producers })
        };
        timeout(TIMEOUT, asking).await.context(SILENT)?
    }

    async fn ask_kafka(&self) -> anyhow::Result<BTreeMap<String, Edges>> {
        let names: Vec<String> = self.streams.iter().flat_map(|(_, topics)| topics).cloned().collect();
        let asking = blocking(&self.topics, move |topics| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            topics.edges(&names, TIMEOUT)
        });
        timeout(TIMEOUT, asking).await.context(SILENT)?
    }

    /// Who reads each topic; none of one that could not be asked about in time.
    async fn ask_groups(&self) -> BTreeMap<String, Members> {
        let stages = self.streams.iter().flat_map(|(stream, topics)| stream.spec.hops.iter().zip(topics));
        let stages: Vec<_> = stages.map(|(hop, topic)| (hop.stage, topic.clone())).collect();
        let asking = blocking(&self.groups, move |groups| Ok(groups.members(&stages, TIMEOUT)));
        timeout(TIMEOUT, asking).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    fn streams(
        &self,
        warehouse: Option<&Warehouse>,
        live: Option<&Live>,
        edges: Option<&BTreeMap<String, Edges>>,
    ) -> Vec<Stream> {
        let stage = |((hop, message), topic): ((&Hop, &Message), &String)| {
            let stored = match hop.store {
                StoreKind::Redis => live.map(|live| live.offsets.clone()),
                StoreKind::Postgres => {
                    let key = (hop.stage.as_str().to_owned(), topic.clone());
                    warehouse.map(|warehouse| warehouse.offsets.get(&key).cloned().unwrap_or_default())
                }
            };
            let partitions = partitions(stored.as_ref(), edges.and_then(|edges| edges.get(topic)));
            Stage::of(hop.stage.as_str(), topic, message.records, partitions)
        };
        let stream = |(stream, topics): &(&StreamDef, Vec<String>)| Stream {
            name: stream.spec.name.to_owned(),
            one: stream.words.one.to_owned(),
            many: stream.words.many.to_owned(),
            stages: stream.spec.hops.iter().zip(stream.messages).zip(topics).map(stage).collect(),
        };
        self.streams.iter().map(stream).collect()
    }

    /// Reads the oldest unapplied record of every partition that lags.
    async fn fill_ages(&self, streams: &mut [Stream], at: DateTime<Utc>) {
        let late = |stage: &Stage| -> Vec<Place> {
            let late = stage.partitions.iter().filter(|partition| partition.lag.is_some_and(|lag| lag > 0));
            late.filter_map(|p| Some((stage.topic.clone(), p.partition, p.next_offset?))).collect()
        };
        let places: Vec<Place> = streams.iter().flat_map(|stream| &stream.stages).flat_map(late).collect();
        if places.is_empty() {
            return;
        }
        let reading = blocking(&self.timestamps, move |timestamps| timestamps.read(places, READ_TIMEOUT));
        let Ok(Ok(read)) = timeout(READ_TIMEOUT * 2, reading).await else { return };
        for stage in streams.iter_mut().flat_map(|stream| &mut stream.stages) {
            let mut partitions = std::mem::take(&mut stage.partitions);
            for partition in partitions.iter_mut().filter(|partition| partition.lag_seconds.is_none()) {
                let Some(next) = partition.next_offset else { continue };
                let written = read.get(&(stage.topic.clone(), partition.partition, next));
                // It waits, so it is not of age 0.
                let age = written.map(|ms| at.timestamp_millis().saturating_sub(*ms).max(1) as f64 / 1000.0);
                partition.lag_seconds = age;
            }
            *stage = Stage::of(&stage.stage, &stage.topic, &stage.records, partitions);
        }
    }
}

/// What every stage has applied, where nothing is left to apply.
fn at_rest(streams: &[Stream]) -> Option<Vec<i64>> {
    let stages = streams.iter().flat_map(|stream| &stream.stages);
    stages.map(|stage| stage.applied.filter(|_| stage.lag == Some(0))).collect()
}

/// Joins what the store and Kafka say of the partitions of a topic.
fn partitions(stored: Option<&BTreeMap<i32, i64>>, edges: Option<&Edges>) -> Vec<Partition> {
    let mut numbers: Vec<i32> = edges.into_iter().flat_map(|edges| edges.keys().copied()).collect();
    if edges.is_none() {
        numbers.extend(stored.into_iter().flat_map(|stored| stored.keys().copied()));
    }
    let partition = |number: i32| {
        let edge = edges.and_then(|edges| edges.get(&number));
        let next_offset = stored.and_then(|stored| {
            let never_read = edge.map(|(low, _)| *low);
            stored.get(&number).copied().or(never_read)
        });
        let end = edge.map(|(_, high)| *high);
        let lag = next_offset.zip(end).map(|(next, end)| (end - next).max(0));
        let lag_seconds = (lag == Some(0)).then_some(0.0);
        Partition { partition: number, next_offset, end, lag, lag_seconds }
    };
    numbers.into_iter().map(partition).collect()
}

/// Runs a question that blocks on a thread of its own; one that still waits for an answer is not asked again.
async fn blocking<T: Send + 'static, R: Send + 'static>(
    client: &Arc<Mutex<T>>,
    ask: impl FnOnce(&mut T) -> rdkafka::error::KafkaResult<R> + Send + 'static,
) -> anyhow::Result<R> {
    let client = Arc::clone(client);
    let asked = tokio::task::spawn_blocking(move || {
        let mut client = match client.try_lock() {
            Ok(client) => client,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => anyhow::bail!(SILENT),
        };
        Ok(ask(&mut client)?)
    });
    asked.await?
}

/// A server by what it answered.
fn part<T>(name: &str, answer: &anyhow::Result<T>) -> Part {
    match answer {
        Ok(_) => Part::ok(name),
        Err(_) => Part::not_ok(name, State::Down, SILENT),
    }
}

/// Asks a service for its health.
async fn ask_service(http: &reqwest::Client, name: &str, url: &str) -> Part {
    let Ok(answer) = http.get(url).send().await else {
        return Part::not_ok(name, State::Down, SILENT);
    };
    if answer.status().is_success() {
        return Part::ok(name);
    }
    let report: Value = answer.json().await.unwrap_or_default();
    Part::not_ok(name, State::Unhealthy, complaint(&report))
}

/// What a health report complains about.
fn complaint(report: &Value) -> String {
    let worker = report["worker"].as_str().filter(|worker| *worker != "ok").map(str::to_owned);
    let checks = report["checks"].as_object().into_iter().flatten();
    let checks = checks.filter_map(|(name, state)| {
        let state = state.as_str().filter(|state| *state != "ok")?;
        Some(format!("{name} {state}"))
    });
    let complaints: Vec<String> = worker.into_iter().chain(checks).collect();
    if complaints.is_empty() { "unhealthy without saying why".to_owned() } else { complaints.join("; ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_told_in_one_line() {
        let report =
            json!({"worker": "waiting for postgres", "checks": {"kafka": "ok", "postgres": "unreachable"}});
        assert_eq!(complaint(&report), "waiting for postgres; postgres unreachable");
        assert_eq!(complaint(&json!({"worker": "ok"})), "unhealthy without saying why");
    }

    #[test]
    fn a_partition_that_was_never_read_lags_by_all_there_is() {
        let edges = Edges::from([(0, (5, 9)), (1, (0, 4))]);
        let stored = BTreeMap::from([(1, 4)]);
        let found = partitions(Some(&stored), Some(&edges));
        let seen: Vec<_> = found.iter().map(|p| (p.next_offset, p.lag, p.lag_seconds)).collect();
        assert_eq!(seen, [(Some(5), Some(4), None), (Some(4), Some(0), Some(0.0))]);
    }

    #[test]
    fn a_side_that_is_down_leaves_the_other() {
        let edges = Edges::from([(0, (0, 9))]);
        let without_store = partitions(None, Some(&edges));
        assert_eq!(
            (without_store[0].next_offset, without_store[0].end, without_store[0].lag),
            (None, Some(9), None)
        );
        let stored = BTreeMap::from([(0, 4)]);
        let without_kafka = partitions(Some(&stored), None);
        assert_eq!(
            (without_kafka[0].next_offset, without_kafka[0].end, without_kafka[0].lag),
            (Some(4), None, None)
        );
    }
}
