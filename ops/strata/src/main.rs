//! `strata`: the operator's tool.

mod dlq;
mod ingest;
mod layers;
mod progress;
mod push;
mod rebuild;
mod reconcile;
mod stage;
mod status;
mod table;
mod top;
mod watch;

use std::panic;
use std::process::{self, ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use strata_observe::{fleet, services};
use strata_runtime::{Settings, tls};

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
    /// Shows which stages have stopped and lets them go on.
    Stage(stage::Args),
    /// Compares all layers at one moment, while the fleet runs; fails on any difference.
    Reconcile(reconcile::Args),
    /// Shows health, lag, rows and dead letters; fails when a part is not well.
    Status(status::Args),
    /// Shows the same live, with rates; a line a second where there is no terminal.
    Watch,
}

/// Ends the program when whoever reads its output has left, as in `strata status | head`.
///
/// Rust ignores SIGPIPE and panics in `println!` instead; to take the signal back would be unsafe code.
fn end_with_the_reader() {
    /// What a shell says of a program that SIGPIPE has ended.
    const SIGPIPE_STATUS: i32 = 128 + 13;
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let words = info.payload_as_str().unwrap_or_default();
        if words.starts_with("failed printing to std") && words.contains("Broken pipe") {
            process::exit(SIGPIPE_STATUS);
        }
        usual(info);
    }));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    end_with_the_reader();
    let cli = Cli::parse();
    tls::install();
    let outcome = async {
        let settings = Settings::from_env("DATA_SOURCE_PORT").context("see .env_template")?;
        match cli.command {
            Command::Push(args) => push::run(&settings, args).await,
            Command::Ingest(args) => ingest::run(&settings, &args).await,
            Command::Rebuild(args) => rebuild::run(&settings, args).await,
            Command::Dlq(args) => dlq::run(&settings, args).await,
            Command::Stage(args) => stage::run(&settings, &args).await,
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
