//! Layers that read everything once more.

use strata_testkit::Service;

use crate::support::{assert_exact, launch, load, random, rewind, versions};

#[tokio::test]
async fn a_stage_that_reads_everything_again_changes_nothing() {
    // GIVEN a warehouse at rest
    let fleet = launch(&[]).await;
    load(&fleet, 500, &versions(&mut random(), 60, 5)).await;
    assert_exact(&fleet).await;
    for service in [Service::Dds, Service::Stg, Service::Cdm] {
        // WHEN a stage is set back to the beginning
        let stopped = fleet.terminate(service).await;
        assert!(stopped.status.success(), "{service:?} ended with {}", stopped.status);
        rewind(&fleet, service).await;
        fleet.start(service);
        // THEN every layer still equals the model
        assert_exact(&fleet).await;
    }
}

#[tokio::test]
async fn all_stages_set_back_at_once_change_nothing() {
    // GIVEN a warehouse at rest
    let fleet = launch(&[]).await;
    load(&fleet, 500, &versions(&mut random(), 60, 5)).await;
    assert_exact(&fleet).await;
    // WHEN all stages are set back and more orders arrive
    for service in Service::STAGES {
        fleet.kill(service);
        rewind(&fleet, service).await;
    }
    for service in Service::STAGES {
        fleet.start(service);
    }
    fleet.push(200).await;
    // THEN every layer equals the model
    assert_exact(&fleet).await;
}
