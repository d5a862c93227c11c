//! `strata status`: the fleet at one moment, for people and for scripts.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use strata_observe::Observer;
use strata_observe::snapshot::{Reconcile, Snapshot, State};
use strata_service::Settings;

use crate::layers::grouped;
use crate::table::{Align, Table};

/// How to report.
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object, for scripts; its fields are those of `strata_observe::Snapshot`.
    #[arg(long)]
    json: bool,
}

/// Prints the state of the fleet; fails when a service or a server is not well.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let snapshot = Observer::new(settings)?.look().await;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&snapshot)?);
    } else {
        print(&snapshot);
    }
    Ok(if snapshot.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(snapshot: &Snapshot) {
    println!("Health");
    health(snapshot).print();
    println!("\nLag");
    lag(snapshot).print();
    println!("\nWho sends, records a second");
    match producers(snapshot) {
        Some(table) => table.print(),
        None => println!("  not known"),
    }
    println!("\nWho reads");
    readers(snapshot).print();
    let exact = snapshot.tables.iter().flatten().all(|table| table.exact);
    println!("\nRows{}", if exact { "" } else { ", about: records flow, or a table is too large to count" });
    match rows(snapshot) {
        Some(table) => table.print(),
        None => println!("  not known"),
    }
    println!("\nDead letters: {}", dead_letters_in_short(snapshot));
    if let Some(table) = dead_letters(snapshot) {
        table.print();
    }
    println!("\nLast reconcile: {}", reconciled(snapshot.reconcile.as_ref(), snapshot.at));
}

fn health(snapshot: &Snapshot) -> Table {
    let mut table = Table::new(&[("part", Align::Left), ("state", Align::Left), ("why", Align::Left)]);
    for part in snapshot.services.iter().chain(&snapshot.servers) {
        let state = state(part.state).to_owned();
        table.push([part.name.clone(), state, part.detail.clone().unwrap_or_default()]);
    }
    table
}

/// A state in a word.
pub fn state(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Unhealthy => "unhealthy",
        State::Down => "down",
    }
}

fn lag(snapshot: &Snapshot) -> Table {
    let mut table = Table::new(&[
        ("stream", Align::Left),
        ("stage", Align::Left),
        ("lag", Align::Right),
        ("seconds", Align::Right),
        ("applied", Align::Right),
        ("in Kafka", Align::Right),
        ("topic", Align::Left),
    ]);
    for stream in &snapshot.streams {
        for stage in &stream.stages {
            table.push([
                stream.name.clone(),
                stage.stage.clone(),
                number(stage.lag),
                seconds(stage.lag_seconds),
                number(stage.applied),
                number(stage.end),
                stage.topic.clone(),
            ]);
        }
    }
    table
}

/// The instances of data-source, a line for each stream that they send.
fn producers(snapshot: &Snapshot) -> Option<Table> {
    let mut table = Table::new(&[
        ("instance", Align::Left),
        ("stream", Align::Left),
        ("a second", Align::Right),
        ("since its start", Align::Right),
    ]);
    for producer in snapshot.producers.as_ref()? {
        if producer.streams.is_empty() {
            table.push([producer.instance.clone(), "nothing yet".to_owned(), String::new(), String::new()]);
        }
        for (stream, sent) in &producer.streams {
            let (rate, records) =
                (grouped(sent.per_second.round() as i64), grouped(sent.records.cast_signed()));
            table.push([producer.instance.clone(), stream.clone(), rate, records]);
        }
    }
    Some(table)
}

/// The instances of every stage.
fn readers(snapshot: &Snapshot) -> Table {
    let mut table = Table::new(&[
        ("stream", Align::Left),
        ("stage", Align::Left),
        ("instance", Align::Left),
        ("partitions", Align::Left),
        ("lag", Align::Right),
    ]);
    for stream in &snapshot.streams {
        for stage in &stream.stages {
            let mut line = |instance: &str, partitions: String, lag: String| {
                table.push([stream.name.clone(), stage.stage.clone(), instance.to_owned(), partitions, lag]);
            };
            match stage.readers.as_deref() {
                None => line("not known", String::new(), String::new()),
                Some([]) => line("none", String::new(), String::new()),
                Some(readers) => {
                    for reader in readers {
                        line(&reader.instance, partitions(&reader.partitions), number(reader.lag));
                    }
                }
            }
        }
    }
    table
}

