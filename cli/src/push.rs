//! `strata push`: events from the generator, followed to the data marts.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};
use strata_events::stream::ORDER;
use strata_runtime::Settings;

use crate::fleet::Fleet;
use crate::layers::grouped;
use crate::{layers, progress};

/// What to push.
#[derive(clap::Args)]
pub struct Args {
    /// Orders to generate.
    #[arg(long, default_value_t = 1000)]
    orders: u64,
    /// Events a second; as fast as possible where absent.
    #[arg(long)]
    rate: Option<f64>,
    /// The same events again for the same seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Waits until cdm holds them, with progress, and prints the rows of every layer.
    #[arg(long)]
    wait: bool,
}

/// Sends the request and follows it.
pub async fn run(settings: &Settings, args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let (request, orders) = (post(settings, &args), args.orders);
    if !args.wait {
        request.await?;
        println!("{} orders pushed", grouped(i64::try_from(orders)?));
        return Ok(ExitCode::SUCCESS);
    }
    let fleet = Fleet::connect(settings)?;
    println!("Pushing {} orders through stg, dds and cdm", grouped(i64::try_from(orders)?));
    let sending = tokio::spawn(request);
    progress::follow(settings, &fleet, &ORDER, orders, &sending).await?;
    sending.await??;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "\n{} orders in all layers after {seconds:.1} s: {} orders a second\n",
        grouped(i64::try_from(orders)?),
        grouped((orders as f64 / seconds) as i64)
    );
    layers::print(&fleet.pool).await?;
    Ok(ExitCode::SUCCESS)
}

fn post(settings: &Settings, args: &Args) -> impl Future<Output = anyhow::Result<()>> + use<> {
    let url = format!("http://{}:{}/push", settings.http_host, settings.http_port);
    let mut body = json!({"N": args.orders, "stream": ORDER.name});
    if let Some(rate) = args.rate {
        body["rate"] = json!(rate);
    }
    if let Some(seed) = args.seed {
        body["seed"] = json!(seed);
    }
    let mut request = reqwest::Client::new().post(&url).json(&body);
    if let Some(key) = &settings.api_key {
        request = request.header("APIKEY", key.expose());
    }
    async move {
        let answer = request.send().await.with_context(|| format!("data-source does not answer at {url}"))?;
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap_or_default());
        anyhow::ensure!(status.is_success(), "data-source answered {status}: {body}");
        Ok(())
    }
}
