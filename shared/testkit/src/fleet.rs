//! The four services as processes, with everything they touch belonging to one test.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use strata_events::stream::dlq_topic;
use strata_events::{StageId, StreamSpec};
use strata_streams::STREAMS;
use strata_streams::order::ORDER;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::database::{TestDatabase, block_on_thread};
use crate::eventually::eventually;
use crate::kafka::Kafka;
use crate::model::Model;
use crate::process::{Process, Stopped};
use crate::reference::Reference;
use crate::servers::Servers;

/// A service that is not healthy within this does not start.
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);

/// A service that was told to stop is gone within this.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// Time between two looks at whether a process has asked to be started again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A service of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Publishes orders and keeps the reference data.
    DataSource,
    /// Raw layer.
    Stg,
    /// Data Vault.
    Dds,
    /// Data marts.
    Cdm,
    /// `strata serve`; it looks at the others and is not started with them.
    Console,
}

impl Service {
    /// The data plane: all but the console.
    pub const ALL: [Self; 4] = [Self::DataSource, Self::Stg, Self::Dds, Self::Cdm];

    /// Those with a consumer loop, in the order of the layers.
    pub const STAGES: [Self; 3] = [Self::Stg, Self::Dds, Self::Cdm];

    /// The service that is a stage.
    pub const fn of(stage: StageId) -> Self {
        match stage {
            StageId::Stg => Self::Stg,
            StageId::Dds => Self::Dds,
            StageId::Cdm => Self::Cdm,
        }
    }

    /// Name of the binary.
    pub const fn binary(self) -> &'static str {
        match self {
            Self::DataSource => "data-source",
            Self::Stg => StageId::Stg.as_str(),
            Self::Dds => StageId::Dds.as_str(),
            Self::Cdm => StageId::Cdm.as_str(),
            Self::Console => "strata",
        }
    }

    /// Variable that holds its port.
    const fn port_variable(self) -> &'static str {
        match self {
            Self::DataSource => "DATA_SOURCE_PORT",
            Self::Stg => "STG_PORT",
            Self::Dds => "DDS_PORT",
            Self::Cdm => "CDM_PORT",
            Self::Console => "CONSOLE_PORT",
        }
    }
}

/// A running process and whether it is the second of its service.
pub(crate) type Slot = (Service, bool);

/// The running processes.
type Processes = Mutex<BTreeMap<Slot, Process>>;

/// The fleet of one test.
pub struct Fleet {
    pub(crate) suffix: String,
    pub(crate) environment: Vec<(String, String)>,
    processes: Arc<Processes>,
    started: AtomicU32,
    log_dir: PathBuf,
    pub(crate) http: reqwest::Client,
    kafka: Kafka,
    servers: Servers,
    database: TestDatabase,
    _permit: OwnedSemaphorePermit,
}

impl Fleet {
    /// Starts all four services and waits until they are healthy.
    pub async fn launch() -> Self {
        Self::launch_with(&[]).await
    }

    /// As [`Fleet::launch`], with further variables in the environment of every service.
    pub async fn launch_with(variables: &[(&str, &str)]) -> Self {
        Self::launch_only(&Service::ALL, variables).await
    }

    /// As [`Fleet::launch_with`], but starts these services alone.
    pub async fn launch_only(services: &[Service], variables: &[(&str, &str)]) -> Self {
        let fleet = Self::prepare(variables).await;
        for service in services {
            fleet.start(*service);
        }
        for service in services {
            fleet.wait_healthy(*service).await;
        }
        fleet
    }

    /// Makes database, names and logs; no service runs yet.
    pub async fn prepare(variables: &[(&str, &str)]) -> Self {
        Self::prepare_on(Servers::from_env().await, variables).await
    }

