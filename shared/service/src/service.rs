//! The frame of a service: commands, boot order, shutdown.

use std::future::{Future, pending};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::registry::SchemaRegistry;
use crate::restart::{self, RestartNeeded};
use crate::status::{REPORTS_WITHIN, WorkerStatus};
use crate::{Settings, docs, http, pg, redis as redis_client, schemas, server, telemetry, tls, trace};

/// Time a stopping service has for the batch in hand and open requests.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(8);

/// Time between two looks at what the loops report.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What distinguishes one service from another before it is built.
#[derive(Debug, Clone, Copy)]
pub struct ServiceSpec {
    /// Name in `/health` and in Postgres' list of connections.
    pub name: &'static str,
    /// Variable that holds its port.
    pub port_variable: &'static str,
    /// OpenAPI description of its own routes, JSON; see [`crate::docs`].
    pub openapi: &'static str,
    /// True where it reads or writes events, so that a schema registry has to agree to it.
    pub has_events: bool,
}

/// Connections and settings that a service is built from; nothing is connected yet.
pub struct App {
    /// Settings in force.
    pub settings: Settings,
    /// Postgres, for the consumer loops alone.
    pub postgres: PgPool,
    /// Postgres, for requests and whatever else may wait: none of it takes a connection from the loops.
    pub http_postgres: PgPool,
    /// Redis, for the consumer loops alone.
    pub redis: redis_client::Connection,
    /// Redis, for requests and whatever else may wait.
    pub http_redis: redis_client::Connection,
    /// Who knows the schemas that records name.
    pub registry: SchemaRegistry,
    /// Cancelled when the service is told to stop.
    pub shutdown: CancellationToken,
}

/// A loop that the frame starts and watches.
pub trait Runnable: Send {
    /// What `/health` shows of it.
    fn status(&self) -> Arc<WorkerStatus>;
    /// Runs until `token` is cancelled; blocks the thread it is called on.
    fn run(self: Box<Self>, handle: &Handle, token: &CancellationToken) -> anyhow::Result<()>;
}

/// A built service.
#[derive(Default)]
pub struct Assembled {
    /// Its own routes.
    pub routes: Router,
    /// Its consumer loops.
    pub workers: Vec<Box<dyn Runnable>>,
    /// Clients of servers that the frame does not connect to itself.
    pub clients: Vec<Arc<dyn Client>>,
    /// True when health depends on Postgres.
    pub needs_postgres: bool,
    /// True when health depends on Redis.
    pub needs_redis: bool,
}

/// What a service says of its command line.
const USAGE: &str = "serve (default) or healthcheck; --version, --help. Settings: see .env_template";

