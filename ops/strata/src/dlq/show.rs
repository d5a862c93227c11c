//! `strata dlq list` and `strata dlq show`: looking only.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::SecondsFormat;
use serde_json::{Value, json};
use strata_runtime::{Settings, pg};

use super::filter::{Filter, matching};
use super::letter::{Letter, columns, hex, rfc3339};
use crate::layers::grouped;
use crate::table::{Align, Table, shortened};

/// Letters of the detail that a list shows.
const DETAIL_CHARS: usize = 60;

/// What to list.
#[derive(clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// open, replaying, replayed, discarded, or any.
    #[arg(long, default_value = "open", value_parser = ["open", "replaying", "replayed", "discarded", "any"])]
    status: String,
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
    let pool = pg::pool(&settings.postgres, "strata", settings.postgres.worker_connections);
    let status = (args.status != "any").then_some(args.status.as_str());
    let count = concat!("select count(*) from ops.dead_letters as d where ", matching!());
    let total: i64 = args
        .filter
        .bind_scalar(sqlx::query_scalar(count), status)
        .fetch_one(&pool)
        .await
        .context("Postgres does not answer; is the fleet up? (make up)")?;
    let select = concat!(
        "select ",
        columns!(),
        " from ops.dead_letters as d where ",
        matching!(),
        " order by d.id desc limit $8"
    );
    let letters: Vec<Letter> =
        args.filter.bind(sqlx::query_as(select), status).bind(i64::from(args.limit)).fetch_all(&pool).await?;
    if args.json {
        let rows: Vec<Value> = letters.iter().map(Letter::summary).collect();
        println!("{}", json!({"total": total, "dead_letters": rows}));
        return Ok(ExitCode::SUCCESS);
    }
    if letters.is_empty() {
        println!("no dead letters{}", status.map(|s| format!(" that are {s}")).unwrap_or_default());
        return Ok(ExitCode::SUCCESS);
    }
    print_table(&letters);
    if total > letters.len() as i64 {
        println!("  the newest {} of {}; --limit shows more", letters.len(), grouped(total));
    }
    Ok(ExitCode::SUCCESS)
}

fn print_table(letters: &[Letter]) {
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
    for letter in letters {
        table.push([
            letter.id.to_string(),
            letter.first_seen.to_rfc3339_opts(SecondsFormat::Secs, true),
            letter.stage.clone(),
            letter.coordinates(),
            letter.attempts.to_string(),
            letter.status.clone(),
            letter.reason.clone(),
            shortened(&letter.detail, DETAIL_CHARS),
        ]);
    }
    table.print();
}

/// Shows a dead letter.
pub async fn show(settings: &Settings, args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let pool = pg::pool(&settings.postgres, "strata", settings.postgres.worker_connections);
    let select = concat!("select ", columns!(), " from ops.dead_letters as d where d.id = $1");
    let letter: Option<Letter> = sqlx::query_as(select)
        .bind(args.id)
        .fetch_optional(&pool)
        .await
        .context("Postgres does not answer; is the fleet up? (make up)")?;
    let letter = letter.with_context(|| format!("there is no dead letter {}", args.id))?;
    if args.json {
        println!("{}", letter.full());
        return Ok(ExitCode::SUCCESS);
    }
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("no text, in hexadecimal digits: {}", hex(bytes)),
    };
    let none = || "none".to_owned();
    let lines = [
        ("dead letter", format!("{}, {}", letter.id, letter.status)),
        ("record", letter.coordinates()),
        ("Kafka time", rfc3339(letter.record_dt)),
        ("stream", format!("{}, refused by {}", letter.stream, letter.stage)),
        ("reason", format!("{}: {}", letter.reason, letter.detail)),
        ("first seen", rfc3339(letter.first_seen)),
        ("attempts", letter.attempts.to_string()),
        ("began as", letter.start()),
        ("event_id", letter.event_id.clone().unwrap_or_else(none)),
        ("replay", letter.replay_seq.map_or_else(none, |n| format!("{}.dlq/0/{n}", letter.topic))),
        ("key", letter.key.as_deref().map_or_else(none, text)),
    ];
    for (name, value) in lines {
        println!("  {name:<12}{value}");
    }
    match serde_json::from_slice::<Value>(&letter.payload) {
        Ok(payload) => println!("\n{payload:#}"),
        Err(_) => println!("\n{}", text(&letter.payload)),
    }
    Ok(ExitCode::SUCCESS)
}
