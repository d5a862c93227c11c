//! `strata`: the control plane as one program, a command line and the console.

mod dlq;
mod ingest;
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
use strata_service::{Settings, pg, tls};

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
    #[command(flatten)]
    Tool(Tool),
    /// Serves the console.
    Serve,
    /// Asks the console on this machine for its health; for containers.
    #[command(hide = true)]
    Healthcheck,
}

/// What runs to its end.
#[derive(Subcommand)]
enum Tool {
    /// Has data-source generate events.
    Push(push::Args),
    /// Sends a file of events, or standard input; fails when a line is rejected.
    Ingest(ingest::Args),
    /// Rebuilds data from the layer before, while the fleet runs.
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
    /// Creates and updates the tables of the warehouse.
    Migrate,
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

fn main() -> ExitCode {
    end_with_the_reader();
    let tool = match Cli::parse().command {
        Command::Tool(tool) => tool,
        // The frame of every service, which reads the same command line.
        Command::Serve | Command::Healthcheck => {
            return strata_service::run(strata_console::SPEC, strata_console::build);
        }
    };
    tls::install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome =
        runtime.context("the async runtime does not start").and_then(|runtime| runtime.block_on(run(tool)));
    match outcome {
        Ok(code) => code,
        Err(e) => {
            eprintln!("strata: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(tool: Tool) -> anyhow::Result<ExitCode> {
    let settings = Settings::from_env("DATA_SOURCE_PORT").context("see .env_template")?;
    match tool {
        Tool::Push(args) => push::run(&settings, args).await,
        Tool::Ingest(args) => ingest::run(&settings, &args).await,
        Tool::Rebuild(args) => rebuild::run(&settings, args).await,
        Tool::Dlq(args) => dlq::run(&settings, args).await,
        Tool::Stage(args) => stage::run(&settings, &args).await,
        Tool::Reconcile(args) => reconcile::run(&settings, &args).await,
        Tool::Status(args) => status::run(&settings, &args).await,
        Tool::Watch => watch::run(&settings).await,
        Tool::Migrate => {
            pg::migrate(&settings.postgres).await.context("the migration failed")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
