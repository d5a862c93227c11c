//! Records that Kafka deleted before they were read.

use std::time::Duration;

use serde_json::Value;
use sqlx::AssertSqlSafe;
use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, Model, Service, assert_no_dead_letters, assert_warehouse_equals, eventually};

use crate::support::{SOON, launch, simple_order};

/// Deletes unread records of one partition; returns it with the first offset lost and the first left.
async fn trim_unread(fleet: &Fleet) -> (i32, i64, i64) {
    let topic = fleet.stg_topic();
    let stored = fleet.offsets(Service::Stg, &topic).await;
    let marks = fleet.kafka().watermarks(&topic).await;
    let unread = marks.iter().map(|(partition, (_, high))| (*partition, stored[partition], *high));
    let (partition, next, high) = unread.max_by_key(|(_, next, high)| high - next).expect("a partition");
    assert!(high - next >= 2, "too few unread records");
    fleet.kafka().delete_records(&topic, partition, high - 1).await;
    (partition, next, high - 1)
}

#[tokio::test]
async fn lost_records_are_reported_with_the_way_out() {
    // GIVEN records that Kafka deleted while stg was stopped
    let fleet = launch(&[]).await;
    let orders = |numbers: std::ops::Range<i64>| -> Vec<Value> {
        numbers.map(|number| simple_order(number, "CLOSED")).collect()
    };
    fleet.ingest(&orders(0..60)).await;
    fleet.at_rest(SOON).await;
    fleet.terminate(Service::Stg).await;
    fleet.ingest(&orders(60..160)).await;
    let mut records = fleet.kafka().read_all(&fleet.stg_topic()).await;
    let (partition, lost, left) = trim_unread(&fleet).await;
    // WHEN stg starts
    fleet.start(Service::Stg);
    // THEN it is unhealthy and says why and what to do
    let worker = eventually(Duration::from_secs(20), "stg that reports data loss", async || {
        let answer = fleet.get_if_up(Service::Stg, "/health").await.ok_or("stg is not up")?;
        let worker = answer.body["worker"].as_str().unwrap_or_default().to_owned();
        let loud = answer.status == 503 && worker.contains("data loss");
        holds(loud, || format!("{} {}", answer.status, answer.body)).map(|()| worker)
    })
    .await;
    // WHEN the statement that it names is run
    let (_, statement) = worker.split_once("accept the loss with: ").expect("a way out");
    assert!(statement.starts_with("update ops.consumer_offsets set next_offset = "), "{statement}");
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(fleet.pool()).await.expect("the statement runs");
    // THEN the stage goes on behind the loss
    fleet.wait_healthy(Service::Stg).await;
    fleet.at_rest(SOON).await;
    records.retain(|record| record.partition != partition || !(lost..left).contains(&record.offset));
    let (mut model, reference) = (Model::default(), fleet.reference().await);
    records.iter().for_each(|record| model.accept(record, &reference));
    assert_warehouse_equals(fleet.pool(), &model).await;
    assert_no_dead_letters(fleet.pool()).await;
}
