//! Records that Kafka deleted before they were read.

use serde_json::Value;
use strata_testkit::eventually::holds;
use strata_testkit::{
    Fleet, Model, NewRecord, Service, assert_no_dead_letters, assert_warehouse_equals, eventually,
};

use crate::searches::support::assert_exact as assert_searches_exact;
use crate::support::{SOON, launch, reference, simple_order};

/// Partitions of a topic.
const PARTITIONS: i32 = 6;

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

/// Waits until a stage reports data loss, and tells what it says.
async fn data_loss(fleet: &Fleet, service: Service) -> String {
    eventually(SOON, &format!("{service:?} that reports data loss"), async || {
        let answer = fleet.get_if_up(service, "/health").await.ok_or("it is not up")?;
        let worker = answer.body["worker"].as_str().unwrap_or_default().to_owned();
        let loud = answer.status == 503 && worker.contains("data loss");
        holds(loud, || format!("{} {}", answer.status, answer.body)).map(|()| worker)
    })
    .await
}

/// Follows the way out that a stage named.
async fn accept_loss(fleet: &Fleet, worker: &str) {
    let (_, way_out) = worker.split_once("accept the loss with: ").expect("a way out");
    // Behind it stands what the other loop waits for.
    let statements = way_out.split(" | ").next().unwrap_or_default();
    assert!(statements.contains(" ops.consumer_offsets "), "{statements}");
    let run = sqlx::raw_sql(statements).execute(fleet.pool()).await;
    run.unwrap_or_else(|e| panic!("{e}: {statements}"));
}

/// Dead letters with this body.
async fn dead_letters(fleet: &Fleet, body: &str) -> i64 {
    sqlx::query_scalar("select count(*) from ops.dead_letters where payload = $1")
        .bind(body.as_bytes())
        .fetch_one(fleet.pool())
        .await
        .expect("the dead letters")
}

/// A bad record in each partition.
fn in_each_partition(body: &str) -> Vec<NewRecord> {
    (0..PARTITIONS).map(|partition| NewRecord::of(body).partition(partition)).collect()
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
    let worker = data_loss(&fleet, Service::Stg).await;
    assert_eq!(worker.matches("deleted before it was read").count(), 1, "{worker}");
    // WHEN the statement that it names is run
    accept_loss(&fleet, &worker).await;
    // THEN the stage goes on behind the loss
    fleet.wait_healthy(Service::Stg).await;
    fleet.at_rest(SOON).await;
    records.retain(|record| record.partition != partition || !(lost..left).contains(&record.offset));
    let (mut model, reference) = (Model::default(), fleet.reference().await);
    records.iter().for_each(|record| model.accept(record, &reference));
    assert_warehouse_equals(fleet.pool(), &model).await;
    assert_no_dead_letters(fleet.pool()).await;
}

#[tokio::test]
async fn records_that_were_deleted_before_a_partition_was_ever_read_are_reported_with_the_way_out() {
    // GIVEN a topic that no stage has read yet, and a partition of it that begins behind its first record
    let fleet = Fleet::prepare(&[]).await;
    fleet.start(Service::DataSource);
    fleet.wait_healthy(Service::DataSource).await;
    fleet.put_reference(&reference()).await;
    fleet.ingest(&(0..60).map(|number| simple_order(number, "CLOSED")).collect::<Vec<_>>()).await;
    let mut records = fleet.kafka().read_all(&fleet.stg_topic()).await;
    let marks = fleet.kafka().watermarks(&fleet.stg_topic()).await;
    let (&partition, &(_, high)) = marks.iter().max_by_key(|(_, (_, high))| *high).expect("a partition");
    assert!(high >= 2, "{marks:?}");
    fleet.kafka().delete_records(&fleet.stg_topic(), partition, high - 1).await;
    // WHEN the stages start
    for service in Service::STAGES {
        fleet.start(service);
    }
    // THEN stg says what is lost and what to do, and has read nothing
    let worker = data_loss(&fleet, Service::Stg).await;
    let lost = format!("offset 0 of {}/{partition} (deleted before it was read)", fleet.stg_topic());
    assert!(worker.contains(&lost), "{worker}");
    assert!(fleet.offsets(Service::Stg, &fleet.stg_topic()).await.is_empty());
    // WHEN the statement that it names is run
    accept_loss(&fleet, &worker).await;
    // THEN it goes on behind the loss
    fleet.wait_healthy(Service::Stg).await;
    fleet.at_rest(SOON).await;
    records.retain(|record| record.partition != partition || record.offset == high - 1);
    let (mut model, reference) = (Model::default(), fleet.reference().await);
    records.iter().for_each(|record| model.accept(record, &reference));
    assert_warehouse_equals(fleet.pool(), &model).await;
    assert_no_dead_letters(fleet.pool()).await;
}

