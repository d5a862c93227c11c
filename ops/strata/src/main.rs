//! `strata`: the operator's tool.

mod dlq;
mod ingest;
mod kafka;
mod layers;
mod lock;
mod progress;
mod push;
mod rebuild;
mod reconcile;
mod status;
mod table;
mod top;
mod watch;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use strata_observe::{fleet, services};
use strata_runtime::Settings;

/// Pushes events through the fleet and shows where they are.
///
/// Servers and ports come from the same environment variables as the services'; see .env_template.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Has data-source generate events.
    Push(push::Args),
    /// Sends a file of events, or standard input; fails when a line is rejected.
    Ingest(ingest::Args),
    /// Makes data anew from the layer before, while the fleet runs.
    Rebuild(rebuild::Args),
    /// Looks at dead letters, replays and discards them.
    Dlq(dlq::Args),
    /// Compares all layers at one moment, while the fleet runs; fails on any difference.
    Reconcile(reconcile::Args),
    /// Shows health, lag, rows and dead letters; fails when a part is not well.
    Status(status::Args),
    /// Shows the same live, with rates; a line a second where there is no terminal.
    Watch,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = async {
        let settings = Settings::from_env("DATA_SOURCE_PORT").context("see .env_template")?;
        match cli.command {
            Command::Push(args) => push::run(&settings, args).await,
            Command::Ingest(args) => ingest::run(&settings, &args).await,
            Command::Rebuild(args) => rebuild::run(&settings, args).await,
            Command::Dlq(args) => dlq::run(&settings, args).await,
            Command::Reconcile(args) => reconcile::run(&settings, &args).await,
            Command::Status(args) => status::run(&settings, &args).await,
            Command::Watch => watch::run(&settings).await,
        }
    };
    match outcome.await {
        Ok(code) => code,
        Err(e) => {
            eprintln!("strata: {e:#}");
            ExitCode::FAILURE
        }
    }
}
