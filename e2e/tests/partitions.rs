//! Records of one order that meet in several partitions at once.

use rand::RngExt as _;
use serde_json::Value;
use strata_testkit::{NewRecord, Service, assert_no_dead_letters, assert_warehouse_equals};

use crate::support::{SOON, assert_exact, launch, random, versions};

/// Partitions of a topic.
const PARTITIONS: i32 = 6;

fn body(message: &Value) -> Vec<u8> {
    message.to_string().into_bytes()
}

#[tokio::test]
async fn an_order_without_a_key_counts_once() {
    // GIVEN two instances of stg and dds
    let fleet = launch(&[("BATCH_MAX_ROWS", "20")]).await;
    for service in [Service::Stg, Service::Dds] {
        fleet.second(service);
        fleet.members(service, 2, SOON).await;
    }
    // WHEN versions of the same orders come without a key, in any partition
    let mut random = random();
    let records: Vec<NewRecord> = versions(&mut random, 40, 12)
        .iter()
        .map(|message| NewRecord::of(body(message)).partition(random.random_range(0..PARTITIONS)))
        .collect();
    fleet.kafka().produce(&fleet.stg_topic(), &records).await;
    // THEN every layer equals the model
    assert_exact(&fleet).await;
}

#[tokio::test]
async fn an_order_that_two_instances_of_dds_hold_at_once_counts_once() {
    // GIVEN what stg made of versions of a few orders, while dds is stopped
    let fleet = launch(&[("BATCH_MAX_ROWS", "10")]).await;
    fleet.terminate(Service::Dds).await;
    fleet.ingest(&versions(&mut random(), 30, 12)).await;
    fleet.stage_at_rest(Service::Stg, &fleet.stg_topic(), SOON).await;
    // WHEN the same records lie in three further partitions each, and two instances read them
    let facts = fleet.kafka().read_all(&fleet.dds_topic()).await;
    for shift in [1, 3, 5] {
        let moved = facts.iter().map(|fact| {
            let place = (i64::from(fact.partition) + fact.offset + shift) % i64::from(PARTITIONS);
            NewRecord::from(fact).partition(i32::try_from(place).expect("a small number"))
        });
        fleet.kafka().produce(&fleet.dds_topic(), &moved.collect::<Vec<_>>()).await;
    }
    fleet.start(Service::Dds);
    fleet.second(Service::Dds);
    fleet.at_rest(SOON).await;
    // THEN every layer equals the model
    let mut model = fleet.model(&fleet.reference().await).await;
    model.assume_no_order();
    assert_warehouse_equals(fleet.pool(), &model).await;
    assert_no_dead_letters(fleet.pool()).await;
}
