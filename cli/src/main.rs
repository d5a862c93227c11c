//! `strata`: the operator's tool.

mod dlq;
mod fleet;
mod kafka;
mod layers;
mod lock;
mod progress;
mod push;
mod rebuild;
mod reconcile;
mod services;
mod status;
mod table;
mod top;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
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
    /// Makes data anew from the layer before, while the fleet runs.
    Rebuild(rebuild::Args),
    /// Looks at dead letters, replays and discards them.
    Dlq(dlq::Args),
    /// Compares all layers at one moment, while the fleet runs; fails on any difference.
    Reconcile(reconcile::Args),
    /// Shows health, lag and the rows of every layer.
    Status,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = async {
        let settings = Settings::from_env("DATA_SOURCE_PORT").context("see .env_template")?;
        match cli.command {
            Command::Push(args) => push::run(&settings, args).await,
            Command::Rebuild(args) => rebuild::run(&settings, args).await,
            Command::Dlq(args) => dlq::run(&settings, args).await,
            Command::Reconcile(args) => reconcile::run(&settings, &args).await,
            Command::Status => status::run(&settings).await,
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
