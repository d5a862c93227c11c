//! Instances that come and go.

use strata_testkit::{Fleet, Service};

use crate::support::{SOON, assert_exact, launch, load, random, versions};

/// Generated orders.
const PUSHED: usize = 2000;

/// A second instance of a stage joins and leaves, then takes over from the first.
async fn come_and_go(fleet: &Fleet, service: Service) {
    fleet.second(service);
    fleet.members(service, 2, SOON).await;
    fleet.kill_second(service);
    // The group still counts the dead one for a while.
    fleet.members(service, 1, SOON).await;
    fleet.second(service);
    fleet.members(service, 2, SOON).await;
    let stopped = fleet.terminate_second(service).await;
    assert!(stopped.status.success(), "{service:?} ended with {}", stopped.status);
    fleet.second(service);
    fleet.members(service, 2, SOON).await;
    fleet.kill(service);
    fleet.start(service);
    fleet.members(service, 2, SOON).await;
}

#[tokio::test]
async fn nothing_is_lost_or_counted_twice_when_instances_come_and_go() {
    // GIVEN a fleet under load
    let fleet = launch(&[("BATCH_MAX_ROWS", "50")]).await;
    let ingested = versions(&mut random(), 100, 5);
    // WHEN second instances of every stage join, crash, leave and take over
    let changes = async {
        tokio::join!(
            come_and_go(&fleet, Service::Stg),
            come_and_go(&fleet, Service::Dds),
            come_and_go(&fleet, Service::Cdm),
        );
    };
    let loads = async {
        let half = ingested.len() / 2;
        load(&fleet, PUSHED / 2, &ingested[..half]).await;
        load(&fleet, PUSHED / 2, &ingested[half..]).await;
    };
    tokio::join!(loads, changes);
    fleet.push(200).await;
    // THEN every layer equals the model
    assert_exact(&fleet).await;
}
