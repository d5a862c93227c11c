//! Records that stand in a topic more than once.

use strata_testkit::NewRecord;

use crate::support::{SOON, assert_exact, launch, load, random, simple_order, versions};

#[tokio::test]
async fn records_that_are_sent_again_between_the_layers_change_nothing() {
    // GIVEN a warehouse at rest
    let fleet = launch(&[]).await;
    load(&fleet, 500, &versions(&mut random(), 60, 5)).await;
    assert_exact(&fleet).await;
    for topic in [fleet.cdm_topic(), fleet.dds_topic()] {
        // WHEN all records between two layers are sent again as they are
        let records = fleet.kafka().read_all(&topic).await;
        assert!(!records.is_empty(), "{topic} is empty");
        let again: Vec<NewRecord> = records.iter().map(NewRecord::from).collect();
        fleet.kafka().produce(&topic, &again).await;
        // THEN every layer still equals the model
        assert_exact(&fleet).await;
    }
}

#[tokio::test]
async fn an_order_whose_hub_row_is_gone_is_neither_refused_nor_counted_again() {
    // GIVEN an order in all layers whose row somebody deleted from the hub, not from links and satellites
    let fleet = launch(&[]).await;
    let at = chrono::Utc::now().timestamp_millis();
    let record = NewRecord::of(simple_order(1, "CLOSED").to_string()).partition(2).at(at);
    fleet.kafka().produce(&fleet.stg_topic(), std::slice::from_ref(&record)).await;
    assert_exact(&fleet).await;
    let deleted = sqlx::query("delete from dds.h_order").execute(fleet.pool()).await.expect("deleted");
    assert_eq!(deleted.rows_affected(), 1);
    // WHEN it comes again, among others
    load(&fleet, 20, &[]).await;
    fleet.kafka().produce(&fleet.stg_topic(), &[record]).await;
    fleet.at_rest(SOON).await;
    // THEN every layer equals the model
    assert_exact(&fleet).await;
}
