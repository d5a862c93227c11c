//! `strata dlq`: what the stages refused, and the way back.

mod arguments;
mod discard;
mod replay;
mod show;

use std::process::ExitCode;

use strata_service::Settings;

/// What to do with the dead letters.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Lists dead letters, the newest first.
    List(show::ListArgs),
    /// Shows one dead letter with its payload.
    Show(show::ShowArgs),
    /// Puts open dead letters through their stage again, each with the effect of exactly one event.
    ///
    /// Safe to interrupt and to repeat: what an earlier run has numbered is sent first, as it was.
    Replay(replay::Args),
    /// Marks open dead letters as not worth replaying; they stay in the table.
    Discard(discard::Args),
}

/// Runs the command.
pub async fn run(settings: &Settings, args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => show::list(settings, &args).await,
        Command::Show(args) => show::show(settings, &args).await,
        Command::Replay(args) => replay::run(settings, &args).await,
        Command::Discard(args) => discard::run(settings, &args).await,
    }
}
