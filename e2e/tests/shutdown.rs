//! Stages that are told to stop.

use std::time::Duration;

use strata_testkit::Service;

use crate::support::{SOON, assert_exact, launch, load, random, versions};

#[tokio::test]
async fn a_stage_that_is_told_to_stop_under_load_leaves_in_time_and_loses_nothing() {
    // GIVEN a fleet under load
    let fleet = launch(&[("BATCH_MAX_ROWS", "100")]).await;
    let ingested = versions(&mut random(), 60, 5);
    // WHEN each service is told to stop, and started again
    let stops = async {
        for (service, records) in [(Service::Stg, 200), (Service::Dds, 500), (Service::Cdm, 900)] {
            fleet.reached(Service::Stg, records, SOON).await;
            let stopped = fleet.terminate(service).await;
            // THEN it leaves in time, content
            assert!(stopped.status.success(), "{service:?} ended with {}", stopped.status);
            assert!(stopped.took < Duration::from_secs(10), "{service:?} took {:?}", stopped.took);
            fleet.start(service);
        }
    };
    tokio::join!(load(&fleet, 1500, &ingested), stops);
    // AND nothing is lost
    assert_exact(&fleet).await;
    let stopped = fleet.terminate(Service::DataSource).await;
    assert!(stopped.status.success(), "data-source ended with {}", stopped.status);
    assert!(stopped.took < Duration::from_secs(10), "data-source took {:?}", stopped.took);
}
