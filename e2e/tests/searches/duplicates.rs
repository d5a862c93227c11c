//! Searches that come more than once.

use serde_json::{Value, json};
use strata_testkit::{Fleet, NewRecord, SearchBuilder, search};

use super::support::{any_search, assert_exact};
use crate::support::random;

#[tokio::test]
async fn searches_that_are_sent_again_with_their_event_id_count_once() {
    // GIVEN searches with an event_id of their sender and others without, all counted
    let fleet = Fleet::launch().await;
    let mut random = random();
    let named: Vec<SearchBuilder> =
        (0..200).map(|number| any_search(&mut random).event_id(format!("поиск {number}"))).collect();
    let mut bodies: Vec<Value> = named.iter().map(SearchBuilder::build).collect();
    fleet.ingest_searches(&bodies).await;
    fleet.push_searches(200).await;
    assert_eq!(assert_exact(&fleet).await.count(), 400);
    let before = fleet.metrics().await;
    // WHEN they are sent again, shuffled, twice in one body, and with cheaper offers than the first time
    bodies.extend(named.iter().rev().map(|search| search.clone().offer("Amoma", 1).build()));
    fleet.ingest_searches(&bodies).await;
    // THEN each counts once, as it came first
    assert_eq!(assert_exact(&fleet).await.count(), 400);
    assert_eq!(fleet.metrics().await, before);
    // WHEN all records before a layer are sent again as they are
    for topic in [fleet.metrics_topic(), fleet.processed_topic(), fleet.raw_topic()] {
        let records = fleet.kafka().read_all(&topic).await;
        let again: Vec<NewRecord> = records.iter().map(NewRecord::from).collect();
        fleet.kafka().produce(&topic, &again).await;
        // THEN every layer still equals the model
        assert_eq!(assert_exact(&fleet).await.count(), 400);
        assert_eq!(fleet.metrics().await, before, "{topic}");
    }
}

#[tokio::test]
async fn searches_without_an_event_id_are_searches_of_their_own() {
    // GIVEN records that were written to the topic by hand: one with its event_id in the body, one without
    let fleet = Fleet::launch().await;
    let plain = search(1, "6032").offer("Amoma", 7474).build().to_string();
    let named = search(2, " 6032 ").offer("Amoma", 8000).event_id("a-1").build().to_string();
    // WHEN each is written three times, in any partition
    for partition in [0, 3, 3] {
        let records = [&plain, &named].map(|body| NewRecord::of(body.as_str()).partition(partition));
        fleet.kafka().produce(&fleet.raw_topic(), &records).await;
    }
    // THEN the first counts three times and the second once
    let model = assert_exact(&fleet).await;
    assert_eq!(model.count(), 4);
    let metrics = fleet.metrics().await;
    assert_eq!(json!(metrics.hotels), json!({"6032": 4}));
    assert_eq!(json!(metrics.prices), json!({"6032": {"Amoma": 7474}}));
    let mut times: Vec<u64> = metrics.users.into_values().collect();
    times.sort_unstable();
    assert_eq!(times, [1, 3]);
}
