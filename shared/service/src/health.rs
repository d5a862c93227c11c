//! `/health`: what works, what does not, and whether the service can do its job.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::Serialize;

use crate::client::Client;
use crate::pg::Probe;
use crate::redis as redis_client;
use crate::status::{NO_CONNECTION, UNREACHABLE, WorkerStatus};

/// A dependency that answers slower than this is down.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);

/// All who ask within this get the same answer: a flood of questions is one question to the servers.
const ASK_EVERY: Duration = Duration::from_secs(1);

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
    /// Clients that answer for a server of their own.
    pub clients: Vec<Arc<dyn Client>>,
    /// The consumer loops.
    pub workers: Vec<Arc<WorkerStatus>>,
    /// The newest answers.
    pub checks: Arc<tokio::sync::Mutex<Option<Checks>>>,
}

impl Health {
    /// What the dependencies say, not older than a second, and what the loops do now.
    pub async fn report(&self) -> Report {
        let checks = self.checks().await;
        let postgres = checks.get("postgres").map(String::as_str);
        let problems = self.workers.iter().filter_map(|worker| worker.problem());
        let problems: Vec<String> = problems.map(|problem| of_pool(problem, postgres)).collect();
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

    /// Whether a loop hangs: the process is of no use any more, and starting it again helps.
    pub fn is_stalled(&self) -> bool {
        self.workers.iter().any(|worker| worker.is_stalled())
    }

    /// Asks every dependency at once, for all who wait.
    async fn checks(&self) -> BTreeMap<String, String> {
        let mut newest = self.checks.lock().await;
        if let Some((at, checks)) = &*newest
            && at.elapsed() < ASK_EVERY
        {
            return checks.clone();
        }
        let (postgres, redis, clients) = tokio::join!(
            self.check_postgres(),
            self.check_redis(),
            join_all(self.clients.iter().cloned().map(check_client))
        );
        let checks: BTreeMap<String, String> = [("postgres", postgres), ("redis", redis)]
            .into_iter()
            .filter_map(|(name, result)| Some((name, result?)))
            .chain(clients)
            .map(|(name, result)| (name.to_owned(), result))
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
}

async fn check_client(client: Arc<dyn Client>) -> (&'static str, Result<(), String>) {
    let name = client.server();
    let asked = tokio::task::spawn_blocking(move || client.ask(CHECK_TIMEOUT));
    (name, asked.await.unwrap_or_else(|e| Err(e.to_string())))
}

/// What is wrong with a dependency that takes too long.
fn silent() -> String {
    format!("does not answer within {CHECK_TIMEOUT:?}")
}

/// Says why a loop gets no connection: a server that answers others has nothing to do with it.
fn of_pool(problem: String, postgres: Option<&str>) -> String {
    match postgres {
        _ if problem != NO_CONNECTION => problem,
        Some("ok") => "all connections of this service are in use (POSTGRES_WORKER_CONNECTIONS)".to_owned(),
        Some(refusal) if refusal != UNREACHABLE && refusal != silent() => format!("postgres {refusal}"),
        _ => "waiting for postgres".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_pool_is_not_taken_for_a_server_that_is_away() {
        let told = |problem: &str, postgres| of_pool(problem.to_owned(), Some(postgres));
        assert!(told(NO_CONNECTION, "ok").contains("in use"));
        for away in [UNREACHABLE.to_owned(), silent()] {
            let said = of_pool(NO_CONNECTION.to_owned(), Some(&away));
            assert_eq!(said, "waiting for postgres");
        }
        assert_eq!(told(NO_CONNECTION, "takes no more connections"), "postgres takes no more connections");
        assert_eq!(told("waiting for redis", "ok"), "waiting for redis");
    }
}
