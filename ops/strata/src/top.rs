//! The live metrics as cdm serves them: the most searched hotels and their cheapest offers.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Deserialize;
use strata_observe::Api;
use strata_service::Settings;

use crate::table::{Table, grouped};

/// Hotels in the table.
const HOTELS: usize = 5;

#[derive(Deserialize)]
struct Frequencies {
    count: i64,
    data: BTreeMap<String, i64>,
}

/// Prints how many were seen, and the top of them.
pub async fn print(settings: &Settings) -> anyhow::Result<()> {
    let api = Api::new(settings);
    let seen = async |what: &str| api.cdm::<Frequencies>(&format!("/{what}?limit={HOTELS}")).await;
    let (users, hotels, advertisers) =
        (seen("users").await?, seen("hotels").await?, seen("advertisers").await?);
    let offers = format!("/hotel_min_offer_per_advertiser?limit={HOTELS}");
    let offers: BTreeMap<String, BTreeMap<String, i64>> = api.cdm(&offers).await?;
    let [users, seen, advertisers] = [users.count, hotels.count, advertisers.count].map(grouped);
    println!("\nSeen in searches: {users} users, {seen} hotels, {advertisers} advertisers\n");
    let mut top: Vec<_> = hotels.data.into_iter().collect();
    top.sort_by_key(|(_, times)| Reverse(*times));
    let rows = top.into_iter().map(|(hotel, times)| {
        let cheapest = offers.get(&hotel).and_then(|by| by.iter().min_by_key(|(_, cents)| **cents));
        let cheapest =
            cheapest.map(|(advertiser, cents)| format!("{advertiser}, {}.{:02} €", cents / 100, cents % 100));
        [hotel, grouped(times), cheapest.unwrap_or_else(|| "none".to_owned())]
    });
    Table::of(["top hotels", "searches", "cheapest offer"], rows).print();
    Ok(())
}
