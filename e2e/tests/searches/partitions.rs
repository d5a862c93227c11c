//! Records of one search that meet in several partitions at once.

use rand::RngExt as _;
use strata_testkit::{NewRecord, Service};

use super::support::{any_search, assert_exact};
use crate::support::{SOON, launch, random};

/// Partitions of a topic.
const PARTITIONS: i32 = 6;

#[tokio::test]
async fn a_search_that_lies_in_several_partitions_of_the_source_counts_once() {
    // GIVEN two instances of stg and dds
    let fleet = launch(&[("BATCH_MAX_ROWS", "10")]).await;
    for (service, topic) in [(Service::Stg, fleet.raw_topic()), (Service::Dds, fleet.processed_topic())] {
        fleet.second(service);
        fleet.members_of(service, &topic, 2, SOON).await;
    }
    // WHEN each search comes three times, in any partition, without a key
    let mut random = random();
    let mut records = Vec::new();
    for number in 0..150 {
        let body = any_search(&mut random).event_id(format!("e-{number}")).build().to_string();
        for _ in 0..3 {
            records.push(NewRecord::of(body.as_str()).partition(random.random_range(0..PARTITIONS)));
        }
    }
    fleet.kafka().produce(&fleet.raw_topic(), &records).await;
    // THEN every layer equals the model
    assert_eq!(assert_exact(&fleet).await.count(), 150);
}
