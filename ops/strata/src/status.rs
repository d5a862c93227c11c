//! `strata status`: the fleet at one moment, for people and for scripts.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use strata_observe::Observer;
use strata_observe::snapshot::{Part, Reconcile, Snapshot, Stage};
use strata_service::Settings;
use strata_service::producers::Producer;

use crate::reconcile::verdict;
use crate::table::{Table, grouped, number, seconds};

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
    health("part", snapshot.services.iter().chain(&snapshot.servers)).print();
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
    match snapshot.rows() {
        Some(rows) => {
            Table::of(["table", "rows"], rows.into_iter().map(|(table, rows)| [table, grouped(rows)]))
                .print();
        }
        None => println!("  not known"),
    }
    println!("\nDead letters: {}", dead_letters_in_short(snapshot));
    let kinds = snapshot.dead_letters.iter().flatten();
    let rows =
        kinds.map(|kind| [kind.stage.clone(), kind.stream.clone(), kind.reason.clone(), grouped(kind.open)]);
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        Table::of(["stage", "stream", "reason", "open"], rows).print();
    }
    println!("\nLast reconcile: {}", reconciled(snapshot.reconcile.as_ref(), snapshot.at));
}

/// How parts do, and why.
pub fn health<'a>(what: &str, parts: impl Iterator<Item = &'a Part>) -> Table<3> {
    let row =
        |part: &Part| [part.name.clone(), part.state.to_string(), part.detail.clone().unwrap_or_default()];
    Table::of([what, "state", "why"], parts.map(row))
}

fn lag(snapshot: &Snapshot) -> Table<7> {
    let row = |(stream, stage): (&str, &Stage)| {
        let Stage { lag, lag_seconds, applied, end, topic, .. } = stage;
        let (lag, late, applied, end) = (number(*lag), seconds(*lag_seconds), number(*applied), number(*end));
        [stream.to_owned(), stage.stage.clone(), lag, late, applied, end, topic.clone()]
    };
    let head = ["stream", "stage", "lag", "seconds", "applied", "in Kafka", "topic"];
    Table::of(head, snapshot.stages().map(row))
}

/// The instances of data-source, a line for each stream that they send.
fn producers(snapshot: &Snapshot) -> Option<Table<4>> {
    let lines = |producer: &Producer| -> Vec<[String; 4]> {
        let line = |stream: &str, rate, sent| [producer.instance.clone(), stream.to_owned(), rate, sent];
        if producer.streams.is_empty() {
            return vec![line("nothing yet", String::new(), String::new())];
        }
        let sent = producer.streams.iter();
        sent.map(|(stream, sent)| {
            line(stream, grouped(sent.per_second.round() as i64), grouped(sent.records.cast_signed()))
        })
        .collect()
    };
    let head = ["instance", "stream", "a second", "since its start"];
    Some(Table::of(head, snapshot.producers.as_ref()?.iter().flat_map(lines)))
}

/// The instances of every stage.
fn readers(snapshot: &Snapshot) -> Table<5> {
    let lines = |(stream, stage): (&str, &Stage)| -> Vec<[String; 5]> {
        let line = |instance: &str, partitions, lag| {
            [stream.to_owned(), stage.stage.clone(), instance.to_owned(), partitions, lag]
        };
        match stage.readers.as_deref() {
            None => vec![line("not known", String::new(), String::new())],
            Some([]) => vec![line("none", String::new(), String::new())],
            Some(readers) => readers
                .iter()
                .map(|reader| line(&reader.instance, partitions(&reader.partitions), number(reader.lag)))
                .collect(),
        }
    };
    Table::of(["stream", "stage", "instance", "partitions", "lag"], snapshot.stages().flat_map(lines))
}

/// Partitions as people write them.
fn partitions(numbers: &[i32]) -> String {
    if numbers.is_empty() {
        return "none: there are more instances than partitions".to_owned();
    }
    numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")
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

/// The last reconcile in a sentence.
pub fn reconciled(run: Option<&Reconcile>, now: DateTime<Utc>) -> String {
    let Some(run) = run else { return "not known; strata reconcile compares all layers".to_owned() };
    let (result, took) = (verdict(run.differences), run.duration_ms as f64 / 1000.0);
    let ago = span((now - run.finished_at).num_seconds());
    format!("{result}, {} checks in {took:.1} s, {ago} ago", run.checks)
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
}
