//! `strata rebuild`: a layer, rebuilt from the one before it, exactly, while the fleet runs.

use std::process::ExitCode;

use indicatif::ProgressBar;
use strata_repair::Repair;
use strata_repair::rebuild::{Recounted, VaultRebuilt};
use strata_service::Settings;

use crate::progress;
use crate::table::grouped;

/// What to rebuild.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(clap::Subcommand)]
enum Target {
    /// Counts the hotel metrics in Redis again from the vault.
    Metrics,
    /// Counts the orders of users again from the vault.
    Counters,
    /// Adds what the vault lacks of what is staged, then counts counters and metrics again.
    Vault {
        /// Empties the vault first, and rebuilds all of it. History that staging does not hold is lost: earlier
        /// versions of orders with the users, products, categories and states that only they had, and the former
        /// names and categories in the reference data. The counters follow.
        #[arg(long, requires = "confirm")]
        truncate: bool,
        /// The name of the database, to confirm that its history may go.
        #[arg(long, value_name = "DATABASE", requires = "truncate")]
        confirm: Option<String>,
    },
}

/// Rebuilds the target.
pub async fn run(settings: &Settings, args: Args) -> anyhow::Result<ExitCode> {
    let mut bars = Bars(ProgressBar::hidden());
    let repair = Repair::begin(settings).await?;
    match args.target {
        Target::Metrics => {}
        Target::Counters => {
            let done = repair.counters(&mut |name, count| bars.show(name, count)).await?;
            bars.0.abandon();
            print_counters(&done);
            return Ok(ExitCode::SUCCESS);
        }
        Target::Vault { confirm: emptied, .. } => {
            let done = repair.vault(emptied.as_deref(), &mut |name, count| bars.show(name, count)).await?;
            bars.0.abandon();
            print_vault(&done);
        }
    }
    let done = repair.metrics(&mut |name, count| bars.show(name, count)).await?;
    bars.0.abandon();
    println!("metrics rebuilt: {} {}; cdm goes on from here by itself", grouped(done.count), done.owners);
    print_settled(done.dead_letters);
    Ok(ExitCode::SUCCESS)
}

/// One line per kind of row, the last of them moving.
struct Bars(ProgressBar);

impl Bars {
    fn show(&mut self, name: &'static str, count: u64) {
        if self.0.prefix() != name {
            self.0.abandon();
            let template = "  {spinner} {prefix:<12}{human_pos:>12} {per_sec:>16} {elapsed}";
            self.0 = progress::spinner(template).with_prefix(name);
        }
        self.0.inc(count);
    }
}

fn print_vault(done: &VaultRebuilt) {
    for (table, rows) in &done.after {
        let more = rows - done.before.get(table).copied().unwrap_or_default();
        let word = if more < 0 { "fewer" } else { "more" };
        println!("{table}: {} rows, {} {word} than before", grouped(*rows), grouped(more.abs()));
    }
    for ((many, reason), (count, first)) in &done.left_out {
        let count = grouped(count.cast_signed());
        println!("{count} {many} were left as they are: {reason} (the first: {first})");
    }
    print_counters(&done.recounted);
}

fn print_counters(done: &Recounted) {
    for (table, rows, wrong) in &done.tables {
        println!("{table}: {} rows, {} of them set right", grouped(*rows), grouped(*wrong));
    }
    print_settled(done.dead_letters);
}

fn print_settled(dead_letters: u64) {
    if dead_letters > 0 {
        println!("{dead_letters} dead letters of cdm are counted by this and need no replay");
    }
}
