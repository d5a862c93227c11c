//! `strata push`: events from the generator, followed to the data marts.

use std::process::ExitCode;
use std::time::Instant;

use clap::value_parser;
use futures::future::try_join_all;
use strata_observe::{Api, Fleet, Push};
use strata_service::Settings;
use strata_streams::{DEFAULT, STREAMS, StreamDef, find};
use uuid::Uuid;

use crate::table::grouped;
use crate::{progress, top};

/// Events of the default stream where nothing else is asked for.
const DEFAULT_EVENTS: u64 = 1000;

/// A stream and how many of its events.
type Events = (&'static StreamDef, u64);

/// Most producers of a stream.
const MOST_PRODUCERS: u32 = 64;

/// Seeds of two producers lie so far apart, so that a push does not repeat what the next seed's has.
const SEED_STEP: u64 = 1 << 20;

/// What to push.
#[derive(clap::Args)]
pub struct Args {
    /// Events to generate by stream, for example order=10000 hotel_search=10000; 1000 orders where none are named.
    #[arg(value_name = "STREAM=EVENTS", value_parser = parse_events)]
    events: Vec<Events>,
    /// The same as order=N, as version 0.1 had it.
    #[arg(long, value_name = "N", value_parser = |n: &str| parse_events(&format!("order={n}")))]
    orders: Option<Events>,
    /// The same as hotel_search=N, as version 0.1 had it.
    #[arg(long, value_name = "N", value_parser = |n: &str| parse_events(&format!("hotel_search={n}")))]
    searches: Option<Events>,
    /// So many of every stream.
    #[arg(long, value_name = "EVENTS")]
    each: Option<u64>,
    /// Events a second, of each kind, all producers together; as fast as possible where absent.
    #[arg(long)]
    rate: Option<f64>,
    /// Requests to data-source at the same time, of each kind: its instances share them, each sends its part.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=i64::from(MOST_PRODUCERS)))]
    producers: u32,
    /// The same events again for the same seed and number of producers.
    #[arg(long)]
    seed: Option<u64>,
    /// Waits until every layer holds them, with progress, and prints the rows of every layer; an outage of data-source or
    /// of a server meanwhile is waited out.
    #[arg(long)]
    wait: bool,
}

impl Args {
    /// The streams that are asked for, each with the number of its events.
    fn wanted(&self) -> Vec<Events> {
        let each = self.each.into_iter().flat_map(|count| STREAMS.iter().map(move |stream| (*stream, count)));
        let asked = self.events.iter().chain(&self.orders).chain(&self.searches).copied();
        let mut wanted: Vec<Events> = asked.chain(each).collect();
        if wanted.is_empty() {
            wanted.push((DEFAULT, DEFAULT_EVENTS));
        }
        wanted.retain(|(_, count)| *count > 0);
        wanted
    }

    /// Each producer's request for events of one stream, where it has something to do; one that is waited for may be
    /// sent again.
    fn requests(&self, stream: &StreamDef, count: u64) -> Vec<Push> {
        let producers = u64::from(self.producers).min(count);
        let request = |producer: u64| {
            let part = count / producers + u64::from(producer < count % producers);
            Push {
                stream: stream.spec.name,
                count: part,
                rate: self.rate.map(|rate| rate * part as f64 / count as f64),
                seed: self.seed.map(|seed| seed.wrapping_add(producer * SEED_STEP)),
                id: self.wait.then(Uuid::now_v7),
            }
        };
        (0..producers).map(request).collect()
    }
}

/// Reads `order=10000`.
fn parse_events(text: &str) -> Result<Events, String> {
    let (name, count) = text.split_once('=').ok_or("a stream and a number, for example order=10000")?;
    let count = count.parse().map_err(|e| format!("{count:?} is no number of events: {e}"))?;
    Ok((find(name)?, count))
}

/// Sends the requests and follows them.
pub async fn run(settings: &Settings, args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let wanted = args.wanted();
    anyhow::ensure!(!wanted.is_empty(), "there is nothing to push");
    let requests = wanted.iter().flat_map(|(stream, count)| args.requests(stream, *count));
    let requests: Vec<Push> = requests.collect();
    let api = Api::new(settings);
    let sending = async move {
        let told = |why: &str| eprintln!("{why}; asking again until it takes the events");
        try_join_all(requests.iter().map(|request| api.push(request, told))).await
    };
    let total: u64 = wanted.iter().map(|(_, count)| count).sum();
    let what = wanted.iter().map(|(stream, count)| stream.named(grouped(count.cast_signed())));
    let what = listed(&what.collect::<Vec<_>>());
    if !args.wait {
        sending.await?;
        println!("{what} pushed");
        return Ok(ExitCode::SUCCESS);
    }
    let fleet = Fleet::connect(settings)?;
    println!("Pushing {what} through the layers");
    let sending = tokio::spawn(sending);
    progress::follow(settings, &fleet, &wanted, &sending).await?;
    sending.await??;
    let seconds = started.elapsed().as_secs_f64();
    let rate = grouped((total as f64 / seconds) as i64);
    println!("\n{what} in all layers after {seconds:.1} s: {rate} a second\n");
    for (name, rows) in strata_observe::summary(&fleet.pool).await? {
        println!("  {name:<32}{:>14}", grouped(rows));
    }
    if wanted.iter().any(|(stream, _)| stream.metrics().is_some()) {
        top::print(settings).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Things as people list them.
fn listed(things: &[String]) -> String {
    match things {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => things.concat(),
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
            ("push --each 5", STREAMS.iter().map(|stream| (stream.spec.name, 5)).collect()),
        ] {
            let args = Line::try_parse_from(line.split_whitespace()).expect("it is understood").push;
            let wanted: Vec<_> =
                args.wanted().iter().map(|(stream, count)| (stream.spec.name, *count)).collect();
            assert_eq!(wanted, expected, "{line}");
        }
    }

    #[test]
    fn producers_share_events_and_rate_and_have_seeds_of_their_own() {
        let line = "push order=10 --producers 4 --rate 20 --seed 7";
        let args = Line::try_parse_from(line.split_whitespace()).expect("it is understood").push;
        let requests = args.requests(DEFAULT, 10);
        let said: Vec<_> = requests.iter().map(|push| (push.count, push.rate, push.seed)).collect();
        let expected = [(3, 6.0), (3, 6.0), (2, 4.0), (2, 4.0)].into_iter().enumerate();
        let seed = |producer: usize| Some(((producer as u64) << 20) + 7);
        assert_eq!(said, expected.map(|(n, (count, rate))| (count, Some(rate), seed(n))).collect::<Vec<_>>());
        // Whoever has nothing to send does not ask.
        assert_eq!(args.requests(DEFAULT, 2).len(), 2);
        assert!(Line::try_parse_from(["push", "order=1", "--producers", "0"]).is_err());
    }

    #[test]
    fn what_is_pushed_is_listed_as_people_do() {
        for (things, list) in [(&["a"][..], "a"), (&["a", "b"], "a and b"), (&["a", "b", "c"], "a, b and c")]
        {
            assert_eq!(listed(&things.iter().map(|&thing| thing.to_owned()).collect::<Vec<_>>()), list);
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
