//! What a run measures.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Stored orders at which the rate is measured.
const GROWTH_MARKS: [u64; 3] = [100_000, 500_000, 2_000_000];

/// Measures the fleet of this build on the servers of the environment: throughput and the ceiling of
/// Postgres, latency, growth, memory, CPU seconds, scaling.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// A look in a minute: 20 000 events of each stream, 5 s of latency, no growth, no scaling.
    #[arg(long)]
    pub quick: bool,
    /// Events of each stream that are pushed for the throughput.
    #[arg(long)]
    pub events: Option<u64>,
    /// Phases to leave out: the throughput of a stream by its name, ceiling, latency, together, growth, scaling.
    #[arg(long, value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Seconds after which growth stops at the marks it has reached.
    #[arg(long, default_value_t = 1800)]
    pub growth_limit_secs: u64,
    /// Where the figures go, as JSON.
    #[arg(long, default_value = "bench/results/latest.json")]
    pub out: PathBuf,
    /// Prints the statements that took longest in Postgres while the orders were loaded.
    #[arg(long)]
    pub statements: bool,
}

impl Options {
    /// True when a phase is part of this run.
    pub fn has(&self, phase: &str) -> bool {
        let slow = ["growth", "scaling"].contains(&phase);
        let skipped = (self.quick && slow) || self.skip.iter().any(|skipped| skipped == phase);
        !skipped
    }

    /// Events to push for the throughput.
    pub fn events(&self) -> u64 {
        self.events.unwrap_or(if self.quick { 20_000 } else { 200_000 })
    }

    /// How long the latency is watched.
    pub fn latency_time(&self) -> Duration {
        Duration::from_secs(if self.quick { 5 } else { 30 })
    }

    /// Stored orders at which the rate is measured.
    pub fn growth_marks(&self) -> &'static [u64] {
        &GROWTH_MARKS
    }
}
