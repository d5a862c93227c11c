//! `strata reconcile`: every layer against the one before, at one moment, while the fleet runs.
//!
//! All checks look at one snapshot of Postgres. What was in flight at that moment is known exactly, since a
//! stage's offset, rows and outputs share a transaction: it is read from Kafka, by the offsets in the
//! snapshot, and taken into account. A stream is one more call in [`inspect`].

mod copy;
mod counters;
mod keys;
mod letters;
mod orders;
mod report;
mod snapshot;
mod vault;

use std::process::ExitCode;
use std::time::Instant;

use strata_runtime::Settings;

use crate::fleet::Fleet;
use report::Report;
use snapshot::Snapshot;

/// How to report.
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

/// Compares the layers; fails when they differ.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let report = inspect(settings).await?;
    if args.json {
        println!("{}", report.json(started.elapsed()));
    } else {
        report.print(started.elapsed());
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn inspect(settings: &Settings) -> anyhow::Result<Report> {
    let fleet = Fleet::connect(settings)?;
    let mut report = Report::default();
    let mut snapshot = Snapshot::take(settings, &fleet).await?;
    report.checks.push(snapshot.check_offsets(settings));
    letters::check(&mut snapshot, &mut report).await?;
    orders::check(settings, &mut snapshot, &mut report).await?;
    vault::check(&mut snapshot, &mut report).await?;
    keys::check(&mut snapshot, &mut report).await?;
    counters::check(settings, &mut snapshot, &mut report).await?;
    Ok(report)
}
