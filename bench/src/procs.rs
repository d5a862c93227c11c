//! What the processes took, from `/proc`: CPU seconds and resident memory.
//!
//! Servers that are not on this machine have no process here; their figures are absent, not zero.

use std::collections::BTreeMap;
use std::fs;

use strata_testkit::Fleet;

/// Kernel ticks a second, as `/proc` counts them on every Linux.
const TICKS: f64 = 100.0;

/// Bytes of a MiB, in KiB.
const KIB_PER_MIB: f64 = 1024.0;

/// CPU seconds by name.
pub type Cpu = BTreeMap<String, f64>;

/// Resident memory in MiB by service: now, and the most since the last [`Processes::forget_peaks`].
pub type Memory = BTreeMap<String, (f64, f64)>;

/// The processes of a fleet and its servers.
pub struct Processes {
    services: Vec<(String, u32)>,
    postmaster: Option<u32>,
    redis: Option<u32>,
    kafka: Option<u32>,
}

impl Processes {
    /// Finds them.
    pub async fn of(fleet: &Fleet, brokers: &str) -> Self {
        let services = fleet
            .process_ids()
            .into_iter()
            .map(|(service, pid)| (service.binary().to_owned(), pid))
            .collect();
        let backend: Option<i32> =
            sqlx::query_scalar("select pg_backend_pid()").fetch_one(fleet.pool()).await.ok();
        let backend = backend.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| is(*pid, "postgres"));
        let info: String =
            redis::cmd("INFO").arg("server").query_async(&mut fleet.redis().await).await.unwrap_or_default();
        let redis = info.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
        Self {
            services,
            postmaster: backend.and_then(parent_of),
            redis: redis.filter(|pid| is(*pid, "redis")),
            kafka: brokers.rsplit_once(':').and_then(|(_, port)| listener(port.parse().ok()?)),
        }
    }

    /// CPU seconds so far.
    pub fn cpu(&self) -> Cpu {
        let mut cpu = Cpu::new();
        for (name, pid) in &self.services {
            *cpu.entry(name.clone()).or_default() += ticks(*pid, 2) / TICKS;
        }
        if let Some(postmaster) = self.postmaster {
            let children: f64 = children_of(postmaster).into_iter().map(|pid| ticks(pid, 2)).sum();
            cpu.insert("postgres".to_owned(), (ticks(postmaster, 4) + children) / TICKS);
        }
        for (name, pid) in [("redis", self.redis), ("kafka", self.kafka)] {
            if let Some(pid) = pid {
                cpu.insert(name.to_owned(), ticks(pid, 2) / TICKS);
            }
        }
        cpu
    }

    /// Resident memory of the services; of two instances the larger figures.
    pub fn memory(&self) -> Memory {
        let mut memory = Memory::new();
        for (name, pid) in &self.services {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let field = |key: &str| -> f64 {
                let line = status.lines().find_map(|line| line.strip_prefix(key));
                let kib: Option<f64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
                kib.unwrap_or_default() / KIB_PER_MIB
            };
            let figures = memory.entry(name.clone()).or_default();
            *figures = (figures.0.max(field("VmRSS:")), figures.1.max(field("VmHWM:")));
        }
        memory
    }

    /// Resets the peaks of memory.
    pub fn forget_peaks(&self) {
        for (_, pid) in &self.services {
            // Without the right to it, the peak is that of the whole run.
            drop(fs::write(format!("/proc/{pid}/clear_refs"), "5"));
        }
    }
}

/// The CPU seconds between two readings.
pub fn spent(before: &Cpu, after: &Cpu) -> Cpu {
    after
        .iter()
        .map(|(name, seconds)| (name.clone(), seconds - before.get(name).copied().unwrap_or_default()))
        .collect()
}

/// The fields of `/proc/PID/stat` after the name, which may hold anything.
fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}

/// User and system ticks of a process; with `fields` = 4 those of its ended children too.
fn ticks(pid: u32, fields: usize) -> f64 {
    stat(pid).iter().skip(11).take(fields).filter_map(|ticks| ticks.parse::<f64>().ok()).sum()
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid).get(1)?.parse().ok()
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn children_of(parent: u32) -> Vec<u32> {
    pids().filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn is(pid: u32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with(name))
}

/// The process that listens on a TCP port.
fn listener(port: u16) -> Option<u32> {
    let suffix = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inode = tables.iter().flat_map(|table| table.lines()).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // 0A is LISTEN; the tenth field is the inode of the socket.
        (fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == "0A").then(|| fields.get(9).copied())?
    })?;
    let socket = format!("socket:[{inode}]");
    pids().find(|pid| {
        let handles = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        handles
            .into_iter()
            .any(|handle| fs::read_link(handle.path()).is_ok_and(|link| link.to_string_lossy() == socket))
    })
}
