//! The golden search, from the request to the metrics.

use serde_json::{Value, json};
use strata_testkit::search::golden_searches;
use strata_testkit::{Fleet, Service};

use super::support::assert_exact;

#[tokio::test]
async fn the_golden_search_becomes_the_golden_processed_search_and_its_metrics() {
    // GIVEN a fleet
    let fleet = Fleet::launch().await;
    let (raw, processed) = golden_searches();
    // WHEN the golden search is ingested
    fleet.ingest_searches(std::slice::from_ref(&raw)).await;
    assert_exact(&fleet).await;
    // THEN it lies in every topic as the contract says, by one event_id and its hotel
    let mut ids = Vec::new();
    for (topic, body) in [
        (fleet.raw_topic(), &raw),
        (fleet.processed_topic(), &processed),
        (fleet.metrics_topic(), &processed),
    ] {
        let records = fleet.kafka().read_all(&topic).await;
        let [record] = &records[..] else { panic!("{topic} holds {} records", records.len()) };
        let payload = record.payload.as_deref().unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Value>(payload).expect("JSON"), *body, "{topic}");
        assert_eq!(record.key.as_deref(), Some(&b"6033"[..]), "{topic}");
        ids.push((record.header("event_id").map(str::to_owned), record.timestamp_ms));
    }
    assert!(ids[0].0.is_some() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // AND cdm tells it with the bodies of the contract
    let user = raw["user_id"].as_str().expect("a user");
    for (path, count, data) in [
        ("/users", 1, json!({user: 1})),
        ("/hotels", 1, json!({"6033": 1})),
        ("/advertisers", 2, json!({"Amoma": 1, "Expedia": 1})),
    ] {
        let body = fleet.get(Service::Cdm, path).await.ok();
        assert_eq!(body, json!({"count": count, "limit": 100, "next_cursor": null, "data": data}), "{path}");
    }
    let prices = fleet.get(Service::Cdm, "/hotel_min_offer_per_advertiser").await;
    assert_eq!(prices.header("x-next-cursor"), None);
    assert_eq!(prices.ok(), json!({"6033": {"Expedia": 13242}}));
}