/// Runs the command given on the command line: `serve` (default), `healthcheck`, `--version` or `--help`.
pub fn run<B, F>(spec: ServiceSpec, build: B) -> ExitCode
where
    B: FnOnce(App) -> F,
    F: Future<Output = anyhow::Result<Assembled>>,
{
    let command = std::env::args().nth(1).unwrap_or_else(|| "serve".to_owned());
    if let Some(said) = said(spec.name, &command) {
        println!("{said}");
        return ExitCode::SUCCESS;
    }
    tls::install();
    let mut settings = match Settings::from_env(spec.port_variable) {
        Ok(settings) => settings,
        Err(e) => {
            eprintln!("{}: {e}; see .env_template", spec.name);
            return ExitCode::from(2);
        }
    };
    settings.kafka.client_id = format!("{}@{}", spec.name, settings.instance());
    telemetry::init(&settings);
    let exporting = match command.as_str() {
        "serve" => trace::start(&settings.traces, spec.name),
        _ => Ok(None),
    };
    let exporting = match exporting {
        Ok(exporting) => exporting,
        Err(e) => {
            eprintln!("{}: {e:#}; see .env_template", spec.name);
            return ExitCode::from(2);
        }
    };
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the async runtime does not start")
        .and_then(|runtime| {
            let result = runtime.block_on(async {
                match command.as_str() {
                    "serve" => serve(spec, settings, build).await,
                    "healthcheck" => healthcheck(&settings).await,
                    other => anyhow::bail!(
                        "unknown command {other:?}: {USAGE}; migrations are applied by strata migrate"
                    ),
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(1));
            result
        });
    if let Some(exporting) = exporting {
        exporting.stop();
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!(error = format!("{e:#}"), "{} failed", spec.name);
            if e.is::<RestartNeeded>() { ExitCode::from(restart::STATUS) } else { ExitCode::FAILURE }
        }
    }
}

/// The answer to what needs no setting.
fn said(name: &str, command: &str) -> Option<String> {
    match command {
        "--version" | "-V" => Some(format!("{name} {}", env!("CARGO_PKG_VERSION"))),
        "--help" | "-h" => Some(format!("{name}: {USAGE}")),
        _ => None,
    }
}

async fn serve<B, F>(spec: ServiceSpec, settings: Settings, build: B) -> anyhow::Result<()>
where
    B: FnOnce(App) -> F,
    F: Future<Output = anyhow::Result<Assembled>>,
{
    // First of all, so that a stop during the start is a stop, too.
    let stop = stop_signal()?;
    let shutdown = CancellationToken::new();
    let postgres = pg::pool(&settings.postgres, spec.name, settings.postgres.worker_connections);
    let metrics = Metrics::install(spec.name)?;
    let address = settings.http_address();
    let probe = Arc::new(pg::Probe::new(&settings.postgres, spec.name));
    let health_redis = redis_client::connect(&settings.redis);
    tracing::info!(?settings, "{} starts", spec.name);
    let (api_key, limits) = (settings.api_key.clone(), settings.http_limits);
    let schemas = schemas::of(&settings.topics);
    let http_redis = redis_client::connect(&settings.redis);
    let registry = match spec.has_events {
        true => SchemaRegistry::start(&settings, http_redis.clone(), shutdown.clone()).await?,
        false => SchemaRegistry::default(),
    };
    let app = App {
        postgres: postgres.clone(),
        http_postgres: pg::pool(&settings.postgres, spec.name, settings.postgres.http_connections),
        redis: redis_client::connect(&settings.redis),
        http_redis,
        registry: registry.clone(),
        settings,
        shutdown: shutdown.clone(),
    };
    let mut assembled = build(app).await?;
    if registry.is_used() {
        assembled.clients.push(Arc::new(registry));
    }
    let metrics = metrics.with_pool(assembled.needs_postgres.then_some(postgres));
    let health = Health {
        service: spec.name,
        postgres: assembled.needs_postgres.then_some(probe),
        redis: assembled.needs_redis.then_some(health_redis),
        clients: assembled.clients.clone(),
        workers: assembled.workers.iter().map(|worker| worker.status()).collect(),
        ..Health::default()
    };
    if api_key.is_none() {
        tracing::info!("APIKEY is not set: requests that change state are open to whoever reaches the port");
    }
    let docs = docs::routes(spec.openapi, spec.name, &schemas)?.merge(schemas::routes(schemas));
    let router = http::with_base_routes(assembled.routes, health, metrics, docs, limits.requests);
    let listener = tokio::net::TcpListener::bind(&*address)
        .await
        .with_context(|| format!("cannot listen on {address}; set {} to a free port", spec.port_variable))?;
    tracing::info!(%address, "{} listens", spec.name);
    let serving = server::serve(listener, router, limits, shutdown.clone());
    let statuses = assembled.workers.iter().map(|worker| worker.status()).collect();
    let failure = restart_needed(statuses, assembled.clients, shutdown.clone())?;
    run_until_stopped(serving, assembled.workers, shutdown, stop, failure).await
}

/// Watches the loops and the clients; the future ends when only a new process helps.
fn restart_needed(
    loops: Vec<Arc<WorkerStatus>>,
    clients: Vec<Arc<dyn Client>>,
    shutdown: CancellationToken,
) -> anyhow::Result<impl Future<Output = RestartNeeded>> {
    let (told, hanging) = oneshot::channel();
    let looks = (REPORTS_WITHIN.as_secs() / LOOK_EVERY.as_secs()) as u32;
    let stuck = move |why| {
        drop(told.send(why));
        // Whatever hangs may keep the rest from its end, too.
        std::thread::sleep(SHUTDOWN_DEADLINE * 2);
        std::process::exit(restart::STATUS.into());
    };
    restart::watch(loops, (LOOK_EVERY, looks), shutdown, stuck)?;
    Ok(async move {
        tokio::select! {
            failure = first_failure(clients) => failure,
            Ok(why) = hanging => why,
        }
    })
}

/// Ends when one of the clients is of no use any more.
async fn first_failure(clients: Vec<Arc<dyn Client>>) -> RestartNeeded {
    let mut failures: FuturesUnordered<_> = clients.iter().map(|client| client.failed()).collect();
    match failures.next().await {
        Some(failure) => failure,
        None => pending().await,
    }
}

/// Serves and works until a signal arrives or a part fails; then gives the rest its deadline.
async fn run_until_stopped(
    serving: impl Future<Output = ()> + Send + 'static,
    workers: Vec<Box<dyn Runnable>>,
    shutdown: CancellationToken,
    stop: impl Future<Output = ()>,
    restart: impl Future<Output = RestartNeeded>,
) -> anyhow::Result<()> {
    let (ended_tx, mut ended) = mpsc::channel::<anyhow::Result<()>>(workers.len() + 1);
    let parts = workers.len() + 1;
    for worker in workers {
        let (token, ended_tx) = (shutdown.clone(), ended_tx.clone());
        let handle = Handle::current();
        std::thread::Builder::new().name("consumer".into()).spawn(move || {
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker.run(&handle, &token)));
            let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("a consumer loop panicked")));
            // The receiver outlives the loops, or the process is ending anyway.
            drop(handle.block_on(ended_tx.send(result)));
        })?;
    }
    tokio::spawn(async move {
        serving.await;
        drop(ended_tx.send(Ok(())).await);
    });

    let mut stopped = 0;
    let first = tokio::select! {
        biased;
        () = stop => {
            tracing::info!("stopping: the batch in hand is finished first");
            Ok(())
        }
        Some(result) = ended.recv() => {
            stopped += 1;
            result.and_then(|()| Err(anyhow::anyhow!("a part of the service ended without being told to")))
        }
        why = restart => Err(why.into()),
    };
    shutdown.cancel();
    let drain = async {
        while stopped < parts {
            match ended.recv().await {
                Some(result) => result?,
                None => break,
            }
            stopped += 1;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(SHUTDOWN_DEADLINE, drain).await {
        Ok(result) => result?,
        // Safe: what is not committed is consumed again.
        Err(_) => tracing::warn!("not everything ended within {} s; leaving", SHUTDOWN_DEADLINE.as_secs()),
    }
    first
}

/// Listens from now on; the future ends when the service is told to stop.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// Asks the service on this machine for its health; for container health checks without curl.
async fn healthcheck(settings: &Settings) -> anyhow::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(&*settings.http_address_here()).await?;
        stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer =
        tokio::time::timeout(Duration::from_secs(4), exchange).await.context("no answer in 4 s")??;
    anyhow::ensure!(answer.split_whitespace().nth(1) == Some("200"), "unhealthy: {answer}");
    Ok(())
}
