//! The figures of a run: one table for people, one JSON document.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::growth::Mark;
use crate::latency::Latency;
use crate::load::Load;
use crate::throughput::Throughput;

/// Everything that a run measured; a phase that was left out is absent.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// When it began, UTC.
    pub at: String,
    /// Cores, and the load of the machine before the run: figures of a busy one say little.
    pub machine: String,
    /// From `/push` to the last layer, by stream.
    pub throughput: Vec<Throughput>,
    /// Order produced to counter visible.
    pub latency: Option<Latency>,
    /// All streams at once, for the memory that takes.
    pub together: Vec<Load>,
    /// Seconds from the start of a service until its health is good.
    pub starts: BTreeMap<String, f64>,
    /// Rate by number of stored orders.
    pub growth: Vec<Mark>,
    /// Orders with two instances of each worker.
    pub two_instances: Option<Load>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

impl Report {
    /// The table.
    pub fn table(&self) -> String {
        let mut out = format!("\n{}\n{}\n", self.at, self.machine);
        for throughput in &self.throughput {
            let title = format!("{}, POST /push until all are in the last layer", throughput.stream);
            write_throughput(&mut out, &title, throughput);
        }
        if let Some(l) = &self.latency {
            line(&mut out, "\norder produced to counter visible, 500 orders a second", "");
            for (name, ms) in [("p50", l.p50_ms), ("p95", l.p95_ms), ("p99", l.p99_ms), ("max", l.max_ms)] {
                line(&mut out, &format!("  {name}"), &format!("{ms:.1} ms"));
            }
            line(&mut out, "  longest gap between two looks", &format!("{:.1} ms", l.longest_look_ms));
        }
        for load in &self.together {
            write_load(&mut out, "of all streams at once", load);
        }
        if !self.starts.is_empty() {
            line(&mut out, "\nstart until healthy", "");
        }
        for (name, seconds) in &self.starts {
            line(&mut out, &format!("  {name}"), &format!("{seconds:.2} s"));
        }
        if !self.growth.is_empty() {
            line(&mut out, "\ngrowth", "");
        }
        for mark in &self.growth {
            let what = format!("  at {} stored orders", mark.stored);
            line(&mut out, &what, &format!("{:.0} orders a second", mark.load.events_per_second));
        }
        if let Some(load) = &self.two_instances {
            write_load(&mut out, "orders, two instances of each worker", load);
        }
        for note in &self.notes {
            line(&mut out, &format!("\nnote: {note}"), "");
        }
        out
    }
}

fn line(out: &mut String, what: &str, figure: &str) {
    // Writing to a string cannot fail.
    writeln!(out, "{what:<56}{figure:>20}").ok();
}

fn write_load(out: &mut String, title: &str, load: &Load) {
    line(out, &format!("\n{title}"), "");
    line(out, "  events", &load.events.to_string());
    line(out, "  seconds", &format!("{:.1}", load.seconds));
    line(out, "  events a second", &format!("{:.0}", load.events_per_second));
    line(out, "  rows a second", &format!("{:.0}", load.rows_per_second));
    line(out, "  until /push was answered", &format!("{:.1} s", load.push_seconds));
    for stage in &load.stages {
        let what = format!("  {}: {} records in {:.1} s", stage.stage, stage.records, stage.seconds);
        line(out, &what, &format!("{:.0}/s", stage.per_second));
    }
    for (name, (now, peak)) in &load.memory_mib {
        line(out, &format!("  memory of {name}: at the end, most"), &format!("{now:.0} MiB {peak:.0} MiB"));
    }
    for (name, seconds) in &load.cpu_seconds_per_1000 {
        line(out, &format!("  CPU of {name} per 1 000 events"), &format!("{:.1} ms", seconds * 1000.0));
    }
    let all: f64 = load.cpu_seconds_per_1000.values().sum();
    line(out, "  CPU of all per 1 000 events", &format!("{:.1} ms", all * 1000.0));
}

fn write_throughput(out: &mut String, title: &str, throughput: &Throughput) {
    let rounds: Vec<String> = throughput.rounds.iter().map(|rate| format!("{rate:.0}")).collect();
    write_load(out, &format!("{title}; the best of {}", rounds.join(", ")), &throughput.load);
    for attempt in &throughput.ceiling {
        let cpu = attempt.postgres_cpu_seconds.map_or(String::new(), |s| format!(", {s:.1} s of CPU"));
        let what = format!("  ceiling, {} connections: {:.1} s{cpu}", attempt.connections, attempt.seconds);
        line(out, &what, &format!("{:.0} rows/s", attempt.rows_per_second));
    }
    if let Some(ratio) = throughput.ratio {
        line(out, "  of the ceiling", &format!("{:.0} %", ratio * 100.0));
    }
}
