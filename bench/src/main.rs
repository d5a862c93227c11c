//! `make bench`: what the fleet can do on this machine, what Postgres alone could, and whether the
//! result is right.

mod ceiling;
mod copy;
mod fleet;
mod growth;
mod latency;
mod load;
mod options;
mod procs;
mod report;
mod statements;
mod stream;
mod throughput;
mod verify;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use futures::future::try_join_all;
use strata_streams::STREAMS;
use strata_streams::order::{self, ORDER};
use strata_testkit::{Fleet, Servers, Service};

use crate::fleet::{VARIABLES, WARM_UP, launch};
use crate::load::Load;
use crate::options::Options;
use crate::procs::Processes;
use crate::report::Report;
use crate::verify::Stored;

/// Events of each stream that warm up the servers: Kafka's machine compiles itself while it runs.
const SERVER_WARM_UP: u64 = 40_000;

/// Least share of the ceiling that a full run must reach: well below what is measured, so that it fails for
/// a reason and not for a busy machine.
const LEAST_RATIO: f64 = 0.2;

/// Events of each stream while all run at once, for the memory that takes.
const TOGETHER: u64 = 60_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let options = Options::parse();
    match Box::pin(run(&options)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("strata-bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report {
        at: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
        machine: machine(),
        ..Report::default()
    };
    let servers = Servers::from_env().await;
    if !options.quick {
        eprintln!("warming up");
        let (fleet, processes) = launch(&servers).await;
        all_streams(&fleet, &processes, SERVER_WARM_UP).await?;
    }
    for stream in STREAMS.iter().filter(|stream| options.has(stream.spec.name)) {
        report.throughput.push(Box::pin(throughput::run(options, &servers, stream)).await?);
    }
    Box::pin(one_of_each(options, &servers, &mut report)).await?;
    if options.has("growth") {
        eprintln!("growth");
        let (fleet, processes) = launch(&servers).await;
        let limit = Duration::from_secs(options.growth_limit_secs);
        let marks = options.growth_marks();
        report.growth = growth::run(&fleet, &processes, marks, limit, &mut report.notes).await?;
    }
    if options.has("scaling") {
        report.two_instances = Some(Box::pin(two_instances(options, &servers)).await?);
    }
    print!("{}", report.table());
    if let Some(folder) = options.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let json = serde_json::to_string_pretty(&report)?;
    std::fs::write(&options.out, json + "\n").with_context(|| options.out.display().to_string())?;
    let orders = report.throughput.iter().find(|throughput| throughput.stream == ORDER.name);
    let ratio = orders.and_then(|orders| orders.ratio);
    if let Some(ratio) = ratio.filter(|_| !options.quick) {
        ensure!(
            ratio >= LEAST_RATIO,
            "orders reach {ratio:.2} of the ceiling, at least {LEAST_RATIO} is expected"
        );
    }
    Ok(())
}

/// Memory under all streams, latency and start of one instance of each service.
async fn one_of_each(options: &Options, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let (fleet, processes) = launch(servers).await;
    warm_up(&fleet, &processes).await?;
    let mut stored = Stored::from([(ORDER.name, WARM_UP)]);
    if options.has("together") {
        eprintln!("all streams at once");
        report.together = all_streams(&fleet, &processes, TOGETHER.min(options.events())).await?;
        for (stream, load) in STREAMS.iter().zip(&report.together) {
            *stored.entry(stream.spec.name).or_default() += load.events;
        }
    }
    if options.has("latency") {
        eprintln!("latency");
        let latency = latency::run(&fleet, options.latency_time()).await?;
        *stored.entry(ORDER.name).or_default() += latency.orders;
        report.latency = Some(latency);
    }
    verify::all(&fleet, &stored).await?;
    report.starts = starts(&fleet).await;
    Ok(())
}

/// Loads so many events of every stream at once.
async fn all_streams(fleet: &Fleet, processes: &Processes, events: u64) -> anyhow::Result<Vec<Load>> {
    try_join_all(STREAMS.iter().map(|stream| load::run(fleet, processes, stream, events))).await
}

/// How long each service takes to start, until its health is good.
async fn starts(fleet: &Fleet) -> BTreeMap<String, f64> {
    let mut starts = BTreeMap::new();
    for service in Service::ALL {
        fleet.terminate(service).await;
        let started = Instant::now();
        fleet.start(service);
        fleet.wait_healthy(service).await;
        starts.insert(service.binary().to_owned(), started.elapsed().as_secs_f64());
    }
    starts
}

/// Throughput with two instances of each worker.
async fn two_instances(options: &Options, servers: &Servers) -> anyhow::Result<Load> {
    eprintln!("two instances");
    let fleet = Fleet::launch_with(&VARIABLES).await;
    for service in Service::STAGES {
        fleet.second(service);
    }
    for service in Service::STAGES {
        fleet.wait_second_healthy(service).await;
        fleet.members(service, 2, Duration::from_secs(60)).await;
    }
    let processes = Processes::of(&fleet, &servers.kafka().brokers).await;
    warm_up(&fleet, &processes).await?;
    let load = orders(&fleet, &processes, options.events()).await?;
    verify::all(&fleet, &Stored::from([(ORDER.name, WARM_UP + load.events)])).await?;
    Ok(load)
}

async fn warm_up(fleet: &Fleet, processes: &Processes) -> anyhow::Result<()> {
    orders(fleet, processes, WARM_UP).await.map(drop)
}

async fn orders(fleet: &Fleet, processes: &Processes, count: u64) -> anyhow::Result<Load> {
    load::run(fleet, processes, &order::DEF, count).await
}

/// Cores and what else the machine was doing.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores, load average {load} before the run")
}
