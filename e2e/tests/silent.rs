//! Consumers that bring nothing any more, without a word: the process ends, and its supervisor starts another one.

use std::time::Duration;

use serde_json::json;
use strata_streams::STREAMS;
use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, NewRecord, Service, eventually};

use crate::searches::support::assert_exact as assert_searches_exact;
use crate::support::{SOON, assert_exact, launch, simple_order};

/// Quiet for a while, suspected for a while.
const NOTICED_WITHIN: Duration = Duration::from_secs(90);

/// Some events of both streams, in about a quarter of a second: this lasts, and other tests want the processors.
async fn trickle(fleet: &Fleet) {
    for stream in STREAMS {
        let body = json!({"N": 10, "stream": stream.spec.name, "rate": 80});
        fleet.post(Service::DataSource, "/push", &body).await.ok();
    }
}

/// Waits, under load, until dds has ended and was started again, for this reason.
async fn started_again(fleet: &Fleet, reason: &str) {
    eventually(NOTICED_WITHIN, "dds that asks to be started again", async || {
        trickle(fleet).await;
        holds(fleet.restarts(Service::Dds) > 0, || "it runs".to_owned())
    })
    .await;
    let logs = fleet.logs();
    assert!(logs.contains(reason), "{logs}");
    assert_eq!(fleet.restarts(Service::Dds), 1);
}

#[tokio::test]
async fn a_partition_that_falls_silent_is_told_and_ends_the_process() {
    // GIVEN a stage whose consumer stops bringing the records of a partition
    let fleet = launch(&[]).await;
    fleet.push(100).await;
    assert_exact(&fleet).await;
    fleet.kill(Service::Dds);
    fleet.start_failing(Service::Dds, "silent_partition:error:10");
    fleet.wait_healthy(Service::Dds).await;
    // WHEN events arrive in all of them: whichever loop comes by first has lost its partition
    let told = eventually(NOTICED_WITHIN, "dds that tells of a silent partition", async || {
        trickle(&fleet).await;
        let health = fleet.get(Service::Dds, "/health").await;
        let told =
            health.status == 503 && health.body.to_string().contains("brings nothing, though kafka holds");
        holds(told, || format!("{} {}", health.status, health.body))
    });
    told.await;
    // THEN /health says so, the process ends, and after it every layer equals the model
    started_again(&fleet, "though another client reads").await;
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
}

#[tokio::test]
async fn a_consumer_that_the_group_forgot_ends_the_process() {
    // GIVEN a stage whose consumer is out of its group and does not come back by itself
    let fleet = launch(&[]).await;
    fleet.kill(Service::Dds);
    fleet.start_failing(Service::Dds, "forgotten_consumer:error:10");
    fleet.wait_healthy(Service::Dds).await;
    // WHEN events arrive THEN the process ends
    started_again(&fleet, "kafka answers a new client, but gives ours no partitions").await;
    // AND after it every layer equals the model
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
}

#[tokio::test]
async fn a_producer_that_gets_no_acknowledgements_ends_the_process_and_loses_nothing() {
    // GIVEN a stage whose producer hears of no acknowledgement any more
    let fleet = launch(&[]).await;
    fleet.kill(Service::Dds);
    fleet.start_failing(Service::Dds, "deaf_producer:error:3");
    fleet.wait_healthy(Service::Dds).await;
    // WHEN orders count THEN the process ends
    started_again(&fleet, "kafka answers a new client, but acknowledges nothing of our producer").await;
    // AND what it sent and keeps is sent again, with the effect of once
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
}

#[tokio::test]
async fn a_producer_that_is_told_nothing_ends_the_process_and_loses_nothing() {
    // GIVEN a stage whose producer learns nothing from Kafka, while its consumer reads
    let fleet = launch(&[]).await;
    fleet.kill(Service::Dds);
    fleet.start_failing(Service::Dds, "untold_partitions:error:1");
    fleet.wait_healthy(Service::Dds).await;
    // WHEN events arrive THEN the process ends
    started_again(&fleet, "kafka answers a new client, but gives ours only errors of").await;
    // AND everything is done by the next
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
}

#[tokio::test]
async fn holes_that_kafka_itself_has_end_nothing() {
    // GIVEN a stage that is at rest, and in each partition of its topic the remains of a transaction
    let fleet = launch(&[]).await;
    fleet.push(100).await;
    assert_exact(&fleet).await;
    fleet.terminate(Service::Dds).await;
    let garbage: Vec<NewRecord> =
        (0..6).map(|partition| NewRecord::of("undone").partition(partition)).collect();
    fleet.kafka().produce_and_abort(&fleet.dds_topic(), &garbage).await;
    // WHEN it starts and finds nothing up to the end THEN it looks twice, and stays
    fleet.start(Service::Dds);
    eventually(NOTICED_WITHIN, "dds that believes kafka", async || {
        let holes = fleet.logs().matches("kafka itself has a hole here").count();
        holds(holes >= 6, || format!("{holes} holes"))
    })
    .await;
    // AND when it starts where the first record lies behind such a hole
    fleet.terminate(Service::Dds).await;
    fleet.ingest(&(0..60).map(|number| simple_order(number, "CLOSED")).collect::<Vec<_>>()).await;
    fleet.stage_at_rest(Service::Stg, &fleet.stg_topic(), SOON).await;
    fleet.start(Service::Dds);
    assert_exact(&fleet).await;
    assert_eq!(fleet.restarts(Service::Dds), 0);
}
