//! The table at the end of a run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Chaos;

/// Counts by name.
#[derive(Default)]
pub struct Report {
    faults: Mutex<BTreeMap<String, usize>>,
    events: Mutex<BTreeMap<String, usize>>,
}

impl Report {
    /// Counts a fault.
    pub fn count(&self, kind: String) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }

    /// Adds to a number of the report.
    pub fn add(&self, name: impl Into<String>, count: usize) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner).entry(name.into()).or_default() += count;
    }

    fn print(&self, seed: u64, seconds: u64, result: &str) {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{:-<56}", "");
        println!("{:<44} {seed:>11}", "seed");
        println!("{:<44} {seconds:>11}", "seconds");
        for (name, count) in events.iter() {
            println!("{name:<44} {count:>11}");
        }
        for (kind, count) in faults.iter() {
            println!("  {kind:<42} {count:>11}");
        }
        println!("{:<44} {:>11}", "faults", faults.values().sum::<usize>());
        println!("{:<44} {result:>11}", "result");
        println!("{:-<56}", "");
    }
}

/// Prints the table when it goes: also when the run ends in a panic, then with the way to repeat it.
pub struct Table<'a>(pub &'a Chaos);

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let Chaos { seed, length, report, .. } = self.0;
        let failed = std::thread::panicking();
        report.print(*seed, length.as_secs(), if failed { "NOT EXACT" } else { "exact" });
        if failed {
            keep();
            println!("again: make chaos SEED={seed} SECONDS={}", length.as_secs());
        }
    }
}

/// Gives a look at what a failed run left behind before it is removed, where `CHAOS_KEEP` says how long.
fn keep() {
    let seconds = std::env::var("CHAOS_KEEP").ok().and_then(|seconds| seconds.parse().ok());
    std::thread::sleep(std::time::Duration::from_secs(seconds.unwrap_or(0)));
}
