//! `strata dlq list` and `strata dlq show`: looking only.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::SecondsFormat;
use serde_json::{Value, json};
use strata_repair::dead_letters::{self, DeadLetter, UNSETTLED, hex, rfc3339};
use strata_service::Settings;

use super::arguments::FilterArgs;
use crate::layers::grouped;
use crate::table::{Align, Table, shortened};

/// Characters of the detail that a list shows.
const DETAIL_CHARS: usize = 60;

/// What to list.
#[derive(clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Those of this status only, or any; else those that are open or parked.
    #[arg(long, value_parser = ["open", "parked", "replaying", "replayed", "discarded", "any"])]
    status: Option<String>,
    /// Rows at most.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// One JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

/// What to show.
#[derive(clap::Args)]
pub struct ShowArgs {
    /// Number of the dead letter.
    id: i64,
    /// One JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

/// Lists dead letters.
pub async fn list(settings: &Settings, args: &ListArgs) -> anyhow::Result<ExitCode> {
    let chosen = args.status.as_deref();
    let only = chosen.map(|status| [status]);
    let status: Option<&[&str]> = match &only {
        None => Some(&UNSETTLED),
        Some(["any"]) => None,
        Some(only) => Some(only),
    };
    let (rows, total) = dead_letters::list(settings, &args.filter.filter(), status, args.limit).await?;
    if args.json {
        let rows: Vec<Value> = rows.iter().map(DeadLetter::summary).collect();
        println!("{}", json!({"total": total, "dead_letters": rows}));
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        println!(
            "no dead letters{}",
            status.map(|s| format!(" that are {}", s.join(" or "))).unwrap_or_default()
        );
        return Ok(ExitCode::SUCCESS);
    }
    print_table(&rows);
    if total > rows.len() as i64 {
        println!("  the newest {} of {}; --limit shows more", rows.len(), grouped(total));
    }
    Ok(ExitCode::SUCCESS)
}

fn print_table(rows: &[DeadLetter]) {
    let mut table = Table::new(&[
        ("id", Align::Right),
        ("first seen", Align::Left),
        ("stage", Align::Left),
        ("record", Align::Left),
        ("tries", Align::Right),
        ("status", Align::Left),
        ("reason", Align::Left),
        ("detail", Align::Left),
    ]);
    for row in rows {
        table.push([
            row.id.to_string(),
            row.first_seen.to_rfc3339_opts(SecondsFormat::Secs, true),
            row.stage.clone(),
            row.coordinates(),
            row.attempts.to_string(),
            row.status.clone(),
            row.reason.clone(),
            shortened(&row.detail, DETAIL_CHARS),
        ]);
    }
    table.print();
}

/// Shows a dead letter.
pub async fn show(settings: &Settings, args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let row = dead_letters::find(settings, args.id).await?;
    let row = row.with_context(|| format!("there is no dead letter {}", args.id))?;
    if args.json {
        println!("{}", row.full());
        return Ok(ExitCode::SUCCESS);
    }
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("no text, in hexadecimal digits: {}", hex(bytes)),
    };
    let none = || "none".to_owned();
    let lines = [
        ("dead letter", format!("{}, {}", row.id, row.status)),
        ("record", row.coordinates()),
        ("Kafka time", rfc3339(row.record_dt)),
        ("stream", format!("{}, refused by {}", row.stream, row.stage)),
        ("reason", format!("{}: {}", row.reason, row.detail)),
        ("waits for", row.waits_for.as_ref().map_or_else(none, |waits_for| waits_for.join(", "))),
        ("first seen", rfc3339(row.first_seen)),
        ("attempts", row.attempts.to_string()),
        ("began as", row.start()),
        ("event_id", row.event_id.clone().unwrap_or_else(none)),
        ("replay", row.replay_seq.map_or_else(none, |n| format!("{}.dlq/0/{n}", row.topic))),
        ("key", row.key.as_deref().map_or_else(none, text)),
    ];
    for (name, value) in lines {
        println!("  {name:<12}{value}");
    }
    match serde_json::from_slice::<Value>(&row.payload) {
        Ok(payload) => println!("\n{payload:#}"),
        Err(_) => println!("\n{}", text(&row.payload)),
    }
    Ok(ExitCode::SUCCESS)
}
