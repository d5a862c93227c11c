//! `strata status`: health, lag and rows, once.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use strata_events::STREAMS;
use strata_runtime::Settings;

use crate::fleet::{Fleet, STAGES};
use crate::layers;
use crate::services::SERVICES;

/// Prints the state of the fleet; fails when a service is not healthy.
pub async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(3)).build()?;
    let mut healthy = true;
    println!("Health");
    for service in SERVICES {
        let (service, url) = (service.name, format!("{}/health", service.url()?));
        let state = match client.get(&url).send().await {
            Ok(answer) if answer.status().is_success() => "ok".to_owned(),
            Ok(answer) => format!("unhealthy: {}", answer.json::<Value>().await.unwrap_or_default()),
            Err(_) => format!("does not answer at {url}"),
        };
        healthy &= state == "ok";
        println!("  {service:<12}{state}");
    }
    let fleet = Fleet::connect(settings)?;
    println!("\nLag, in messages");
    for stream in STREAMS {
        let positions = fleet.positions(settings, stream).await?;
        for (stage, position) in STAGES.iter().zip(positions) {
            println!("  {:<14}{stage:<6}{:>14}", stream.name, layers::grouped(position.lag()));
        }
    }
    println!("\nRows");
    layers::print(&fleet.pool).await?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
