//! The faults, each from its beginning until it is over.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, IteratorRandom as _};
use strata_testkit::{NewRecord, Server, Service};
use tokio::time::sleep;

use super::{Chaos, garbage};

/// Records that are sent again at once, at most.
const DUPLICATES: usize = 25;

/// What a service is told to stop with.
const SIGTERM: i32 = 15;

/// One fault. Durations are how long it lasts before it is over.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// `kill -9` of a service.
    Kill(Service, Duration),
    /// SIGTERM of a service.
    Restart(Service, Duration),
    /// SIGSTOP of a service; of a stage for longer than its session.
    Freeze(Service, Duration),
    /// A second instance joins and leaves, killed (true) or told to.
    Join(Service, Duration, bool),
    /// A second instance joins; the first is killed while both are there, and comes back.
    TakeOver(Service, Duration),
    /// `pg_ctl -m immediate`.
    CrashPostgres(Duration),
    /// Every connection to Postgres is cut.
    CutPostgres(Duration),
    /// `kill -9` of Redis.
    CrashRedis(Duration),
    /// Every connection to Redis is cut.
    CutRedis(Duration),
    /// `kill -9` of Kafka.
    CrashKafka(Duration),
    /// The operator rebuilds a layer: which one, and where the tool dies, if it does.
    Rebuild(&'static str, Option<&'static str>),
    /// Records of a topic stand in it once more.
    Duplicates(u64),
    /// Records that cannot be used.
    Garbage(u64),
    /// A topic gets one partition more, so that keys go elsewhere.
    AddPartition(u64),
}

impl Fault {
    /// Its name in the report.
    pub fn kind(self) -> String {
        match self {
            Self::Kill(service, _) => format!("kill -9 {}", service.binary()),
            Self::Restart(service, _) => format!("stop and start {}", service.binary()),
            Self::Freeze(service, _) => format!("freeze and thaw {}", service.binary()),
            Self::Join(service, ..) => format!("second {} joins and leaves", service.binary()),
            Self::TakeOver(service, _) => format!("second {} takes over", service.binary()),
            Self::CrashPostgres(_) => "crash of postgres".to_owned(),
            Self::CutPostgres(_) => "connections to postgres cut".to_owned(),
            Self::CrashRedis(_) => "kill -9 redis".to_owned(),
            Self::CutRedis(_) => "connections to redis cut".to_owned(),
            Self::CrashKafka(_) => "kill -9 kafka".to_owned(),
            Self::Rebuild(target, None) => format!("strata rebuild {target}"),
            Self::Rebuild(target, Some(_)) => format!("strata rebuild {target}, killed"),
            Self::Duplicates(_) => "duplicates on a topic".to_owned(),
            Self::Garbage(_) => "garbage on a topic".to_owned(),
            Self::AddPartition(_) => "a partition added to a topic".to_owned(),
        }
    }

    /// Has it happen, and mends it.
    pub async fn happen(self, chaos: &Chaos) {
        let fleet = &chaos.fleet;
        match self {
            Self::Kill(service, pause) => {
                fleet.assert_running();
                fleet.kill(service);
                sleep(pause).await;
                fleet.start(service);
            }
            Self::Restart(service, pause) => {
                let stopped = fleet.terminate(service).await;
                assert_ended_well(service, stopped.status);
                sleep(pause).await;
                fleet.start(service);
            }
            Self::Freeze(service, pause) => {
                fleet.freeze(service);
                sleep(pause).await;
                fleet.thaw(service);
            }
            Self::Join(service, pause, killed) => {
                fleet.second(service);
                sleep(pause).await;
                if killed {
                    fleet.kill_second(service);
                } else {
                    let stopped = fleet.terminate_second(service).await;
                    assert_ended_well(service, stopped.status);
                }
            }
            Self::TakeOver(service, pause) => {
                fleet.second(service);
                sleep(pause).await;
                fleet.kill(service);
                sleep(pause).await;
                fleet.start(service);
                sleep(pause).await;
                fleet.kill_second(service);
            }
            Self::CrashPostgres(pause) => crash(chaos, Server::Postgres, pause).await,
            Self::CrashRedis(pause) => crash(chaos, Server::Redis, pause).await,
            Self::CrashKafka(pause) => {
                let _alone = chaos.kafka.write().await;
                crash(chaos, Server::Kafka, pause).await;
            }
            Self::CutPostgres(pause) => {
                chaos.postgres.cut();
                sleep(pause).await;
                chaos.postgres.resume();
            }
            Self::CutRedis(pause) => {
                chaos.redis.cut();
                sleep(pause).await;
                chaos.redis.resume();
            }
            Self::Rebuild(target, window) => rebuild(chaos, target, window).await,
            Self::Duplicates(seed) => duplicate(chaos, &mut StdRng::seed_from_u64(seed)).await,
            Self::Garbage(seed) => garbage::send(chaos, &mut StdRng::seed_from_u64(seed)).await,
            Self::AddPartition(seed) => add_partition(chaos, &mut StdRng::seed_from_u64(seed)).await,
        }
    }
}

/// A service that is told to stop ends by itself; one that had only just started may not listen yet.
fn assert_ended_well(service: Service, status: ExitStatus) {
    let unheard = status.signal() == Some(SIGTERM);
    assert!(status.success() || unheard, "{service:?} ended with {status}");
}

async fn crash(chaos: &Chaos, server: Server, pause: Duration) {
    chaos.servers.crash(server).await;
    sleep(pause).await;
    chaos.servers.restart(server).await;
}

/// Rebuilds a layer; what the tool needs may be down, then it fails, and nothing has happened.
///
/// Kafka stays up meanwhile: its start takes so long that hardly any rebuild would come to its end.
async fn rebuild(chaos: &Chaos, target: &str, window: Option<&str>) {
    let _kafka = chaos.kafka.read().await;
    let arguments = ["rebuild", target];
    let output = match window {
        Some(window) => chaos.fleet.strata_failing(&arguments, &format!("{window}:kill")).await,
        None => chaos.fleet.strata(&arguments).await,
    };
    let done = output.status.success();
    chaos.report.add(if done { "rebuilds that came to their end" } else { "rebuilds that did not" }, 1);
    if !done {
        println!("         {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default());
    }
}

/// Gives a topic one partition more.
async fn add_partition(chaos: &Chaos, random: &mut StdRng) {
    let _kafka = chaos.kafka.read().await;
    let inputs = chaos.fleet.inputs();
    let Some((_, topic)) = inputs.choose(random) else { return };
    let kafka = chaos.fleet.kafka();
    let known = kafka.watermarks(topic).await.len();
    kafka.add_partitions(topic, known + 1).await;
}

/// Sends records of a topic again, headers and all.
async fn duplicate(chaos: &Chaos, random: &mut StdRng) {
    let _kafka = chaos.kafka.read().await;
    let inputs = chaos.fleet.inputs();
    let Some((_, topic)) = inputs.choose(random) else { return };
    let records = chaos.fleet.kafka().read_all(topic).await;
    let mut chosen: Vec<_> = records.iter().sample(random, DUPLICATES);
    // A crashed sender repeats records in their order, to the partitions that it had chosen.
    chosen.sort_by_key(|record| (record.partition, record.offset));
    let again: Vec<NewRecord> =
        chosen.into_iter().map(|record| NewRecord::from(record).partition(record.partition)).collect();
    chaos.report.add("records sent twice", again.len());
    chaos.fleet.kafka().produce(topic, &again).await;
}
