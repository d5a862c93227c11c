//! The fleet under fire: random faults under steady load, then every layer equals the model.
//!
//! A seed decides when which fault hits what; a failing seed repeats the same schedule. The servers are
//! the test's own, so that killing them disturbs nobody. A further stream takes part by itself.

mod events;
mod faults;
mod garbage;
mod load;
mod orders;
mod report;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use strata_testkit::{Fleet, LocalServers, Proxy, Server, Service};
use tokio::sync::RwLock;

use report::Report;

/// The seed of every `make test`; `make chaos` takes a random one.
const FIXED_SEED: u64 = 20_250_222;

/// Length of the short run.
const SHORT: Duration = Duration::from_secs(20);

/// Deadline of what follows the chaos: everything comes back, and the rest is read.
const DRAINED: Duration = Duration::from_secs(240);

/// Longer than Redis may take to write down what it was told: what is older survives its death.
const WRITTEN_DOWN: Duration = Duration::from_secs(3);

/// One run: the fleet, its servers, and what is between them.
struct Chaos {
    fleet: Fleet,
    servers: Arc<LocalServers>,
    /// Between the services and Postgres.
    postgres: Proxy,
    /// Between the services and Redis.
    redis: Proxy,
    /// Held for reading by what asks Kafka from here, for writing by what kills it.
    kafka: RwLock<()>,
    seed: u64,
    length: Duration,
    begin: Instant,
    /// True when no further fault comes; the load ends then.
    over: AtomicBool,
    report: Report,
}

impl Chaos {
    async fn prepare(servers: Arc<LocalServers>, seed: u64, length: Duration) -> Self {
        let proxy = |server| Proxy::start(([127, 0, 0, 1], servers.port(server)).into());
        let (postgres, redis) = (proxy(Server::Postgres), proxy(Server::Redis));
        let small = [("BATCH_MAX_ROWS", "100"), ("LOG_LEVEL", "info,strata_pipeline=debug")];
        let mut fleet = Fleet::prepare_on(servers.servers(), &small).await;
        let through = |url: &str, server, proxy: &Proxy| {
            url.replace(&format!(":{}", servers.port(server)), &format!(":{}", proxy.port()))
        };
        fleet.change_variable("DATABASE_URL", |url| through(url, Server::Postgres, &postgres));
        fleet.change_variable("REDIS_URL", |url| through(url, Server::Redis, &redis));
        for service in Service::ALL {
            fleet.start(service);
        }
        for service in Service::ALL {
            fleet.wait_healthy(service).await;
        }
        fleet.put_reference(&crate::support::reference()).await;
        tokio::time::sleep(WRITTEN_DOWN).await;
        Self {
            fleet,
            servers,
            postgres,
            redis,
            kafka: RwLock::default(),
            seed,
            length,
            begin: Instant::now(),
            over: AtomicBool::new(false),
            report: Report::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// One seed from beginning to end.
async fn chaos(servers: Arc<LocalServers>, seed: u64, length: Duration) {
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={}", length.as_secs());
    let chaos = Chaos::prepare(servers, seed, length).await;
    let reference = chaos.fleet.reference().await;
    let _table = report::Table(&chaos);
    let faults = async {
        schedule::run_all(&chaos).await;
        chaos.over.store(true, Ordering::Relaxed);
    };
    let (orders, events, ()) = tokio::join!(orders::load(&chaos), events::load(&chaos), faults);
    chaos.fleet.assert_running();
    chaos.fleet.all_at_rest(DRAINED).await;
    for service in Service::ALL {
        chaos.fleet.wait_healthy(service).await;
    }
    let after = chaos.fleet.reference().await;
    assert_eq!((&reference.users, &reference.restaurants), (&after.users, &after.restaurants));
    orders::verify(&chaos, &orders, &reference).await;
    events::verify(&chaos, &events).await;
    for (stage, topic) in chaos.fleet.inputs() {
        garbage::verify(&chaos, stage, &topic).await;
    }
}

/// The seed and the length: the environment's, a random seed where it has only the length, else a fixed one for a
/// short while.
fn chosen() -> (u64, Duration) {
    let read = |name: &str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some(value.parse::<u64>().unwrap_or_else(|e| panic!("{name}={value}: {e}")))
    };
    let seconds = read("CHAOS_SECONDS").map(Duration::from_secs);
    let seed = match (read("CHAOS_SEED"), seconds) {
        (Some(seed), _) => seed,
        (None, Some(_)) => rand::rng().random_range(0..1_000_000),
        (None, None) => FIXED_SEED,
    };
    (seed, seconds.unwrap_or(SHORT))
}

#[tokio::test]
async fn nothing_is_lost_or_counted_twice_under_random_faults() {
    let (seed, length) = chosen();
    Box::pin(chaos(Arc::new(LocalServers::start().await), seed, length)).await;
}
