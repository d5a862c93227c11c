//! `strata push`: events from the generator, followed to the data marts.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command, FromArgMatches, value_parser};
use futures::future::try_join_all;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use strata_service::Settings;
use strata_streams::{DEFAULT, STREAMS, StreamDef, find};
use uuid::Uuid;

use crate::fleet::Fleet;
use crate::layers::grouped;
use crate::services::{DATA_SOURCE, with_key};
use crate::{layers, progress, top};

/// Events of the default stream where nothing else is asked for.
const DEFAULT_EVENTS: u64 = 1000;

/// Pause before data-source is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What to push.
#[derive(clap::Args)]
pub struct Args {
    /// Events to generate by stream, for example order=10000 hotel_search=10000; 1000 orders where none are named.
    #[arg(value_name = "STREAM=EVENTS", value_parser = parse_events)]
    events: Vec<(&'static StreamDef, u64)>,
    #[command(flatten)]
    options: Options,
    /// Events a second, of each kind; as fast as possible where absent.
    #[arg(long)]
    rate: Option<f64>,
    /// The same events again for the same seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Waits until every layer holds them, with progress, and prints the rows of every layer; an outage of data-source or
    /// of a server meanwhile is waited out.
    #[arg(long)]
    wait: bool,
}

/// `--orders 10000`, the form of version 0.1, for every stream.
struct Options(Vec<(&'static StreamDef, u64)>);

impl clap::Args for Options {
    fn augment_args(command: Command) -> Command {
        STREAMS.iter().fold(command, |command, stream| {
            let same = format!("The same as {}=N", stream.spec.name);
            command.arg(
                Arg::new(stream.words.many)
                    .long(stream.words.many)
                    .value_name("N")
                    .value_parser(value_parser!(u64))
                    .help(same),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |stream: &&'static StreamDef| Some((*stream, *matches.get_one(stream.words.many)?));
        Ok(Self(STREAMS.iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args {
    /// The streams that are asked for, each with the number of its events.
    fn wanted(&self) -> Vec<(&'static StreamDef, u64)> {
        let mut wanted = [&*self.events, &self.options.0].concat();
        if wanted.is_empty() {
            wanted.push((DEFAULT, DEFAULT_EVENTS));
        }
        wanted.retain(|(_, count)| *count > 0);
        wanted
    }
}

/// Reads `order=10000`.
fn parse_events(text: &str) -> Result<(&'static StreamDef, u64), String> {
    let (name, count) = text.split_once('=').ok_or("a stream and a number, for example order=10000")?;
    let count = count.parse().map_err(|e| format!("{count:?} is no number of events: {e}"))?;
    Ok((find(name)?, count))
}

/// Sends the requests and follows them.
pub async fn run(settings: &Settings, args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let wanted = args.wanted();
    anyhow::ensure!(!wanted.is_empty(), "there is nothing to push");
    let requests = wanted.iter().map(|(stream, count)| post(settings, &args, stream, *count));
    let requests = try_join_all(requests.collect::<Vec<_>>());
    let total: u64 = wanted.iter().map(|(_, count)| count).sum();
    let what = wanted.iter().map(|(stream, count)| stream.named(grouped(count.cast_signed())));
    let what = what.collect::<Vec<_>>().join(" and ");
    if !args.wait {
        requests.await?;
        println!("{what} pushed");
        return Ok(ExitCode::SUCCESS);
    }
    let fleet = Fleet::connect(settings)?;
    println!("Pushing {what} through the layers");
    let sending = tokio::spawn(requests);
    progress::follow(settings, &fleet, &wanted, &sending).await?;
    sending.await??;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "\n{what} in all layers after {seconds:.1} s: {} a second\n",
        grouped((total as f64 / seconds) as i64)
    );
    layers::print(&fleet.pool).await?;
    if wanted.iter().any(|(stream, _)| stream.metrics().is_some()) {
        top::print(settings).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Why data-source did not take a push.
enum Refused {
    /// It, or what it needs, is away: the same push will do later.
    Away(String),
    /// It never will.
    Forever(anyhow::Error),
}

/// Sends a push once.
async fn attempt(request: RequestBuilder, url: &str) -> Result<(), Refused> {
    let answer = request.send().await;
    let answer = answer.map_err(|e| Refused::Away(format!("data-source does not answer at {url}: {e}")))?;
    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap_or_default());
    let said = || format!("data-source answered {status}: {body}");
    match status.as_u16() {
        _ if status.is_success() => Ok(()),
        429 | 500.. => Err(Refused::Away(said())),
        _ => Err(Refused::Forever(anyhow::anyhow!(said()))),
    }
}

/// Asks data-source for events of one stream; with `--wait` again and again, for the same ones, until it takes
/// them: what a request that died had brought to Kafka already is not brought there as something else.
fn post(
    settings: &Settings,
    args: &Args,
    stream: &StreamDef,
    count: u64,
) -> impl Future<Output = anyhow::Result<()>> + use<> {
    let mut body = json!({"N": count, "stream": stream.spec.name});
    let is_patient = args.wait;
    if is_patient {
        body["id"] = json!(Uuid::now_v7());
    }
    if let Some(rate) = args.rate {
        body["rate"] = json!(rate);
    }
    if let Some(seed) = args.seed {
        body["seed"] = json!(seed);
    }
    let request = DATA_SOURCE.url().map(|url| {
        let url = format!("{url}/push");
        (with_key(reqwest::Client::new().post(&url), settings).json(&body), url)
    });
    async move {
        let (request, url) = request?;
        let mut told = String::new();
        loop {
            let again = request.try_clone().context("a request that cannot be repeated")?;
            match attempt(again, &url).await {
                Ok(()) => return Ok(()),
                Err(Refused::Away(why)) if is_patient => {
                    if told != why {
                        eprintln!("{why}; asking again until it takes the events");
                        told = why;
                    }
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                Err(Refused::Away(why)) => anyhow::bail!(why),
                Err(Refused::Forever(error)) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use strata_streams::names;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        push: Args,
    }

    #[test]
    fn streams_are_named_by_argument_or_option_and_what_is_not_asked_for_is_not_pushed() {
        for (line, expected) in [
            ("push", vec![("order", 1000)]),
            ("push order=7", vec![("order", 7)]),
            ("push hotel_search=5 order=7", vec![("hotel_search", 5), ("order", 7)]),
            ("push order=0 hotel_search=5", vec![("hotel_search", 5)]),
            ("push order=0", vec![]),
            ("push --orders 7 --searches 5", vec![("order", 7), ("hotel_search", 5)]),
            ("push --orders 0 --searches 5", vec![("hotel_search", 5)]),
        ] {
            let args = Line::try_parse_from(line.split_whitespace()).expect("it is understood").push;
            let wanted: Vec<_> =
                args.wanted().iter().map(|(stream, count)| (stream.spec.name, *count)).collect();
            assert_eq!(wanted, expected, "{line}");
        }
    }

    #[test]
    fn a_stream_that_is_none_is_told_with_those_that_are() {
        for (text, said) in [
            ("cats=1", format!("no stream \"cats\"; there are: {}", names())),
            ("order", "a stream and a number, for example order=10000".to_owned()),
            ("order=x", "\"x\" is no number of events: invalid digit found in string".to_owned()),
        ] {
            assert_eq!(parse_events(text).map(|(stream, _)| stream.spec.name), Err(said));
        }
    }
}
