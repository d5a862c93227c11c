//! Records that stand in a topic more than once.

use strata_testkit::NewRecord;

use crate::support::{assert_exact, launch, load, random, versions};

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
