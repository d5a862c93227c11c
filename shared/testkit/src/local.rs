//! Servers of one test, to be killed: Kafka, Postgres and Redis on ports of their own.
//!
//! They are started by `scripts/servers.sh` in a directory of their own, so that what is done to them
//! disturbs nobody. Signals go to the pids that the scripts wrote down.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fleet::free_port;
use crate::servers::Servers;

/// The root of the repository.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// All of them.
pub(crate) const ALL: &[Server] = &[Server::Kafka, Server::Postgres, Server::Redis];

/// Starts that fail by chance, say on a port that was just taken, are tried again.
const ATTEMPTS: u32 = 3;

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Kafka.
    Kafka,
    /// Postgres.
    Postgres,
    /// Redis.
    Redis,
}

impl Server {
    /// Its name in the scripts.
    const fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }

    /// How it dies: Postgres as by `pg_ctl -m immediate`, the others as by `kill -9`.
    const fn death(self) -> &'static str {
        match self {
            Self::Postgres => "-QUIT",
            Self::Kafka | Self::Redis => "-KILL",
        }
    }
}

/// The flags of a Kafka that lives for a minute: what is compiled well is compiled for nothing.
const KAFKA_OPTIONS: &str = "-Xms128m -Xmx512m -XX:TieredStopAtLevel=1";

/// Servers and their directory, both removed with the value.
pub struct LocalServers {
    own: &'static [Server],
    dir: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// Removes everything when the test is killed.
    watchdog: Option<Child>,
}

impl LocalServers {
    /// Starts all three and waits until they answer.
    pub async fn start() -> Self {
        Self::start_these(ALL).await
    }

    /// Starts those that a test does something to; the others are those of the environment.
    pub async fn start_these(own: &'static [Server]) -> Self {
        Self::start_prepared(own, |_| ()).await
    }

