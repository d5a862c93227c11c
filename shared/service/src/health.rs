//! `/health`: what works, what does not, and whether the service can do its job.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::Serialize;

use crate::pg::Probe;
use crate::service::{Client, REPORTS_WITHIN};
use crate::{failpoint, redis as redis_client};

/// A dependency that answers slower than this is down.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);

/// All who ask within this get the same answer: a flood of questions is one question to the servers.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What a check says of a dependency that nobody answers for.
pub const UNREACHABLE: &str = "unreachable";

/// What a loop says that got no connection out of its pool; whether that is the pool's fault or that of a
/// server which does not answer, [`Health`] knows.
pub const NO_CONNECTION: &str = "waiting for a connection to postgres";

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
pub struct WorkerStatus(Mutex<State>);

/// What a loop and who looks after it have said.
#[derive(Debug)]
struct State {
    /// Whether the loop can do its work.
    work: Result<(), String>,
    /// When the loop reported last.
    reported: Instant,
    /// What of its topics loses or changes events.
    topics: Vec<String>,
}

impl Default for WorkerStatus {
    fn default() -> Self {
        let work = Err("starting".to_owned());
        Self(Mutex::new(State { work, reported: Instant::now(), topics: Vec::new() }))
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
        self.lock().reported = Instant::now();
    }

    /// What of its topics loses or changes events, though the loop works; none when all fit.
    pub fn topics(&self, misfits: Vec<String>) {
        self.lock().topics = misfits;
    }

    /// When the loop reported last.
    pub fn last_turn(&self) -> Instant {
        self.lock().reported
    }

    /// Whether the loop hangs in a call that does not return.
    pub fn is_stalled(&self) -> bool {
        self.last_turn().elapsed() > failpoint::stall_after(REPORTS_WITHIN)
    }

    fn set(&self, work: Result<(), String>) {
        let mut state = self.lock();
        (state.work, state.reported) = (work, Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn problem(&self) -> Option<String> {
        if self.is_stalled() {
            return Some(format!("stalled: the loop hangs for {} s", self.last_turn().elapsed().as_secs()));
        }
        let State { work, topics, .. } = &*self.lock();
        let work = work.as_ref().err().map(String::as_str);
        let said: Vec<&str> = work.into_iter().chain(topics.iter().map(String::as_str)).collect();
        (!said.is_empty()).then(|| said.join(" | "))
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

    /// A loop that said this so long ago.
    fn said(work: Result<(), String>, ago: Duration) -> WorkerStatus {
        let reported = Instant::now().checked_sub(ago).expect("uptime");
        WorkerStatus(Mutex::new(State { work, reported, topics: Vec::new() }))
    }

    #[test]
    fn a_loop_that_hangs_is_stalled_whatever_it_said_and_one_that_waits_is_not() {
        let long = REPORTS_WITHIN + Duration::from_secs(1);
        for state in [Ok(()), Err("waiting for postgres".to_owned())] {
            let hanging = said(state.clone(), long);
            assert!(hanging.is_stalled());
            assert!(hanging.problem().is_some_and(|problem| problem.starts_with("stalled")));
            let slow = said(state.clone(), REPORTS_WITHIN - Duration::from_secs(5));
            assert!(!slow.is_stalled());
            assert_eq!(slow.problem(), state.clone().err());
            hanging.turned();
            assert_eq!(hanging.problem(), state.err());
        }
    }

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