#[tokio::test]
async fn searches_that_were_deleted_before_the_metrics_ever_read_them_are_reported() {
    // GIVEN searches that nobody has counted yet, some of which Kafka has deleted
    let fleet = launch(&[]).await;
    fleet.terminate(Service::Cdm).await;
    fleet.empty_metrics().await;
    fleet.push_searches(60).await;
    fleet.stage_at_rest(Service::Stg, &fleet.raw_topic(), SOON).await;
    fleet.stage_at_rest(Service::Dds, &fleet.processed_topic(), SOON).await;
    let marks = fleet.kafka().watermarks(&fleet.metrics_topic()).await;
    let (&partition, _) = marks.iter().max_by_key(|(_, (_, high))| *high).expect("a partition");
    fleet.kafka().delete_records(&fleet.metrics_topic(), partition, 1).await;
    // WHEN the stage that counts them starts THEN it says what is lost, and how to count them all the same
    fleet.start(Service::Cdm);
    let worker = data_loss(&fleet, Service::Cdm).await;
    assert!(worker.contains("run strata rebuild metrics"), "{worker}");
    fleet.strata_ok(&["rebuild", "metrics"]).await;
    assert_searches_exact(&fleet).await;
}

/// The topic of a stage is deleted and recreated while the stage is stopped.
async fn recreate_input_of(service: Service) {
    // GIVEN a stage that has read its topic, which then starts over
    let fleet = launch(&[]).await;
    let topic = fleet.input_of(service);
    let orders = |numbers: std::ops::Range<i64>| -> Vec<Value> {
        numbers.map(|number| simple_order(number, "CLOSED")).collect()
    };
    fleet.ingest(&orders(0..60)).await;
    fleet.kafka().produce(&topic, &in_each_partition("old garbage")).await;
    fleet.at_rest(SOON).await;
    let mut records = fleet.kafka().read_all(&fleet.stg_topic()).await;
    fleet.terminate(service).await;
    fleet.kafka().recreate(&topic, PARTITIONS).await;
    // WHEN the stage starts
    fleet.start(service);
    // THEN it is unhealthy and names every partition
    let worker = data_loss(&fleet, service).await;
    assert_eq!(worker.matches("the topic was recreated").count(), 6, "{worker}");
    // WHEN the statements that it names are run
    accept_loss(&fleet, &worker).await;
    // THEN the stage goes on, and takes no record of the new topic for one of the old
    fleet.wait_healthy(service).await;
    fleet.kafka().produce(&topic, &in_each_partition("new garbage")).await;
    fleet.ingest(&orders(60..120)).await;
    fleet.at_rest(SOON).await;
    if service == Service::Stg {
        records.extend(fleet.kafka().read_all(&topic).await);
    } else {
        records = fleet.kafka().read_all(&fleet.stg_topic()).await;
    }
    records.retain(|record| record.key.is_some());
    let (mut model, reference) = (Model::default(), fleet.reference().await);
    records.iter().for_each(|record| model.accept(record, &reference));
    // Offsets started over, so they do not order the records of before and after.
    model.assume_no_order();
    assert_eq!(model.order_count(), 120);
    assert_warehouse_equals(fleet.pool(), &model).await;
    assert_eq!(dead_letters(&fleet, "old garbage").await, 6);
    assert_eq!(dead_letters(&fleet, "new garbage").await, 6);
}

#[tokio::test]
async fn a_recreated_topic_of_stg_is_reported_and_the_way_out_skips_nothing() {
    recreate_input_of(Service::Stg).await;
}

#[tokio::test]
async fn a_recreated_topic_of_dds_is_reported_and_the_way_out_skips_nothing() {
    recreate_input_of(Service::Dds).await;
}

#[tokio::test]
async fn a_recreated_topic_of_cdm_is_reported_and_the_way_out_skips_nothing() {
    recreate_input_of(Service::Cdm).await;
}