    /// As [`Fleet::prepare`], on these servers.
    pub async fn prepare_on(servers: Servers, variables: &[(&str, &str)]) -> Self {
        let permit = Arc::clone(gate()).acquire_owned().await.expect("the gate stays open");
        let database = TestDatabase::create(&servers).await;
        let suffix = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let log_dir = std::env::temp_dir().join("strata-tests").join(&suffix);
        std::fs::create_dir_all(&log_dir).unwrap_or_else(|e| panic!("{}: {e}", log_dir.display()));
        let mut environment: Vec<(String, String)> = [
            ("REDIS_PREFIX", format!("{suffix}:")),
            ("KAFKA_GROUP_PREFIX", format!("{suffix}-")),
            ("KAFKA_SESSION_TIMEOUT_MS", "2000".to_owned()),
            ("HTTP_HOST", "127.0.0.1".to_owned()),
            ("LOG_LEVEL", "info".to_owned()),
            ("RECONCILE_EVERY_MINUTES", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        environment.extend(servers.variables(database.name()));
        environment.extend(
            strata_streams::topics()
                .map(|topic| (topic.env.to_owned(), format!("{}_{suffix}", topic.default))),
        );
        // A service keeps its port when it is started again: the others, and the tool, know it.
        let services = Service::ALL.into_iter().chain([Service::Console]);
        environment
            .extend(services.map(|service| (service.port_variable().to_owned(), free_port().to_string())));
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self {
            environment,
            processes: supervised(),
            started: AtomicU32::new(0),
            log_dir,
            http: reqwest::Client::new(),
            kafka: Kafka::new(servers.kafka()),
            suffix,
            servers,
            database,
            _permit: permit,
        }
    }

    /// Sets a variable for every process that starts from now on.
    pub fn add_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Everything that the services have logged so far.
    pub fn logs(&self) -> String {
        let files =
            std::fs::read_dir(&self.log_dir).unwrap_or_else(|e| panic!("{}: {e}", self.log_dir.display()));
        let read = |file: std::fs::DirEntry| {
            String::from_utf8_lossy(&std::fs::read(file.path()).unwrap_or_default()).into_owned()
        };
        files.filter_map(Result::ok).map(read).collect()
    }

    /// Replaces a variable for every process that starts from now on; `change` gets the value so far.
    pub fn change_variable(&mut self, name: &str, change: impl FnOnce(&str) -> String) {
        let value = change(&self.topic(name));
        self.environment.push((name.to_owned(), value));
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn with<T>(&self, service: Service, act: impl FnOnce(&mut Process) -> T) -> T {
        let mut processes = self.processes();
        act(processes.get_mut(&(service, false)).unwrap_or_else(|| panic!("{service:?} does not run")))
    }

    pub(crate) fn processes(&self) -> MutexGuard<'_, BTreeMap<Slot, Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn start_slot(&self, slot: Slot, variables: &[(&str, &str)]) {
        let (service, second) = slot;
        let port = if second { free_port() } else { self.port_of(service) };
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.log_dir.join(format!("{}-{number}.log", service.binary()));
        let mut environment = self.environment.clone();
        environment.push((service.port_variable().to_owned(), port.to_string()));
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = Process::start(service.binary(), &environment, log, port);
        assert!(self.processes().insert(slot, process).is_none(), "{service:?} runs already");
    }

    /// Starts a service that does not run.
    pub fn start(&self, service: Service) {
        self.start_slot((service, false), &[]);
    }

    /// Starts the console and waits until it is healthy.
    pub async fn launch_console(&self) {
        self.start(Service::Console);
        self.wait_healthy(Service::Console).await;
    }

    /// Starts one more instance of a service.
    pub fn second(&self, service: Service) {
        self.start_slot((service, true), &[]);
    }

    pub(crate) fn take(&self, slot: Slot) -> Process {
        self.processes().remove(&slot).unwrap_or_else(|| panic!("{:?} does not run", slot.0))
    }

    /// Ends a service with SIGKILL.
    pub fn kill(&self, service: Service) {
        self.take((service, false)).kill();
    }

    /// Ends the second instance of a service with SIGKILL.
    pub fn kill_second(&self, service: Service) {
        self.take((service, true)).kill();
    }

    /// Ends a service with SIGTERM.
    pub async fn terminate(&self, service: Service) -> Stopped {
        self.take((service, false)).terminate(STOPPED_WITHIN).await
    }

    /// Ends the second instance of a service with SIGTERM.
    pub async fn terminate_second(&self, service: Service) -> Stopped {
        self.take((service, true)).terminate(STOPPED_WITHIN).await
    }

    /// Port of the first instance of a service, whether it runs or not.
    fn port_of(&self, service: Service) -> u16 {
        self.topic(service.port_variable()).parse().expect("a port")
    }

    pub(crate) fn port(&self, slot: Slot) -> u16 {
        self.processes().get(&slot).unwrap_or_else(|| panic!("{:?} does not run", slot.0)).port
    }

    /// Process ids of the running services; a service with a second instance stands twice.
    pub fn process_ids(&self) -> Vec<(Service, u32)> {
        self.processes().iter().map(|(&(service, _), process)| (service, process.id())).collect()
    }

    /// Waits until `/health` of a service answers 200.
    pub async fn wait_healthy(&self, service: Service) {
        self.wait_slot_healthy((service, false)).await;
    }

    /// Waits until `/health` of the second instance of a service answers 200.
    pub async fn wait_second_healthy(&self, service: Service) {
        self.wait_slot_healthy((service, true)).await;
    }

    async fn wait_slot_healthy(&self, slot: Slot) {
        let url = format!("http://127.0.0.1:{}/health", self.port(slot));
        let what = format!("healthy {} at {url}, which logs to {}", slot.0.binary(), self.log_dir.display());
        eventually(HEALTHY_WITHIN, &what, async || {
            if let Some(process) = self.processes().get_mut(&slot) {
                process.assert_running();
            }
            let answer = self.http.get(&url).send().await.map_err(|e| e.to_string())?;
            if answer.status() == 200 { Ok(()) } else { Err(answer.text().await.unwrap_or_default()) }
        })
        .await;
    }

    /// Puts reference data through data-source.
    pub async fn put_reference(&self, reference: &Reference) {
        for (path, lines) in [
            ("/reference/users", reference.users_ndjson()),
            ("/reference/restaurants", reference.restaurants_ndjson()),
        ] {
            let answer = self.put_lines(Service::DataSource, path, lines).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
    }

    /// Writes users or restaurants, a line each, to Redis, as somebody would who knows nothing of the version.
    pub async fn write_to_redis(&self, kind: &str, lines: &str) {
        let mut redis = self.redis().await;
        for line in lines.lines() {
            let entry: Value = serde_json::from_str(line).expect("an entry");
            let key = format!("{}:ref:{kind}:{}", self.suffix, entry["_id"].as_str().expect("an id"));
            redis::cmd("SET").arg(key).arg(line).exec_async(&mut redis).await.expect("redis takes it");
        }
    }

    /// The reference data that stg sees, generated entries included.
    pub async fn reference(&self) -> Reference {
        Reference::from_redis(&mut self.redis().await, &format!("{}:", self.suffix)).await
    }

    /// Sends orders through `POST /ingest/order`; all must be accepted.
    pub async fn ingest(&self, orders: &[Value]) {
        let answer =
            self.post_lines(Service::DataSource, "/ingest/order", crate::builders::ndjson(orders)).await;
        assert_eq!(answer.clone().ok()["accepted"], json!(orders.len()), "{}", answer.body);
    }

    /// Has data-source generate orders.
    pub async fn push(&self, count: usize) {
        self.push_to(&ORDER, count).await;
    }

    /// Has data-source generate events of a stream.
    pub async fn push_to(&self, stream: &StreamSpec, count: usize) {
        let body = json!({"N": count, "stream": stream.name});
        let answer = self.post(Service::DataSource, "/push", &body).await.ok();
        assert_eq!(answer["messages_pushed"], json!(count), "{answer}");
    }

    /// Folds everything that lies in the stg topic; every record there must be a valid order.
    pub async fn model(&self, reference: &Reference) -> Model {
        let mut model = Model::default();
        for record in self.kafka.read_all(&self.stg_topic()).await {
            model.accept(&record, reference);
        }
        model
    }

    /// Name of the topic that a variable names, or what another one says.
    pub fn topic(&self, variable: &str) -> String {
        let found = self.environment.iter().rev().find(|(name, _)| name == variable);
        found.unwrap_or_else(|| panic!("{variable} is not set")).1.clone()
    }

    /// What stg reads.
    pub fn stg_topic(&self) -> String {
        self.topic(ORDER.topic(StageId::Stg).env)
    }

    /// What dds reads.
    pub fn dds_topic(&self) -> String {
        self.topic(ORDER.topic(StageId::Dds).env)
    }

    /// What cdm reads.
    pub fn cdm_topic(&self) -> String {
        self.topic(ORDER.topic(StageId::Cdm).env)
    }

    /// The topic that a stage reads.
    pub fn input_of(&self, service: Service) -> String {
        match service {
            Service::DataSource | Service::Console => panic!("{service:?} reads no topic"),
            Service::Stg => self.stg_topic(),
            Service::Dds => self.dds_topic(),
            Service::Cdm => self.cdm_topic(),
        }
    }

    /// The consumer group of a stage.
    pub fn group_of(&self, service: Service) -> String {
        self.group(service, &self.input_of(service))
    }

    /// The consumer group in which a stage reads a topic.
    pub(crate) fn group(&self, service: Service, topic: &str) -> String {
        format!("{}-{}-{topic}", self.suffix, service.binary())
    }

    /// The database of this fleet.
    pub fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    /// A new connection to Redis, which may have been started again since the fleet was.
    pub async fn redis(&self) -> redis::aio::MultiplexedConnection {
        self.servers.connect_redis().await
    }

    /// Kafka.
    pub fn kafka(&self) -> &Kafka {
        &self.kafka
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.processes().clear();
        if std::thread::panicking() {
            eprintln!("the services logged to {}", self.log_dir.display());
        } else {
            drop(std::fs::remove_dir_all(&self.log_dir));
        }
        let (mut topics, mut groups) = (Vec::new(), Vec::new());
        for hop in STREAMS.iter().flat_map(|stream| stream.spec.hops) {
            let topic = self.topic(hop.topic.env);
            groups.push(self.group(Service::of(hop.stage), &topic));
            topics.extend([dlq_topic(&topic), topic]);
        }
        let (kafka, servers, pattern) =
            (self.kafka.clone(), self.servers.clone(), format!("{}:*", self.suffix));
        block_on_thread(async move {
            kafka.delete(&topics, &groups).await;
            forget_keys(&servers, &pattern).await;
        });
    }
}

/// Has processes that ask for it started again, for as long as somebody holds them.
fn supervised() -> Arc<Processes> {
    let processes: Arc<Processes> = Arc::default();
    let watched = Arc::downgrade(&processes);
    std::thread::spawn(move || {
        while let Some(processes) = watched.upgrade() {
            let mut processes = processes.lock().unwrap_or_else(PoisonError::into_inner);
            processes.values_mut().for_each(Process::supervise);
            drop(processes);
            std::thread::sleep(LOOK_EVERY);
        }
    });
    processes
}

/// Deletes the Redis keys of a test.
async fn forget_keys(servers: &Servers, pattern: &str) {
    let mut redis = servers.connect_redis().await;
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
        let Ok((next, keys)) = scan.query_async::<(u64, Vec<String>)>(&mut redis).await else { return };
        if !keys.is_empty() {
            drop(redis::cmd("UNLINK").arg(keys).query_async::<i64>(&mut redis).await);
        }
        if next == 0 {
            return;
        }
        cursor = next;
    }
}

/// How many fleets run at once: most of what a fleet does is waiting, but more of them only slow each other down.
fn gate() -> &'static Arc<Semaphore> {
    static GATE: OnceLock<Arc<Semaphore>> = OnceLock::new();
    GATE.get_or_init(|| {
        let fleets = std::env::var("STRATA_TEST_FLEETS").ok().and_then(|n| n.parse().ok());
        Arc::new(Semaphore::new(fleets.unwrap_or(4)))
    })
}

/// A port that nobody listens on, below the range that the system gives away by itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes side by side start at different places.
    let start = u16::try_from(std::process::id() % 10_000).unwrap_or_default();
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
