//! `/health`: what works, what does not, and whether the service can do its job.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::ConnectionManager;
use serde::Serialize;
use sqlx::PgPool;

use crate::kafka::producer::Producer;

/// A dependency that answers slower than this is down.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);

/// A worker that has not turned its loop for this long is stalled.
const STALL_AFTER: Duration = Duration::from_secs(60);

/// What `/health` answers.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Name of the service.
    pub service: &'static str,
    /// `ok` or `unhealthy`.
    pub status: &'static str,
    /// `ok`: this answer is the proof.
    pub api: &'static str,
    /// `ok`, or what the consumer loop waits for; absent where there is no loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Dependencies by name: `ok` or what is wrong.
    pub checks: BTreeMap<String, String>,
}

impl Report {
    /// Every check and whether it is well; the consumer loops together are one, `worker`.
    pub(crate) fn results(&self) -> impl Iterator<Item = (String, bool)> {
        let worker = self.worker.iter().map(|state| ("worker".to_owned(), state == "ok"));
        self.checks.iter().map(|(name, state)| (name.clone(), state == "ok")).chain(worker)
    }

    /// True when every check passed.
    pub fn is_healthy(&self) -> bool {
        self.status == "ok"
    }
}

/// State of one consumer loop, shared with `/health`.
#[derive(Debug)]
pub struct WorkerStatus(Mutex<(Result<(), String>, Instant)>);

impl Default for WorkerStatus {
    fn default() -> Self {
        Self(Mutex::new((Err("starting".to_owned()), Instant::now())))
    }
}

impl WorkerStatus {
    /// The loop turned and can do its work.
    pub fn ok(&self) {
        self.set(Ok(()));
    }

    /// The loop turned, but waits for something that an operator can read here.
    pub fn waiting(&self, why: impl Into<String>) {
        self.set(Err(why.into()));
    }

    /// The loop is not stuck: a part of what it does came to its end.
    pub fn turned(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Instant::now();
    }

    /// When the loop reported last.
    pub fn last_turn(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn set(&self, state: Result<(), String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (state, Instant::now());
    }

    fn problem(&self) -> Option<String> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &guard.0 {
            Err(why) => Some(why.clone()),
            Ok(()) if guard.1.elapsed() > STALL_AFTER => {
                Some(format!("stalled for {} s", guard.1.elapsed().as_secs()))
            }
            Ok(()) => None,
        }
    }
}

/// What a service depends on.
#[derive(Clone, Default)]
pub struct Health {
    /// Name of the service in the answer.
    pub service: &'static str,
    /// Postgres, where used.
    pub postgres: Option<PgPool>,
    /// Redis, where used.
    pub redis: Option<ConnectionManager>,
    /// Kafka, where used.
    pub kafka: Option<Producer>,
    /// The consumer loops.
    pub workers: Vec<Arc<WorkerStatus>>,
}

impl Health {
    /// Asks every dependency at once.
    pub async fn report(&self) -> Report {
        let (postgres, redis, kafka) =
            tokio::join!(self.check_postgres(), self.check_redis(), self.check_kafka());
        let checks: BTreeMap<String, String> = [("postgres", postgres), ("redis", redis), ("kafka", kafka)]
            .into_iter()
            .filter_map(|(name, result)| Some((name.to_owned(), result?)))
            .map(|(name, ok)| (name, if ok { "ok" } else { "unreachable" }.to_owned()))
            .collect();
        let problems: Vec<String> = self.workers.iter().filter_map(|worker| worker.problem()).collect();
        let healthy = problems.is_empty() && checks.values().all(|check| check == "ok");
        Report {
            service: self.service,
            status: if healthy { "ok" } else { "unhealthy" },
            api: "ok",
            // A problem may name statements to run, so what stands between two is not of SQL.
            worker: (!self.workers.is_empty())
                .then(|| if problems.is_empty() { "ok".to_owned() } else { problems.join(" | ") }),
            checks,
        }
    }

    async fn check_postgres(&self) -> Option<bool> {
        let pool = self.postgres.as_ref()?;
        let query = sqlx::query("select 1").execute(pool);
        Some(tokio::time::timeout(CHECK_TIMEOUT, query).await.is_ok_and(|result| result.is_ok()))
    }

    async fn check_redis(&self) -> Option<bool> {
        let mut connection = self.redis.clone()?;
        let ping = redis::cmd("PING");
        let ping = ping.query_async::<String>(&mut connection);
        Some(tokio::time::timeout(CHECK_TIMEOUT, ping).await.is_ok_and(|result| result.is_ok()))
    }

    async fn check_kafka(&self) -> Option<bool> {
        let producer = self.kafka.clone()?;
        let asked = tokio::task::spawn_blocking(move || producer.is_reachable(CHECK_TIMEOUT));
        Some(asked.await.unwrap_or(false))
    }
}
