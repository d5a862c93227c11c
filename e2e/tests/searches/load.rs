//! Searches in bulk, and stages that crash, join and leave meanwhile.

use strata_testkit::{Fleet, Service};

use super::support::{any_search, assert_exact, under_load};
use crate::support::{SOON, launch, load, random, versions};

#[tokio::test]
async fn every_layer_equals_the_model_after_five_thousand_generated_searches() {
    // GIVEN a fleet
    let fleet = Fleet::launch().await;
    // WHEN searches are generated
    fleet.push_searches(5000).await;
    // THEN every layer equals the model of what lies in the raw topic
    let model = assert_exact(&fleet).await;
    assert_eq!(model.count(), 5000);
    assert!(model.users().len() > 1000, "{} users", model.users().len());
    assert!(model.facts().any(|(_, fact)| fact.min_offer.is_none()));
}

#[tokio::test]
async fn orders_and_searches_pass_side_by_side() {
    // GIVEN a fleet
    let fleet = launch(&[("BATCH_MAX_ROWS", "50")]).await;
    // WHEN both streams arrive at once
    let orders = versions(&mut random(), 40, 4);
    let searches = async {
        for _ in 0..10 {
            fleet.push_searches(60).await;
        }
    };
    tokio::join!(load(&fleet, 600, &orders), searches);
    // THEN every layer of both equals its model
    assert_exact(&fleet).await;
    crate::support::assert_exact(&fleet).await;
}

/// A second instance of a stage joins, the first crashes, comes back, and the second leaves.
async fn come_and_go(fleet: &Fleet, service: Service, topic: &str) {
    fleet.second(service);
    fleet.members_of(service, topic, 2, SOON).await;
    fleet.kill(service);
    fleet.start(service);
    fleet.members_of(service, topic, 2, SOON).await;
    let stopped = fleet.terminate_second(service).await;
    assert!(stopped.status.success(), "{service:?} ended with {}", stopped.status);
    fleet.second(service);
    fleet.members_of(service, topic, 2, SOON).await;
    fleet.kill_second(service);
}

#[tokio::test]
async fn no_search_is_lost_or_counted_twice_when_instances_come_and_go() {
    // GIVEN a fleet under load, in batches small enough that a crash hits one
    let fleet = launch(&[("BATCH_MAX_ROWS", "20")]).await;
    let mut random = random();
    let (raw, processed) = (fleet.raw_topic(), fleet.processed_topic());
    // WHEN second instances of stg and dds join and leave, and the first ones crash
    let changes = async {
        tokio::join!(come_and_go(&fleet, Service::Stg, &raw), come_and_go(&fleet, Service::Dds, &processed));
    };
    let bodies: Vec<_> = (0..400).map(|_| any_search(&mut random).build()).collect();
    tokio::join!(under_load(&fleet, changes), fleet.ingest_searches(&bodies));
    fleet.push_searches(100).await;
    // THEN every layer equals the model
    assert_exact(&fleet).await;
}
