//! Records in and out of a real broker.

use std::time::Duration;

use strata_testkit::eventually::holds;
use strata_testkit::{Kafka, NewRecord, Servers, eventually};

/// A name that no other run has.
fn topic_name(test: &str) -> String {
    format!("strata_testkit_{test}_{}", std::process::id())
}

#[tokio::test]
async fn records_come_back_as_they_were_produced() {
    // GIVEN a record with all it can have, and a tombstone
    let kafka = Kafka::new(Servers::from_env().await.kafka());
    let topic = topic_name("round_trip");
    kafka.create(&topic, 3).await;
    let mut full = NewRecord::of("тело").key("ключ").at(1_740_214_574_049);
    full.headers = vec![("origin".to_owned(), "stg_topic/0/1".to_owned())];
    let tombstone = NewRecord::default().key("ключ").at(1_740_214_574_050);
    // WHEN both are produced
    kafka.produce(&topic, &[full, tombstone]).await;
    let records = kafka.read_all(&topic).await;
    // THEN both are read, in order
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].payload.as_deref(), Some("тело".as_bytes()));
    assert_eq!(records[0].key.as_deref(), Some("ключ".as_bytes()));
    assert_eq!(records[0].timestamp_ms, 1_740_214_574_049);
    assert_eq!(records[0].header("origin"), Some("stg_topic/0/1"));
    assert_eq!(records[1].payload, None);
    kafka.delete(&[topic], &[]).await;
}

#[tokio::test]
async fn deleted_records_are_gone_for_good() {
    // GIVEN three records
    let kafka = Kafka::new(Servers::from_env().await.kafka());
    let topic = topic_name("deleted");
    kafka.create(&topic, 1).await;
    let records: Vec<NewRecord> = ["a", "b", "c"].map(|body| NewRecord::of(body).partition(0)).to_vec();
    kafka.produce(&topic, &records).await;
    // WHEN two are deleted
    kafka.delete_records(&topic, 0, 2).await;
    // THEN one is left, with its offset
    let left = eventually(Duration::from_secs(10), "one record", async || {
        let left = kafka.read_all(&topic).await;
        holds(left.len() == 1, || format!("{} records", left.len())).map(|()| left)
    });
    assert_eq!(left.await[0].offset, 2);
    kafka.delete(&[topic], &[]).await;
}
