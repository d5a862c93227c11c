//! `strata ingest`: a file of real events, or standard input, through data-source.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use futures::stream::{self, Stream};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Body, Client};
use serde::Deserialize;
use strata_service::Settings;
use strata_streams::{StreamDef, find};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::layers::grouped;
use crate::services::{DATA_SOURCE, with_key};

/// Bytes that are read and sent at once.
const PIECE: usize = 256 * 1024;

/// The form that every stream has.
const JSON: &str = "json";

/// What to send.
#[derive(clap::Args)]
pub struct Args {
    /// File of events: one JSON object a line, or an array of them; `-` is standard input.
    file: String,
    /// Kind of the events.
    #[arg(long, value_parser = find)]
    stream: &'static StreamDef,
    /// Form of the file: json, one object a line or an array, or another that the stream has, for example tsv.
    #[arg(long, default_value = JSON)]
    format: String,
    /// data-source's answer, for scripts.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The `Content-Type` of the file.
    ///
    /// **Errors**: the stream has no such form.
    fn content_type(&self) -> anyhow::Result<&'static str> {
        if self.format == JSON {
            return Ok("application/x-ndjson");
        }
        let forms = || self.stream.forms.iter();
        let found = forms().find(|form| form.name == self.format).map(|form| form.media_type);
        found.with_context(|| {
            let known: Vec<&str> = [JSON].into_iter().chain(forms().map(|form| form.name)).collect();
            let (format, many, known) = (&self.format, self.stream.words.many, known.join(", "));
            format!("--format {format} is no form of {many}; there are: {known}")
        })
    }
}

/// data-source's answer.
#[derive(Debug, Deserialize)]
struct Summary {
    accepted: u64,
    rejected_count: u64,
    rejected: Vec<Rejection>,
}

#[derive(Debug, Deserialize)]
struct Rejection {
    line: u64,
    error: String,
}

/// Sends the file; fails when a line was rejected.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let content_type = args.content_type()?;
    let (reader, length) = open(&args.file).await?;
    let bar = progress(length)?;
    let url = format!("{}/ingest/{}", DATA_SOURCE.url()?, args.stream.spec.name);
    let request = with_key(Client::new().post(&url), settings)
        .header("content-type", content_type)
        .body(Body::wrap_stream(pieces(reader, bar.clone())));
    let answer = request.send().await.with_context(|| {
        format!("data-source at {url} did not take all of it; what it took is not lost, send the file again")
    })?;
    bar.finish_and_clear();
    let status = answer.status();
    let text = answer.text().await?;
    // 422 says that no line was good, and which were not.
    anyhow::ensure!(status == 200 || status == 422, "data-source answered {status}: {text}");
    let summary: Summary =
        serde_json::from_str(&text).with_context(|| format!("data-source answered {status}: {text}"))?;
    if args.json {
        println!("{text}");
    } else {
        report(&summary)?;
    }
    Ok(if summary.rejected_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The file or standard input, and its length where it has one.
async fn open(file: &str) -> anyhow::Result<(Box<dyn AsyncRead + Send + Unpin>, Option<u64>)> {
    if file == "-" {
        return Ok((Box::new(tokio::io::stdin()), None));
    }
    let opened = tokio::fs::File::open(file).await.with_context(|| format!("{file} cannot be read"))?;
    let metadata = opened.metadata().await?;
    anyhow::ensure!(!metadata.is_dir(), "{file} is a directory");
    // A pipe has no length that means anything.
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(opened), length))
}

/// The content, a piece at a time; no more of it is in memory.
fn pieces(
    reader: Box<dyn AsyncRead + Send + Unpin>,
    bar: ProgressBar,
) -> impl Stream<Item = std::io::Result<Vec<u8>>> {
    stream::try_unfold((reader, bar), |(mut reader, bar)| async move {
        let mut piece = Vec::with_capacity(PIECE);
        // What there is, so that lines of a slow pipe go on at once.
        if reader.read_buf(&mut piece).await? == 0 {
            return Ok(None);
        }
        bar.inc(piece.len() as u64);
        Ok(Some((piece, (reader, bar))))
    })
}

/// Bytes sent, on a terminal.
fn progress(length: Option<u64>) -> anyhow::Result<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let (bar, template) = match length {
        Some(length) => {
            (ProgressBar::new(length), "  {bar:40} {bytes:>11}/{total_bytes} {bytes_per_sec:>14} {eta}")
        }
        None => (ProgressBar::no_length(), "  {spinner} {bytes:>11} {bytes_per_sec:>14} {elapsed}"),
    };
    Ok(bar.with_style(ProgressStyle::with_template(template)?))
}

fn report(summary: &Summary) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let number = |count: u64| grouped(i64::try_from(count).unwrap_or(i64::MAX));
    writeln!(out, "{} accepted, {} rejected", number(summary.accepted), number(summary.rejected_count))?;
    for Rejection { line, error } in &summary.rejected {
        writeln!(out, "  line {line}: {error}")?;
    }
    let unlisted = summary.rejected_count - summary.rejected.len() as u64;
    if unlisted > 0 {
        writeln!(out, "  and {} more: strata dlq list", number(unlisted))?;
    }
    Ok(())
}
