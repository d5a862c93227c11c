//! `strata dlq`: what the stages refused, and the way back.

mod arguments;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chrono::SecondsFormat;
use serde_json::{Value, json};
use strata_repair::dead_letters::{self, DeadLetter, Replayed, UNSETTLED};
use strata_service::Settings;

use crate::progress;
use crate::table::{Table, grouped};
use arguments::{Choice, FilterArgs};

/// Characters of the detail that a list shows.
const DETAIL_CHARS: usize = 60;

/// What to do with the dead letters.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// One JSON object, for scripts.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Lists dead letters, the newest first.
    List(ListArgs),
    /// Shows one dead letter with its payload.
    Show {
        /// Number of the dead letter.
        id: i64,
    },
    /// Puts open dead letters through their stage again, each with the effect of exactly one event.
    ///
    /// Safe to interrupt and to repeat: what an earlier run has numbered is sent first, as it was.
    Replay(ReplayArgs),
    /// Marks open dead letters as not worth replaying; they stay in the table.
    Discard(Choice),
}

/// What to list.
#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Those of this status only, or any; else those that are open or parked.
    #[arg(long, value_parser = ["open", "parked", "replaying", "replayed", "discarded", "any"])]
    status: Option<String>,
    /// Rows at most.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

/// What to replay.
#[derive(clap::Args)]
struct ReplayArgs {
    #[command(flatten)]
    choice: Choice,
    /// Waits this many seconds at most until the stages have read them, and counts those refused again.
    #[arg(long)]
    wait: Option<u32>,
}

/// Runs the command.
pub async fn run(settings: &Settings, args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(list) => self::list(settings, list, args.json).await?,
        Command::Show { id } => {
            let row = dead_letters::find(settings, id).await?;
            show(&row.with_context(|| format!("there is no dead letter {id}"))?, args.json);
        }
        Command::Replay(replay) => self::replay(settings, replay, args.json).await?,
        Command::Discard(choice) => {
            let limit = choice.limit;
            let discarded = dead_letters::discard(settings, &choice.filter()?, limit).await?;
            if args.json {
                println!("{}", json!({"discarded": discarded}));
            } else {
                println!("{} dead letters discarded", grouped(discarded.len() as i64));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(settings: &Settings, args: ListArgs, json: bool) -> anyhow::Result<()> {
    let statuses = match args.status.as_deref() {
        None => Some(UNSETTLED.to_vec()),
        Some("any") => None,
        Some(status) => Some(vec![status]),
    };
    let filter = args.filter.into();
    let (rows, total) = dead_letters::list(settings, &filter, statuses.as_deref(), args.limit).await?;
    if json {
        let rows: Vec<Value> = rows.iter().map(DeadLetter::summary).collect();
        println!("{}", json!({"total": total, "dead_letters": rows}));
    } else if rows.is_empty() {
        let which = statuses.map(|statuses| format!(" that are {}", statuses.join(" or ")));
        println!("no dead letters{}", which.unwrap_or_default());
    } else {
        let head = ["id", "first seen", "stage", "record", "tries", "status", "reason", "detail"];
        Table::of(head, rows.iter().map(cells)).print();
        if total > rows.len() as i64 {
            println!("  the newest {} of {}; --limit shows more", rows.len(), grouped(total));
        }
    }
    Ok(())
}

/// A row of the list.
fn cells(row: &DeadLetter) -> [String; 8] {
    let mut detail: String = row.detail.chars().take(DETAIL_CHARS).collect();
    if detail.len() < row.detail.len() {
        detail.push('…');
    }
    [
        row.id.to_string(),
        row.first_seen.to_rfc3339_opts(SecondsFormat::Secs, true),
        row.stage.clone(),
        row.coordinates(),
        row.attempts.to_string(),
        row.status.clone(),
        row.reason.clone(),
        detail,
    ]
}

fn show(row: &DeadLetter, json: bool) {
    let mut full = row.full();
    if json {
        println!("{full}");
        return;
    }
    let mut taken = |name: &str| (name.to_owned(), full[name].take());
    let keys = ["key", "key_hex"].map(&mut taken).into_iter().filter(|(_, key)| !key.is_null());
    let fields = row.fields().map(|(name, value)| (name.to_owned(), value));
    for (name, value) in fields.into_iter().chain(keys) {
        println!("  {name:<12}{}", plain(&value));
    }
    match serde_json::from_slice::<Value>(&row.payload) {
        Ok(payload) => println!("\n{payload:#}"),
        Err(_) => {
            let payload = ["payload", "payload_hex"].map(&mut taken).map(|(_, payload)| payload);
            println!(
                "\n{}",
                payload.iter().filter(|payload| !payload.is_null()).map(plain).collect::<String>()
            );
        }
    }
}

/// A value without quotation marks.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

async fn replay(settings: &Settings, args: ReplayArgs, json: bool) -> anyhow::Result<()> {
    let bar = progress::bar(Some(0), "  {bar:40} {human_pos:>10}/{human_len} {per_sec:>16}");
    let (limit, filter) = (args.choice.limit, args.choice.filter()?);
    let mut begun = |count| bar.set_length(count);
    let mut progress = |_, count| bar.inc(count);
    let done = dead_letters::replay(settings, &filter, limit, &mut begun, &mut progress).await?;
    bar.finish_and_clear();
    let refused = match args.wait.map(|seconds| Duration::from_secs(seconds.into())) {
        Some(within) => Some(dead_letters::wait(settings, &done, within).await?),
        None => None,
    };
    let Replayed { resumed, sent, numbered, .. } = &done;
    if json {
        let copies = numbered.copies;
        let all = json!({"resumed": resumed, "replayed": sent, "copies": copies, "refused_again": refused});
        println!("{all}");
        return Ok(());
    }
    if *resumed > 0 {
        println!("{} were left by a run that was interrupted", grouped(*resumed));
    }
    println!("{} dead letters replayed", grouped(sent.cast_signed()));
    if numbered.copies > 0 {
        println!("{} more were copies of records that are replayed once", grouped(numbered.copies));
    }
    match refused {
        Some(0) => println!("none was refused again"),
        Some(n) => println!("{} were refused again: strata dlq list", grouped(n)),
        None => {}
    }
    Ok(())
}
