//! `strata push`: events from the generator, followed to the data marts.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use futures::future::try_join_all;
use serde_json::{Value, json};
use strata_events::StreamSpec;
use strata_events::stream::{HOTEL_SEARCH, ORDER};
use strata_runtime::Settings;

use crate::fleet::Fleet;
use crate::layers::grouped;
use crate::services::{DATA_SOURCE, with_key};
use crate::{layers, progress, top};

/// Orders where nothing else is asked for.
const DEFAULT_ORDERS: u64 = 1000;

/// What to push.
#[derive(clap::Args)]
pub struct Args {
    /// Orders to generate; 1000 where no searches are asked for either.
    #[arg(long)]
    orders: Option<u64>,
    /// Hotel searches to generate.
    #[arg(long)]
    searches: Option<u64>,
    /// Events a second, of each kind; as fast as possible where absent.
    #[arg(long)]
    rate: Option<f64>,
    /// The same events again for the same seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Waits until cdm holds them, with progress, and prints the rows of every layer.
    #[arg(long)]
    wait: bool,
}

impl Args {
    /// The streams that are asked for, each with the number of its events.
    fn wanted(&self) -> Vec<(&'static StreamSpec, u64)> {
        match (self.orders, self.searches) {
            (None, None) => vec![(&ORDER, DEFAULT_ORDERS)],
            (orders, searches) => {
                let wanted = [(&ORDER, orders), (&HOTEL_SEARCH, searches)];
                let wanted = wanted.into_iter().filter_map(|(stream, count)| Some((stream, count?)));
                wanted.filter(|(_, count)| *count > 0).collect()
            }
        }
    }
}

/// Sends the requests and follows them.
pub async fn run(settings: &Settings, args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let wanted = args.wanted();
    anyhow::ensure!(!wanted.is_empty(), "there is nothing to push");
    let requests = wanted.iter().map(|(stream, count)| post(settings, &args, stream, *count));
    let requests = try_join_all(requests.collect::<Vec<_>>());
    let total: u64 = wanted.iter().map(|(_, count)| count).sum();
    let what = wanted.iter().map(|(stream, count)| named(stream, *count)).collect::<Vec<_>>().join(" and ");
    if !args.wait {
        requests.await?;
        println!("{what} pushed");
        return Ok(ExitCode::SUCCESS);
    }
    let fleet = Fleet::connect(settings)?;
    println!("Pushing {what} through stg, dds and cdm");
    let sending = tokio::spawn(requests);
    progress::follow(settings, &fleet, &wanted, &sending).await?;
    sending.await??;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "\n{what} in all layers after {seconds:.1} s: {} a second\n",
        grouped((total as f64 / seconds) as i64)
    );
    layers::print(&fleet.pool).await?;
    if args.searches.is_some() {
        top::print(settings).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// So many events of a stream, for people.
fn named(stream: &StreamSpec, count: u64) -> String {
    let name = if *stream == ORDER { "orders" } else { "searches" };
    format!("{} {name}", grouped(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Asks data-source for events of one stream.
fn post(
    settings: &Settings,
    args: &Args,
    stream: &StreamSpec,
    count: u64,
) -> impl Future<Output = anyhow::Result<()>> + use<> {
    let mut body = json!({"N": count, "stream": stream.name});
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
        let answer = request.send().await.with_context(|| format!("data-source does not answer at {url}"))?;
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap_or_default());
        anyhow::ensure!(status.is_success(), "data-source answered {status}: {body}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_not_pushed() {
        for (orders, searches, expected) in [
            (None, None, vec![("order", 1000)]),
            (Some(7), None, vec![("order", 7)]),
            (None, Some(5), vec![("hotel_search", 5)]),
            (Some(7), Some(5), vec![("order", 7), ("hotel_search", 5)]),
            (Some(0), Some(5), vec![("hotel_search", 5)]),
            (Some(0), None, vec![]),
        ] {
            let args = Args { orders, searches, rate: None, seed: None, wait: false };
            let wanted: Vec<_> = args.wanted().iter().map(|(stream, count)| (stream.name, *count)).collect();
            assert_eq!(wanted, expected);
        }
    }
}
