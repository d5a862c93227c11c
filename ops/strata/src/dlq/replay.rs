//! `strata dlq replay`: open dead letters through their stage again, each with the effect of one event.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use strata_repair::dead_letters::{self, Replayed};
use strata_service::Settings;

use super::arguments::Choice;
use crate::layers::grouped;

/// What to replay.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Waits this many seconds at most until the stages have read them, and counts those refused again.
    #[arg(long)]
    wait: Option<u32>,
    /// One JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

/// Replays the chosen dead letters.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let style = ProgressStyle::with_template("  {bar:40} {human_pos:>10}/{human_len} {per_sec:>16}")?;
    let bar = ProgressBar::new(0).with_style(style);
    let (filter, limit) = (args.choice.filter()?, args.choice.limit);
    let mut begun = |count| bar.set_length(count);
    let mut progress = |_, count| bar.inc(count);
    let done = dead_letters::replay(settings, &filter, limit, &mut begun, &mut progress).await?;
    bar.finish_and_clear();
    let refused = match args.wait {
        Some(seconds) => {
            Some(dead_letters::wait(settings, &done, Duration::from_secs(seconds.into())).await?)
        }
        None => None,
    };
    report(args, &done, refused);
    Ok(ExitCode::SUCCESS)
}

fn report(args: &Args, done: &Replayed, refused: Option<i64>) {
    if args.json {
        let all = json!({
            "resumed": done.resumed,
            "replayed": done.sent,
            "copies": done.numbered.copies,
            "refused_again": refused,
        });
        println!("{all}");
        return;
    }
    if done.resumed > 0 {
        println!("{} were left by a run that was interrupted", grouped(done.resumed));
    }
    println!("{} dead letters replayed", grouped(done.sent as i64));
    if done.numbered.copies > 0 {
        println!("{} more were copies of records that are replayed once", grouped(done.numbered.copies));
    }
    match refused {
        Some(0) => println!("none was refused again"),
        Some(n) => println!("{} were refused again: strata dlq list", grouped(n)),
        None => {}
    }
}
