//! A Kafka of three brokers that replicate, for tests that kill one of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fleet::free_port;
use crate::local::{ROOT, kafka_home};
use crate::servers::Servers;

/// How many they are.
pub const BROKERS: usize = 3;

/// Three brokers and their directory, both removed with the value.
pub struct Brokers {
    dir: PathBuf,
    ports: [u16; BROKERS],
    controllers: [u16; BROKERS],
}

impl Brokers {
    /// Starts them side by side and waits until they answer.
    pub async fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("strata-brokers-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let brokers = Self { dir, ports: free_ports(), controllers: free_ports() };
        brokers.run(&["start"]).await;
        brokers
    }

    /// These brokers, with Postgres and Redis of the environment.
    pub fn servers(&self) -> Servers {
        let addresses = self.ports.map(|port| format!("127.0.0.1:{port}"));
        Servers::configured().with_variable("KAFKA_BROKERS", &addresses.join(","))
    }

    /// Has a broker, counted from 1, die as by `kill -9`.
    pub fn kill(&self, number: usize) {
        let file = self.dir.join(format!("broker-{number}/run/kafka.pid"));
        let pid = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let sent = Command::new("kill").args(["-KILL", pid.trim()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "broker {number} cannot be killed");
    }

    /// Starts a broker that was killed, on its data.
    pub async fn restart(&self, number: usize) {
        self.run(&["start", &number.to_string()]).await;
    }

    async fn run(&self, arguments: &[&str]) {
        let mut command = self.command();
        command.args(arguments);
        let done = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        let done = done.unwrap_or_else(|e| panic!("scripts/brokers.sh does not run: {e}"));
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn command(&self) -> Command {
        let listed = |ports: [u16; BROKERS]| ports.map(|port| port.to_string()).join(" ");
        let mut command = Command::new(Path::new(ROOT).join("scripts/brokers.sh"));
        command.stdin(Stdio::null()).env("STRATA_LOCAL_DIR", &self.dir);
        command.env("BROKER_PORTS", listed(self.ports));
        command.env("BROKER_CONTROLLER_PORTS", listed(self.controllers));
        if let Some(home) = kafka_home() {
            command.env("KAFKA_HOME", home);
        }
        command
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        let cleaned = self.command().arg("clean").stdout(Stdio::null()).status();
        if !cleaned.is_ok_and(|status| status.success()) || std::thread::panicking() {
            eprintln!("the brokers logged to {}/*/log", self.dir.display());
        } else {
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }
}

fn free_ports() -> [u16; BROKERS] {
    std::array::from_fn(|_| free_port())
}
