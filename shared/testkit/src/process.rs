//! One running service.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use strata_service::config::VARIABLES;

use crate::eventually::eventually;

/// How a service ended when it was told to.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// Exit status.
    pub status: ExitStatus,
    /// Time from the signal to the end.
    pub took: Duration,
}

/// Exit status of a service that asks to be started again.
const RESTART: i32 = 75;

/// A child process, killed with the value.
pub(crate) struct Process {
    child: Child,
    command: Command,
    /// How often it was started again.
    pub(crate) restarts: usize,
    log: PathBuf,
    /// Port of its HTTP server.
    pub(crate) port: u16,
}

impl Process {
    /// Starts a binary of this workspace with this environment.
    pub(crate) fn start(binary: &str, environment: &[(String, String)], log: PathBuf, port: u16) -> Self {
        let path = binary_path(binary);
        let output = File::create(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let error = output.try_clone().expect("the log can be shared");
        let mut command = Command::new(&path);
        command.arg("serve").stdin(Stdio::null()).stdout(output).stderr(error);
        set_environment(&mut command, environment);
        let child = command.spawn().unwrap_or_else(|e| panic!("{} does not start: {e}", path.display()));
        // What has gone wrong by design does so once.
        command.env_remove("STRATA_FAILPOINT");
        Self { child, command, restarts: 0, log, port }
    }

    /// Starts it again when it has asked for that, as a supervisor does.
    pub(crate) fn supervise(&mut self) {
        let asked = self.exit_status().and_then(|status| status.code()) == Some(RESTART);
        if asked && let Ok(child) = self.command.spawn() {
            self.child = child;
            self.restarts += 1;
        }
    }

    /// Fails when the process has ended by itself and did not ask to be started again.
    pub(crate) fn assert_running(&mut self) {
        self.supervise();
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!(
                "a service ended by itself ({status}); its log {}:\n{}",
                self.log.display(),
                self.log_tail()
            );
        }
    }

    /// How it ended, when it has.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal, given as `kill` takes it.
    pub(crate) fn signal(&mut self, signal: &str) {
        self.assert_running();
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{signal} cannot be sent");
    }

    /// The letter that the system gives its state: `T` when it is stopped.
    pub(crate) fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// Ends it with SIGKILL, as a crash would.
    pub(crate) fn kill(&mut self) {
        // Fails only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn terminate(&mut self, within: Duration) -> Stopped {
        let started = Instant::now();
        self.signal("-TERM");
        let what = format!("end of the process that logs to {}", self.log.display());
        let status = eventually(within, &what, async || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(e) => Err(e.to_string()),
        });
        Stopped { status: status.await, took: started.elapsed() }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a binary of this workspace to its end, with this on its standard input; blocks.
pub(crate) fn run(
    binary: &str,
    arguments: &[String],
    environment: &[(String, String)],
    input: &[u8],
) -> Output {
    let path = binary_path(binary);
    let mut command = Command::new(&path);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    set_environment(&mut command, environment);
    let mut run = || -> std::io::Result<Output> {
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            // It may end without reading all of it.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
            child.wait_with_output()
        })
    };
    run().unwrap_or_else(|e| panic!("{} does not run: {e}", path.display()))
}

/// Runs a binary to its end, its standard output closed on the other side: its status and what it complained of.
pub(crate) fn run_unread(
    binary: &str,
    arguments: &[String],
    environment: &[(String, String)],
) -> (ExitStatus, String) {
    let path = binary_path(binary);
    let mut command = Command::new(&path);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    set_environment(&mut command, environment);
    let mut run = || -> std::io::Result<Output> {
        let mut child = command.spawn()?;
        drop(child.stdout.take());
        child.wait_with_output()
    };
    let output = run().unwrap_or_else(|e| panic!("{} does not run: {e}", path.display()));
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn set_environment(command: &mut Command, environment: &[(String, String)]) {
    // Set for the tests themselves, perhaps; the fleet is given its own.
    for name in VARIABLES.iter().map(|variable| variable.name).chain(["STRATA_FAILPOINT"]) {
        command.env_remove(name);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
}

/// The binary of the same build: `target/<profile>/<name>`, be the caller a test or a binary itself.
fn binary_path(name: &str) -> PathBuf {
    let caller = std::env::current_exe().expect("the path of the executable");
    let beside = caller.parent().expect("target/<profile>/<binary>");
    let profile = match beside.file_name() {
        Some(folder) if folder == "deps" => beside.parent().expect("target/<profile>/deps/<test>"),
        _ => beside,
    };
    let path = profile.join(name);
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins first", path.display());
    path
}
