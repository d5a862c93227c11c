//! `strata dlq discard`: what will not be replayed.

use std::process::ExitCode;

use serde_json::json;
use strata_repair::dead_letters;
use strata_service::Settings;

use super::arguments::Choice;
use crate::layers::grouped;

/// What to discard.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    choice: Choice,
    /// One JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

/// Marks the chosen open dead letters.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let discarded = dead_letters::discard(settings, &args.choice.filter()?, args.choice.limit).await?;
    if args.json {
        println!("{}", json!({"discarded": discarded}));
    } else {
        println!("{} dead letters discarded", grouped(discarded.len() as i64));
    }
    Ok(ExitCode::SUCCESS)
}
