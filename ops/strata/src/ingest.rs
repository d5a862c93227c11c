//! `strata ingest`: a file of real events, or standard input, through data-source.

use std::process::ExitCode;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use reqwest::Body;
use strata_observe::{Api, Ingested};
use strata_service::Settings;
use strata_streams::{StreamDef, find};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::progress;
use crate::table::grouped;

/// Bytes that are read and sent at once.
const PIECE: usize = 256 * 1024;

/// Bytes sent, of a file and of what has no length.
const BAR: &str = "  {bar:40} {bytes:>11}/{total_bytes} {bytes_per_sec:>14} {eta}";
const SPINNER: &str = "  {spinner} {bytes:>11} {bytes_per_sec:>14} {elapsed}";

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
    fn media_type(&self) -> anyhow::Result<&'static str> {
        if self.format == JSON {
            return Ok("application/x-ndjson");
        }
        let forms = self.stream.forms;
        let found = forms.iter().find(|form| form.name == self.format);
        found.map(|form| form.media_type).with_context(|| {
            let known: Vec<&str> = [JSON].into_iter().chain(forms.iter().map(|form| form.name)).collect();
            let (format, many, known) = (&self.format, self.stream.words.many, known.join(", "));
            format!("--format {format} is no form of {many}; there are: {known}")
        })
    }
}

/// Sends the file; fails when a line was rejected.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let media_type = args.media_type()?;
    let (reader, length) = open(&args.file).await?;
    let bar = progress::bar(length, if length.is_some() { BAR } else { SPINNER });
    let sent = bar.clone();
    let pieces =
        ReaderStream::with_capacity(reader, PIECE).inspect_ok(move |piece| sent.inc(piece.len() as u64));
    let body = Body::wrap_stream(pieces);
    let done = Api::new(settings).ingest(args.stream.spec.name, media_type, body).await?;
    bar.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string(&done)?);
    } else {
        report(&done);
    }
    Ok(if done.rejected_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

fn report(done: &Ingested) {
    let number = |count: u64| grouped(count.cast_signed());
    println!("{} accepted, {} rejected", number(done.accepted), number(done.rejected_count));
    for rejection in &done.rejected {
        println!("  line {}: {}", rejection.line, rejection.error);
    }
    let unlisted = done.rejected_count - done.rejected.len() as u64;
    if unlisted > 0 {
        println!("  and {} more: strata dlq list", number(unlisted));
    }
}