    /// As [`LocalServers::start_these`], after `prepare` has put files into their directories.
    pub(crate) async fn start_prepared(own: &'static [Server], prepare: impl FnOnce(&Self)) -> Self {
        let dir = std::env::temp_dir().join(format!("strata-fire-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let port = |name| (name, free_port().to_string());
        let mut environment = vec![
            port("KAFKA_PORT"),
            port("KAFKA_CONTROLLER_PORT"),
            port("POSTGRES_PORT"),
            port("REDIS_PORT"),
            ("KAFKA_HEAP_OPTS", KAFKA_OPTIONS.to_owned()),
            // Any 16 bytes in base 64.
            ("KAFKA_CLUSTER_ID", "strata-tests-cluster-A".to_owned()),
        ];
        environment.extend(kafka_home().map(|home| ("KAFKA_HOME", home.display().to_string())));
        let mut local = Self { own, dir, environment, watchdog: None };
        prepare(&local);
        futures::future::join_all(own.iter().map(|server| local.restart(*server))).await;
        local.watchdog = Some(local.watch());
        local
    }

    /// Where they are, and those of the environment that were not started here.
    pub fn servers(&self) -> Servers {
        let others = if self.own.len() == ALL.len() {
            Servers::at([] as [(&str, String); 0])
        } else {
            Servers::configured()
        };
        self.own.iter().fold(others, |servers, server| {
            let port = self.port(*server);
            match server {
                Server::Kafka => {
                    servers.with_other(&["KAFKA_"], ("KAFKA_BROKERS", format!("127.0.0.1:{port}")))
                }
                Server::Postgres => {
                    let url = format!("postgres://de:engineer@127.0.0.1:{port}/dwh");
                    servers.with_other(&["POSTGRES_", "DATABASE_"], ("DATABASE_URL", url))
                }
                Server::Redis => {
                    servers.with_other(&["REDIS_"], ("REDIS_URL", format!("redis://127.0.0.1:{port}")))
                }
            }
        })
    }

    /// Port of a server.
    pub fn port(&self, server: Server) -> u16 {
        self.port_in(&format!("{}_PORT", server.name().to_uppercase()))
    }

    /// The port that a variable of the scripts holds.
    pub(crate) fn port_in(&self, name: &str) -> u16 {
        let found = self.environment.iter().find(|(variable, _)| *variable == name);
        found.and_then(|(_, port)| port.parse().ok()).expect("every server has a port")
    }

    /// Has a server die as in a crash, and waits until it is gone.
    pub async fn crash(&self, server: Server) {
        let pid = self.signal(server, server.death());
        let deadline = Instant::now() + Duration::from_secs(30);
        while is_alive(&pid) {
            assert!(Instant::now() < deadline, "{server:?} (pid {pid}) does not die");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops a server in the middle of whatever it does, until it is thawed.
    pub fn freeze(&self, server: Server) {
        self.signal(server, "-STOP");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self, server: Server) {
        self.signal(server, "-CONT");
    }

    /// Sends a signal to the pid that the scripts wrote down, and returns it.
    pub(crate) fn signal(&self, server: Server, signal: &str) -> String {
        let file = self.home(server).join("run").join(format!("{}.pid", server.name()));
        let pid = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let pid = pid.trim().to_owned();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{signal} cannot be sent to {server:?}");
        pid
    }

    /// Starts a server that was crashed, on its data, and waits until it answers.
    pub async fn restart(&self, server: Server) {
        for attempt in 1..=ATTEMPTS {
            let mut command = self.command("start", server);
            let done = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
            let done = done.unwrap_or_else(|e| panic!("scripts/servers.sh does not run: {e}"));
            if done.status.success() {
                return;
            }
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(attempt < ATTEMPTS, "{server:?} does not start: {said}");
        }
    }

    /// Copies Postgres and Redis into a directory while they are used.
    pub async fn back_up(&self, to: &Path) {
        for server in [Server::Postgres, Server::Redis] {
            self.run("backup", to, server).await;
        }
    }

    /// Puts a crashed Postgres and Redis back to a copy, and starts them on it.
    pub async fn restore(&self, from: &Path) {
        for server in [Server::Postgres, Server::Redis] {
            self.run("restore", from, server).await;
            self.restart(server).await;
        }
    }

    async fn run(&self, command: &str, directory: &Path, server: Server) {
        let mut script = self.script("scripts/servers.sh", server);
        script.arg(command).arg(directory).arg(server.name());
        let done = tokio::task::spawn_blocking(move || script.output()).await.expect("no panic");
        let done = done.unwrap_or_else(|e| panic!("scripts/servers.sh does not run: {e}"));
        assert!(done.status.success(), "{command} {server:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// A directory for what a test keeps, gone with the servers.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Directory of a server; each has one of its own, because the scripts lock theirs while they work.
    pub(crate) fn home(&self, server: Server) -> PathBuf {
        self.dir.join(server.name())
    }

    fn command(&self, command: &str, server: Server) -> Command {
        let mut script = self.script("scripts/servers.sh", server);
        script.args([command, server.name()]);
        script
    }

    /// A script that is told of a server.
    pub(crate) fn script(&self, path: &str, server: Server) -> Command {
        let mut script = Command::new(Path::new(ROOT).join(path));
        // Passwords on command lines are of any characters.
        script.stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
        for name in ["DATABASE_URL", "REDIS_URL", "KAFKA_BROKERS", "STRATA_OWN_KAFKA", "KAFKA_HOME"] {
            // Set empty means not set, also where a .env file sets it.
            script.env(name, "");
        }
        script.env("POSTGRES_USER", "de").env("POSTGRES_PASSWORD", "engineer").env("POSTGRES_DB", "dwh");
        script.env("POSTGRES_HOST", "localhost").env("REDIS_HOST", "localhost");
        script.envs(self.environment.iter().map(|(name, value)| (name, value)));
        script.env("STRATA_LOCAL_DIR", self.home(server));
        script
    }

    /// Starts what cleans up after a test that was killed itself.
    fn watch(&self) -> Child {
        let clean = self.command("clean", Server::Kafka);
        let mut shell = Command::new("sh");
        let work = "tail --pid=\"$1\" -f /dev/null
            for server in $4; do
                STRATA_LOCAL_DIR=\"$3/$server\" \"$2\" clean \"$server\" >/dev/null 2>&1
            done
            rm -rf -- \"$3\"";
        let own: Vec<&str> = self.own.iter().map(|server| server.name()).collect();
        shell.args(["-c", work, "sh", &std::process::id().to_string()]);
        shell
            .arg(clean.get_program())
            .arg(&self.dir)
            .arg(own.join(" "))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        shell.envs(clean.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))));
        // Out of reach of what ends the test, such as Ctrl-C.
        shell.process_group(0).spawn().expect("a shell")
    }
}

impl Drop for LocalServers {
    fn drop(&mut self) {
        if let Some(watchdog) = &mut self.watchdog {
            // Its `tail` ends with this process.
            drop(watchdog.kill());
            drop(watchdog.wait());
        }
        for &server in self.own {
            let cleaned = self.command("clean", server).stdout(Stdio::null()).status();
            if !cleaned.is_ok_and(|status| status.success()) {
                eprintln!("{server:?} stays, in {}", self.home(server).display());
            }
        }
        if std::thread::panicking() {
            eprintln!("the servers logged to {}/*/log", self.dir.display());
        } else {
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }
}

/// Jars that are there already, so that they need no download.
pub(crate) fn kafka_home() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("KAFKA_HOME").filter(|home| !home.is_empty()) {
        return Some(home.into());
    }
    let home = local_home().join("kafka");
    home.join("libs/.resolved").exists().then_some(home)
}

/// Where the scripts keep what they have installed.
pub(crate) fn local_home() -> PathBuf {
    let local = std::env::var_os("STRATA_LOCAL_DIR").filter(|dir| !dir.is_empty());
    local.map_or_else(|| Path::new(ROOT).join(".local"), PathBuf::from)
}

/// A process that still runs; one that ended but was not waited for does not.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}
