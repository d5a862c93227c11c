//! Throughput: from `POST /push` until the last layer holds everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use redis::AsyncCommands as _;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use strata_streams::StreamDef;
use strata_testkit::{Fleet, Service};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::procs::{Cpu, Memory, Processes, spent};
use crate::stream::{all_tables, ends_in_redis, topics};
use crate::verify::count;

/// Time between two looks at the stored offsets.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// A load that takes longer than this hangs.
const LOADED_WITHIN: Duration = Duration::from_secs(1800);

/// One stage during a load.
#[derive(Debug, Clone, Serialize)]
pub struct StageRate {
    /// Layer.
    pub stage: &'static str,
    /// Records it read.
    pub records: i64,
    /// From its first to its last progress.
    pub seconds: f64,
    /// Records a second in that time.
    pub per_second: f64,
}

/// What a load was measured to be.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// Events pushed.
    pub events: u64,
    /// Rows written, of all tables.
    pub rows: u64,
    /// From the request until the last layer held everything.
    pub seconds: f64,
    /// Until `/push` was answered.
    pub push_seconds: f64,
    /// Events a second.
    pub events_per_second: f64,
    /// Rows a second.
    pub rows_per_second: f64,
    /// By layer.
    pub stages: Vec<StageRate>,
    /// CPU seconds per 1 000 events, by process.
    pub cpu_seconds_per_1000: Cpu,
    /// Resident MiB of each service: at the end, and the most.
    pub memory_mib: Memory,
}

/// Pushes `events` and waits until all stages have applied all that came of them.
pub async fn run(
    fleet: &Fleet,
    processes: &Processes,
    stream: &StreamDef,
    events: u64,
) -> anyhow::Result<Load> {
    let rows_before = rows(fleet.pool(), stream).await?;
    processes.forget_peaks();
    let cpu_before = processes.cpu();
    let sampler = Sampler::start(fleet, stream).await;
    let started = Instant::now();
    let answer = push(fleet, json!({"N": events, "stream": stream.spec.name})).await?;
    ensure!(answer.1["messages_pushed"] == json!(events), "/push answered {}: {}", answer.0, answer.1);
    let push_seconds = started.elapsed().as_secs_f64();
    fleet.stream_at_rest(stream, LOADED_WITHIN).await;
    let samples = sampler.stop().await?;
    let memory_mib = processes.memory();
    let cpu = spent(&cpu_before, &processes.cpu());
    let (stages, ended) = rates(stream, &samples);
    let seconds = (ended - started).as_secs_f64();
    let rows = rows(fleet.pool(), stream).await?.saturating_sub(rows_before);
    Ok(Load {
        events,
        rows,
        seconds,
        push_seconds,
        events_per_second: events as f64 / seconds,
        rows_per_second: rows as f64 / seconds,
        stages,
        cpu_seconds_per_1000: cpu.into_iter().map(|(name, s)| (name, s * 1000.0 / events as f64)).collect(),
        memory_mib,
    })
}

/// Sends a request to `/push` and returns status and body; waits as long as it takes.
pub async fn push(fleet: &Fleet, body: Value) -> anyhow::Result<(u16, Value)> {
    let url = format!("{}/push", fleet.url(Service::DataSource));
    let request = reqwest::Client::new().post(url).header("content-type", "application/json");
    let answer = request.body(body.to_string()).timeout(LOADED_WITHIN).send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_str(&answer.text().await?)?))
}

/// Rows of all tables of a stream.
async fn rows(pool: &PgPool, stream: &StreamDef) -> anyhow::Result<u64> {
    let mut rows = 0;
    for table in all_tables(stream) {
        rows += count(pool, &format!("select count(*) from {table}")).await?;
    }
    Ok(rows)
}

/// Records read by stage, at a time.
type Sample = (Instant, BTreeMap<String, i64>);

/// Looks at the stored offsets while a load runs.
struct Sampler {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<Vec<Sample>>>,
}

impl Sampler {
    async fn start(fleet: &Fleet, stream: &StreamDef) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let pool = fleet.pool().clone();
        let topics: Vec<String> = topics(stream, fleet).into_iter().map(|(_, topic)| topic).collect();
        let mut in_redis = match ends_in_redis(stream) {
            true => Some((fleet.redis().await, fleet.metrics_keys().offsets())),
            false => None,
        };
        let task = tokio::spawn(async move {
            let mut samples = Vec::new();
            let mut ticks = tokio::time::interval(SAMPLE_EVERY);
            loop {
                let last = tokio::select! {
                    _ = ticks.tick() => false,
                    _ = &mut stopped => true,
                };
                let mut progress = progress(&pool, &topics).await?;
                if let Some((redis, key)) = &mut in_redis {
                    let offsets: Vec<i64> = redis.hvals(&*key).await?;
                    progress.insert(Service::Cdm.binary().to_owned(), offsets.iter().sum());
                }
                samples.push((Instant::now(), progress));
                if last {
                    return Ok(samples);
                }
            }
        });
        Self { stop, task }
    }

    async fn stop(self) -> anyhow::Result<Vec<Sample>> {
        // The receiver is gone only when the task has failed, and then the task says why.
        self.stop.send(()).ok();
        self.task.await?
    }
}

async fn progress(pool: &PgPool, topics: &[String]) -> anyhow::Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select stage, sum(next_offset)::bigint from ops.consumer_offsets where topic = any($1) group by stage",
    )
    .bind(topics)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().collect())
}

/// The rate of each stage, and when the last one was done.
fn rates(stream: &StreamDef, samples: &[Sample]) -> (Vec<StageRate>, Instant) {
    let at = |index: usize, stage: &str| samples[index].1.get(stage).copied().unwrap_or_default();
    let last = samples.len() - 1;
    let mut done = 0;
    let mut stages = Vec::new();
    for stage in stream.spec.hops.iter().map(|hop| hop.stage.as_str()) {
        let (start, end) = (at(0, stage), at(last, stage));
        // The sample before the first progress, and the first that shows all of it.
        let began = (0..=last).rev().find(|&i| at(i, stage) == start).unwrap_or_default();
        let ended = (0..=last).find(|&i| at(i, stage) == end).unwrap_or(last);
        let seconds = (samples[ended].0.saturating_duration_since(samples[began].0)).as_secs_f64();
        done = done.max(ended);
        stages.push(StageRate {
            stage,
            records: end - start,
            seconds,
            per_second: if seconds > 0.0 { (end - start) as f64 / seconds } else { 0.0 },
        });
    }
    (stages, samples[done].0)
}
