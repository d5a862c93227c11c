//! The live metrics as cdm serves them: the most searched hotels and their cheapest offers.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;
use strata_service::Settings;

use crate::layers::grouped;
use crate::services::{CDM, with_key};

/// Hotels in the table.
const HOTELS: usize = 5;

#[derive(Deserialize)]
struct Frequencies {
    count: i64,
    data: BTreeMap<String, i64>,
}

/// Prints how many were seen, and the top of them.
pub async fn print(settings: &Settings) -> anyhow::Result<()> {
    let base = CDM.url()?;
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let url = format!("{base}{path}?limit={HOTELS}");
        let answer = with_key(client.get(&url), settings).send().await;
        let answer = answer.with_context(|| format!("cdm does not answer at {url}"))?;
        anyhow::Ok(answer.error_for_status()?)
    };
    let users: Frequencies = get("/users").await?.json().await?;
    let hotels: Frequencies = get("/hotels").await?.json().await?;
    let advertisers: Frequencies = get("/advertisers").await?.json().await?;
    let offers: BTreeMap<String, BTreeMap<String, i64>> =
        get("/hotel_min_offer_per_advertiser").await?.json().await?;
    println!(
        "\nSeen in searches: {} users, {} hotels, {} advertisers",
        grouped(users.count),
        grouped(hotels.count),
        grouped(advertisers.count)
    );
    println!("\n  {:<14}{:>10}  cheapest offer", "top hotels", "searches");
    let mut top: Vec<_> = hotels.data.iter().collect();
    top.sort_by_key(|(name, times)| (std::cmp::Reverse(**times), (*name).clone()));
    for (hotel, times) in top {
        let cheapest = offers.get(hotel).and_then(|by| by.iter().min_by_key(|(_, cents)| **cents));
        let cheapest = cheapest.map_or_else(
            || "none".to_owned(),
            |(advertiser, cents)| format!("{advertiser}, {}.{:02} €", cents / 100, cents % 100),
        );
        println!("  {hotel:<14}{:>10}  {cheapest}", grouped(*times));
    }
    Ok(())
}
