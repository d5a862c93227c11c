//! `/health`: what works, what does not, and whether the service can do its job.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::kafka::producer::Producer;
use crate::pg::Probe;
use crate::redis as redis_client;

/// A dependency that answers slower than this is down.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);

/// All who ask within this get the same answer: a flood of questions is one question to the servers.
const ASK_EVERY: Duration = Duration::from_secs(1);

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

/// What the dependencies answered, by name, and when.
type Checks = (Instant, BTreeMap<String, String>);

/// What a service depends on.
#[derive(Clone, Default)]
pub struct Health {
    /// Name of the service in the answer.
    pub service: &'static str,
    /// Postgres, where used.
    pub postgres: Option<Arc<Probe>>,
    /// Redis, where used.
    pub redis: Option<redis_client::Connection>,
    /// Kafka, where used.
    pub kafka: Option<Producer>,
    /// The consumer loops.
    pub workers: Vec<Arc<WorkerStatus>>,
    /// The newest answers.
    pub checks: Arc<tokio::sync::Mutex<Option<Checks>>>,
}

impl Health {
    /// What the dependencies say, not older than [`ASK_EVERY`], and what the loops do now.
    pub async fn report(&self) -> Report {
        let checks = self.checks().await;
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

    /// Asks every dependency at once, for all who wait.
    async fn checks(&self) -> BTreeMap<String, String> {
        let mut newest = self.checks.lock().await;
        if let Some((at, checks)) = &*newest
            && at.elapsed() < ASK_EVERY
        {
            return checks.clone();
        }
        let (postgres, redis, kafka) =
            tokio::join!(self.check_postgres(), self.check_redis(), self.check_kafka());
        let checks: BTreeMap<String, String> = [("postgres", postgres), ("redis", redis), ("kafka", kafka)]
            .into_iter()
            .filter_map(|(name, result)| Some((name.to_owned(), result?)))
            .map(|(name, result)| (name, result.err().unwrap_or_else(|| "ok".to_owned())))
            .collect();
        *newest = Some((Instant::now(), checks.clone()));
        checks
    }

    async fn check_postgres(&self) -> Option<Result<(), String>> {
        let asked = tokio::time::timeout(CHECK_TIMEOUT, self.postgres.as_ref()?.ask()).await;
        Some(asked.unwrap_or_else(|_| Err(silent())))
    }

    async fn check_redis(&self) -> Option<Result<(), String>> {
        let asked = tokio::time::timeout(CHECK_TIMEOUT, self.redis.as_ref()?.ask()).await;
        Some(asked.unwrap_or_else(|_| Err(silent())))
    }

    async fn check_kafka(&self) -> Option<Result<(), String>> {
        let producer = self.kafka.clone()?;
        let asked = tokio::task::spawn_blocking(move || producer.ask(CHECK_TIMEOUT));
        Some(asked.await.unwrap_or_else(|e| Err(e.to_string())))
    }
}

/// What is wrong with a dependency that takes too long.
fn silent() -> String {
    format!("does not answer within {CHECK_TIMEOUT:?}")
}
