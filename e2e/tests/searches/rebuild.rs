//! Metrics that are gone.

use std::time::Duration;

use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, Service, eventually};

use super::support::{any_search, assert_exact};
use crate::support::{SOON, launch, random};

/// Sends searches in ten turns.
async fn load(fleet: &Fleet, searches: usize) {
    for _ in 0..10 {
        fleet.push_searches(searches / 10).await;
    }
}

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
    tokio::join!(load(&fleet, 1000), losses);
    // THEN they come back exactly
    assert_exact(&fleet).await;
    fleet.empty_metrics().await;
    assert_eq!(assert_exact(&fleet).await.count(), 1300);
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
    let early = async { load(&fleet, 300).await };
    // THEN cdm counts nothing on top, is unhealthy, and names the command
    let unhealthy = eventually(Duration::from_secs(20), "cdm that asks for a rebuild", async || {
        let health = fleet.get(Service::Cdm, "/health").await;
        let told = health.status == 503 && health.body.to_string().contains("strata rebuild metrics");
        holds(told, || format!("{} {}", health.status, health.body))
    });
    tokio::join!(early, unhealthy);
    assert!(fleet.metrics().await.users.is_empty());
    // WHEN the command is run under load
    let rebuild = async {
        let output = fleet.strata(&["rebuild", "metrics"]).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {text}", output.status);
    };
    tokio::join!(load(&fleet, 500), rebuild);
    // THEN cdm is well again and every layer equals the model
    fleet.wait_healthy(Service::Cdm).await;
    assert_eq!(assert_exact(&fleet).await.count(), 1800);
    // WHEN it is run once more, though nothing is missing
    tokio::join!(load(&fleet, 200), rebuild_again(&fleet));
    // THEN nothing changes but what was added
    assert_eq!(assert_exact(&fleet).await.count(), 2000);
}

/// Runs the rebuild twice in a row.
async fn rebuild_again(fleet: &Fleet) {
    for _ in 0..2 {
        let output = fleet.strata(&["rebuild", "metrics"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
