//! Metrics that are gone.

use std::time::Duration;

use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, Service, eventually};

use super::support::{any_search, assert_exact, under_load};
use crate::support::{SOON, launch, random};

#[tokio::test]
async fn metrics_that_are_gone_come_back_by_themselves_from_kafka() {
    // GIVEN a fleet under load
    let fleet = launch(&[("BATCH_MAX_ROWS", "100")]).await;
    let mut random = random();
    let bodies: Vec<_> = (0..300).map(|_| any_search(&mut random).build()).collect();
    fleet.ingest_searches(&bodies).await;
    // WHEN the metrics are deleted while it runs, and once more at rest
    let losses = async {
        for goal in [200, 600] {
            fleet.metrics_reached(goal, SOON).await;
            fleet.empty_metrics().await;
        }
    };
    under_load(&fleet, losses).await;
    // THEN they come back exactly
    let model = assert_exact(&fleet).await;
    fleet.empty_metrics().await;
    assert_eq!(assert_exact(&fleet).await.count(), model.count());
}

/// Deletes all that Kafka holds of the metrics' topic.
async fn trim(fleet: &Fleet) {
    let topic = fleet.metrics_topic();
    for (partition, (low, high)) in fleet.kafka().watermarks(&topic).await {
        if low < high {
            fleet.kafka().delete_records(&topic, partition, high).await;
        }
    }
}

#[tokio::test]
async fn metrics_that_neither_redis_nor_kafka_holds_are_rebuilt_from_the_vault() {
    // GIVEN metrics that are gone, and a topic that no longer holds them all
    let fleet = launch(&[("BATCH_MAX_ROWS", "100")]).await;
    let mut random = random();
    let bodies: Vec<_> = (0..500).map(|_| any_search(&mut random).build()).collect();
    fleet.ingest_searches(&bodies).await;
    fleet.push_searches(500).await;
    assert_exact(&fleet).await;
    trim(&fleet).await;
    // WHEN searches go on
    fleet.empty_metrics().await;
    // THEN cdm counts nothing on top, is unhealthy, and names the command
    let unhealthy = eventually(Duration::from_secs(20), "cdm that asks for a rebuild", async || {
        let health = fleet.get(Service::Cdm, "/health").await;
        let told = health.status == 503 && health.body.to_string().contains("strata rebuild metrics");
        holds(told, || format!("{} {}", health.status, health.body))
    });
    under_load(&fleet, unhealthy).await;
    assert!(fleet.metrics().await.users.is_empty());
    // WHEN the command is run under load
    under_load(&fleet, rebuild(&fleet)).await;
    // THEN cdm is well again and every layer equals the model
    fleet.wait_healthy(Service::Cdm).await;
    assert!(assert_exact(&fleet).await.count() > 1000);
    // WHEN it is run again and again, though nothing is missing
    let thrice = async {
        for _ in 0..3 {
            rebuild(&fleet).await;
        }
    };
    under_load(&fleet, thrice).await;
    // THEN every layer still equals the model
    assert_exact(&fleet).await;
}

/// Runs the command as an operator would.
async fn rebuild(fleet: &Fleet) {
    fleet.strata_ok(&["rebuild", "metrics"]).await;
}

#[tokio::test]
async fn metrics_that_were_tampered_with_are_rebuilt_under_load() {
    // GIVEN metrics that say something else than the vault
    let fleet = launch(&[("BATCH_MAX_ROWS", "100")]).await;
    fleet.push_searches(500).await;
    assert_exact(&fleet).await;
    let hotel = fleet.metrics().await.hotels.keys().next().cloned().expect("a hotel");
    for (key, command) in [
        ("hotels", &["ZINCRBY", "7", &hotel][..]),
        ("users", &["ZADD", "3", "nobody"]),
        ("advertisers", &["ZPOPMAX", "2"]),
        (&format!("offers:{hotel}"), &["HSET", "Amoma", "1"]),
    ] {
        fleet.spoil_metrics(key, command).await;
    }
    let damaged = fleet.metrics().await;
    // WHEN a rebuild is killed before it puts its sums in place
    let window = "rebuild_before_swap";
    let output = fleet.strata_failing(&["rebuild", "metrics"], &format!("{window}:kill")).await;
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains(window));
    // THEN nothing has changed
    assert_eq!(fleet.metrics().await, damaged);
    // WHEN it is run under load
    under_load(&fleet, rebuild(&fleet)).await;
    // THEN every layer equals the model
    assert_exact(&fleet).await;
}
