//! Records of one order that meet in several partitions at once.

use rand::RngExt as _;
use serde_json::Value;
use strata_testkit::{NewRecord, Service};

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