/// Partitions as people write them.
fn partitions(numbers: &[i32]) -> String {
    if numbers.is_empty() {
        return "none: there are more instances than partitions".to_owned();
    }
    numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")
}

/// Tables of Postgres, then what Redis counts.
pub fn rows_by_table(snapshot: &Snapshot) -> Option<Vec<(String, i64)>> {
    let tables = snapshot.tables.as_ref()?.iter();
    let mut rows: Vec<_> =
        tables.map(|table| (format!("{}.{}", table.layer, table.name), table.rows)).collect();
    if let Some(metrics) = snapshot.metrics {
        for (name, count) in
            [("users", metrics.users), ("hotels", metrics.hotels), ("advertisers", metrics.advertisers)]
        {
            rows.push((format!("metrics: {name}"), count));
        }
    }
    Some(rows)
}

fn rows(snapshot: &Snapshot) -> Option<Table> {
    let mut table = Table::new(&[("table", Align::Left), ("rows", Align::Right)]);
    for (name, rows) in rows_by_table(snapshot)? {
        table.push([name, grouped(rows)]);
    }
    Some(table)
}

/// How many there are, and how many records are only parked.
pub fn dead_letters_in_short(snapshot: &Snapshot) -> String {
    let letters = match &snapshot.dead_letters {
        None => return "not known".to_owned(),
        Some(kinds) if kinds.is_empty() => "none open".to_owned(),
        Some(kinds) => format!("{} open", grouped(kinds.iter().map(|kind| kind.open).sum())),
    };
    match snapshot.parked {
        None | Some(0) => letters,
        Some(parked) => format!("{letters}; {} parked, waiting for reference data", grouped(parked)),
    }
}

fn dead_letters(snapshot: &Snapshot) -> Option<Table> {
    let kinds = snapshot.dead_letters.as_ref().filter(|kinds| !kinds.is_empty())?;
    let mut table = Table::new(&[
        ("stage", Align::Left),
        ("stream", Align::Left),
        ("reason", Align::Left),
        ("open", Align::Right),
    ]);
    for kind in kinds {
        table.push([kind.stage.clone(), kind.stream.clone(), kind.reason.clone(), grouped(kind.open)]);
    }
    Some(table)
}

/// The last reconcile in a sentence.
pub fn reconciled(run: Option<&Reconcile>, now: DateTime<Utc>) -> String {
    let Some(run) = run else { return "not known; strata reconcile compares all layers".to_owned() };
    let result = match run.differences {
        0 => "all layers agree".to_owned(),
        1 => "1 DIFFERENCE".to_owned(),
        n => format!("{} DIFFERENCES", grouped(n)),
    };
    let took = run.duration_ms as f64 / 1000.0;
    format!(
        "{result}, {} checks in {took:.1} s, {} ago",
        run.checks,
        span((now - run.finished_at).num_seconds())
    )
}

/// A span of time, in the largest unit that fits.
fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A number that may not be known.
pub fn number(number: Option<i64>) -> String {
    number.map_or_else(|| "?".to_owned(), grouped)
}

/// Seconds that may not be known.
pub fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "?".to_owned(), |seconds| format!("{seconds:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reconcile_is_told_in_a_sentence() {
        let finished_at = DateTime::from_timestamp(1_000, 0).expect("a time");
        let now = DateTime::from_timestamp(1_300, 0).expect("a time");
        let run = |differences| Reconcile { finished_at, duration_ms: 14_100, checks: 16, differences };
        assert_eq!(reconciled(Some(&run(0)), now), "all layers agree, 16 checks in 14.1 s, 5 min ago");
        assert!(reconciled(Some(&run(1_200)), now).starts_with("1 200 DIFFERENCES, 16 checks"));
        assert!(reconciled(None, now).contains("strata reconcile"));
    }

    #[test]
    fn what_is_not_known_is_a_question_mark() {
        assert_eq!((number(None), seconds(None)), ("?".to_owned(), "?".to_owned()));
        assert_eq!((number(Some(1_000)), seconds(Some(2.04))), ("1 000".to_owned(), "2.0".to_owned()));
    }
}
