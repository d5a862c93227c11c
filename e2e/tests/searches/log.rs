//! The site's log: what the fleet makes of it, against a short computation over the same text.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Deserializer, Value, json};
use strata_testkit::search::{Metrics, log_line};
use strata_testkit::{Fleet, Service, search};

use super::support::{any_search, assert_exact};
use crate::support::{SOON, launch, random};

/// A log of this many lines with one to four hotels each, and how many searches that is.
fn random_log(random: &mut StdRng, lines: usize) -> (String, usize) {
    let (mut log, mut count) = (String::new(), 0);
    for _ in 0..lines {
        let mut found: Vec<_> = (0..random.random_range(1..=4)).map(|_| any_search(random)).collect();
        found.sort_by_key(|search| search.build()["hotel_id"].to_string());
        found.dedup_by_key(|search| search.build()["hotel_id"].to_string());
        count += found.len();
        log.push_str(&log_line(&found));
    }
    (log, count)
}

/// The metrics of a log whose hotel ids are digits.
fn metrics_of(log: &str) -> Metrics {
    let empty = BTreeMap::new;
    let mut sums = Metrics { users: empty(), hotels: empty(), advertisers: empty(), prices: BTreeMap::new() };
    for line in log.lines() {
        let (user, found) = (&line[..36], line.split(":{\"advertisers\":").collect::<Vec<_>>());
        for pair in found.windows(2) {
            let hotel = pair[0].rsplit(|c: char| !c.is_ascii_digit()).next().expect("a hotel").to_owned();
            let offers = Deserializer::from_str(pair[1]).into_iter::<BTreeMap<String, Vec<Value>>>().next();
            let offers = offers.expect("offers").expect("offers are JSON");
            *sums.users.entry(user.to_owned()).or_default() += 1;
            *sums.hotels.entry(hotel.clone()).or_default() += 1;
            offers.keys().for_each(|name| *sums.advertisers.entry(name.clone()).or_default() += 1);
            let prices =
                offers.iter().flat_map(|(name, o)| o.iter().map(move |o| (o["eurocents"].as_i64(), name)));
            let Some((Some(price), name)) = prices.filter(|(price, _)| *price > Some(0)).min() else {
                continue;
            };
            let lowest = sums.prices.entry(hotel).or_default().entry(name.clone()).or_insert(price);
            *lowest = price.min(*lowest);
        }
    }
    sums
}

/// Sends a log whose lines are all good.
async fn ingest(fleet: &Fleet, log: &str, searches: usize) {
    let body = fleet.ingest_log(log.to_owned()).await.ok();
    assert_eq!((&body["accepted"], &body["rejected"]), (&json!(searches), &json!([])), "{body}");
}

#[tokio::test]
async fn a_log_gives_the_metrics_that_a_short_computation_gives() {
    // GIVEN a log, and a hotel in it that nobody offers
    let fleet = Fleet::launch().await;
    let (mut log, searches) = random_log(&mut random(), 400);
    log.push_str(&log_line(&[search(1, "7000").nothing_from("Expedia")]));
    // WHEN it is ingested
    ingest(&fleet, &log, searches + 1).await;
    let model = assert_exact(&fleet).await;
    // THEN the metrics are those of the text
    assert_eq!(model.count(), searches + 1);
    let metrics = fleet.metrics().await;
    assert_eq!(metrics, metrics_of(&log));
    assert!(metrics.hotels.contains_key("7000") && !metrics.prices.contains_key("7000"));
}

#[tokio::test]
async fn a_log_gives_the_same_metrics_when_cdm_is_killed_ten_times_meanwhile() {
    // GIVEN a log in ten parts, and batches small enough that a kill hits one
    let fleet = launch(&[("BATCH_MAX_ROWS", "7")]).await;
    let mut random = random();
    let parts: Vec<(String, usize)> = (0..10).map(|_| random_log(&mut random, 60)).collect();
    // WHEN cdm is killed at a random moment in each part
    let mut sent = 0;
    for (log, searches) in &parts {
        let goal = sent + random.random_range(0..*searches);
        sent += searches;
        ingest(&fleet, log, *searches).await;
        fleet.metrics_reached(i64::try_from(goal).expect("a small number"), SOON).await;
        fleet.kill(Service::Cdm);
        fleet.start(Service::Cdm);
    }
    // THEN the metrics are those of the text
    fleet.wait_healthy(Service::Cdm).await;
    assert_exact(&fleet).await;
    let log: String = parts.into_iter().map(|(log, _)| log).collect();
    assert_eq!(fleet.metrics().await, metrics_of(&log));
}
