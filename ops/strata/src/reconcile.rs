//! `strata reconcile`: has the layers compared and prints what was found.

use std::process::ExitCode;

use strata_audit::{Check, Report};
use strata_service::{Settings, pg};

use crate::progress;
use crate::table::{Table, grouped};

/// How to report.
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object, for scripts.
    #[arg(long)]
    json: bool,
    /// Rows that are named of each check that fails.
    #[arg(long, default_value_t = 5)]
    rows: usize,
}

/// Compares the layers; fails when they differ.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let bar = progress::spinner("{spinner} {msg}");
    let shown = bar.clone();
    let report = strata_audit::reconcile(settings, move |step| shown.set_message(step.to_owned())).await;
    bar.finish_and_clear();
    let report = report?;
    if args.json {
        println!("{}", report.json(args.rows));
    } else {
        print(&report, args.rows);
    }
    let pool = pg::pool(&settings.postgres, "strata", 1);
    if let Err(e) = report.store(&pool, settings.keep_settled).await {
        eprintln!("strata: the outcome is not in ops.reconciliations: {e}");
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a line per check and names the first `rows` that differ of each.
fn print(report: &Report, rows: usize) {
    let row = |check: &Check| {
        let (compared, differences) = (grouped(check.compared), grouped(check.differences));
        [check.name.clone(), compared, differences, check.result().to_owned()]
    };
    Table::of(["check", "rows", "differences", "result"], report.checks.iter().map(row)).print();
    for check in report.failed() {
        println!("\n{}", check.name);
        let named = check.named.iter().take(rows);
        let more = check.differences - named.len() as i64;
        named.for_each(|row| println!("  {row}"));
        if more > 0 {
            println!("  and {} more", grouped(more));
        }
    }
    for note in &report.notes {
        println!("\nnote: {note}");
    }
    let verdict = verdict(report.differences());
    println!("\n{verdict}; {} checks in {:.1} s", report.checks.len(), report.took.as_secs_f64());
}

/// What a reconcile came to.
pub fn verdict(differences: i64) -> String {
    match differences {
        0 => "all layers agree".to_owned(),
        1 => "1 DIFFERENCE".to_owned(),
        n => format!("{} DIFFERENCES", grouped(n)),
    }
}
