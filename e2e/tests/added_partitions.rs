//! Partitions that are added to a topic: an output that was committed goes to the one that was chosen for it.

use rand::RngExt as _;
use sqlx::PgPool;
use strata_pipeline::pending;
use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, Service, eventually};

use crate::searches::support::{any_search, assert_exact as assert_searches_exact};
use crate::support::{SOON, assert_exact, launch, load, random, versions};
use crate::windows::assert_died_in;

/// Partitions of a topic at first.
const PARTITIONS: usize = 6;

/// Windows between a commit and the moment when its outputs are forgotten.
const WINDOWS: [&str; 3] = ["after_commit", "after_send", "after_ack"];

/// Gives the topics of cdm one partition more.
async fn add_partitions(fleet: &Fleet, known: &mut usize) {
    *known += 1;
    for topic in [fleet.cdm_topic(), fleet.metrics_topic()] {
        fleet.kafka().add_partitions(&topic, *known).await;
    }
}

#[tokio::test]
async fn partitions_that_are_added_while_outputs_wait_count_nothing_twice() {
    // GIVEN a fleet whose batches are small
    let fleet = launch(&[("BATCH_MAX_ROWS", "15")]).await;
    let (mut random, mut partitions) = (random(), PARTITIONS);
    let orders = versions(&mut random, 120, 5);
    fleet.terminate(Service::Dds).await;
    for (window, orders) in WINDOWS.into_iter().zip(orders.chunks(orders.len().div_ceil(WINDOWS.len()))) {
        for stream in ["order", "hotel_search"] {
            // WHEN dds dies with the outputs of a batch kept, whether Kafka holds them or not
            if stream == "order" {
                fleet.ingest(orders).await;
            } else {
                let searches: Vec<_> = (0..100).map(|_| any_search(&mut random).build()).collect();
                fleet.ingest_searches(&searches).await;
            }
            fleet.start_failing(Service::Dds, &format!("{window}:kill:3"));
            assert_died_in(&fleet, Service::Dds, window).await;
            // AND what reads them gets partitions, so that keys go elsewhere
            add_partitions(&fleet, &mut partitions).await;
        }
    }
    fleet.start(Service::Dds);
    // THEN every layer equals the model
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
}

#[tokio::test]
async fn partitions_that_are_added_under_load_while_stages_are_killed_count_nothing_twice() {
    // GIVEN a fleet under load of both streams
    let fleet = launch(&[("BATCH_MAX_ROWS", "50")]).await;
    let mut random = random();
    let orders = versions(&mut random, 100, 5);
    let mut partitions = PARTITIONS;
    let loads = async {
        tokio::join!(load(&fleet, 2000, &orders), async {
            for _ in 0..10 {
                fleet.push_searches(200).await;
            }
        });
    };
    // WHEN partitions are added again and again, and the stage that writes to them is killed
    let changes = async {
        let mut records = 0;
        for _ in 0..4 {
            records += random.random_range(200..500);
            fleet.reached(Service::Dds, records, SOON).await;
            add_partitions(&fleet, &mut partitions).await;
            fleet.kill(Service::Dds);
            fleet.start(Service::Dds);
            fleet.wait_healthy(Service::Dds).await;
        }
    };
    tokio::join!(loads, changes);
    // THEN every layer equals the model
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
}

/// Packs outputs as it was done before packs had a version and outputs a partition.
fn pack_as_before(pack: &[u8]) -> Vec<u8> {
    let outputs = pending::unpack(pack).expect("a pack").into_iter();
    let plain: Vec<_> = outputs
        .map(|output| (output.topic, output.key, output.payload, output.timestamp_ms, output.headers))
        .collect();
    lz4_flex::compress_prepend_size(&postcard::to_allocvec(&plain).expect("outputs"))
}

/// Rewrites kept outputs; returns how many partitions have any.
async fn rewrite_kept(pool: &PgPool, rewrite: impl Fn(&[u8]) -> Vec<u8>) -> usize {
    let kept = "select stage, topic, partition, outputs from ops.pending_outputs";
    let kept: Vec<(String, String, i32, Vec<u8>)> =
        sqlx::query_as(kept).fetch_all(pool).await.expect("the kept outputs");
    for (stage, topic, partition, pack) in &kept {
        let update =
            "update ops.pending_outputs set outputs = $4 where stage = $1 and topic = $2 and partition = $3";
        let update = sqlx::query(update).bind(stage).bind(topic).bind(partition).bind(rewrite(pack));
        update.execute(pool).await.expect("the pack is replaced");
    }
    kept.len()
}

/// A fleet whose dds was killed with outputs committed and not sent.
async fn with_kept_outputs() -> Fleet {
    let fleet = launch(&[("BATCH_MAX_ROWS", "15")]).await;
    fleet.terminate(Service::Dds).await;
    fleet.ingest(&versions(&mut random(), 40, 5)).await;
    fleet.stage_at_rest(Service::Stg, &fleet.stg_topic(), SOON).await;
    fleet.start_failing(Service::Dds, "after_commit:kill:3");
    assert_died_in(&fleet, Service::Dds, "after_commit").await;
    fleet
}

/// Waits until `/health` of dds is 503 and says this.
async fn told(fleet: &Fleet, said: &str) {
    eventually(SOON, &format!("dds that says {said}"), async || {
        let health = fleet.get_if_up(Service::Dds, "/health").await.ok_or("it is not up")?;
        let told = health.status == 503 && health.body.to_string().contains(said);
        holds(told, || format!("{} {}", health.status, health.body))
    })
    .await;
}

#[tokio::test]
async fn outputs_that_an_older_version_kept_are_sent() {
    // GIVEN outputs that were kept before their form had a version
    let fleet = with_kept_outputs().await;
    assert_ne!(rewrite_kept(fleet.pool(), pack_as_before).await, 0);
    // WHEN the stage starts
    fleet.start(Service::Dds);
    // THEN they are sent, and every layer equals the model
    assert_exact(&fleet).await;
}

#[tokio::test]
async fn outputs_of_a_newer_version_stop_the_stage_until_it_runs() {
    // GIVEN outputs of a form that this version does not know
    let fleet = with_kept_outputs().await;
    let version = |number: u8| move |pack: &[u8]| [&pack[..4], &[number], &pack[5..]].concat();
    assert_ne!(rewrite_kept(fleet.pool(), version(9)).await, 0);
    // WHEN the stage starts THEN it says what to run
    fleet.start(Service::Dds);
    told(&fleet, "outputs are kept in form 9, this version knows 1: run the version that kept them").await;
    // AND goes on when they can be read
    rewrite_kept(fleet.pool(), version(1)).await;
    assert_exact(&fleet).await;
}

#[tokio::test]
async fn a_partition_that_is_gone_is_named_and_the_stage_goes_on_when_it_is_there() {
    // GIVEN outputs that were kept for partitions that the topic does not have any more
    let fleet = with_kept_outputs().await;
    fleet.terminate(Service::Cdm).await;
    fleet.kafka().recreate(&fleet.cdm_topic(), 1).await;
    // WHEN the stage starts THEN it says which
    fleet.start(Service::Dds);
    told(&fleet, &format!("of {}, to which outputs were committed", fleet.cdm_topic())).await;
    // AND goes on when there are as many as it asks for
    fleet.kafka().add_partitions(&fleet.cdm_topic(), PARTITIONS).await;
    fleet.wait_healthy(Service::Dds).await;
    fleet.stage_at_rest(Service::Dds, &fleet.dds_topic(), SOON).await;
    fleet.start(Service::Cdm);
}
