//! Services that are killed at any moment.

use rand::RngExt as _;
use strata_testkit::Service;

use crate::support::{SOON, assert_exact, launch, load, random, versions};

/// Generated orders.
const PUSHED: usize = 3000;

/// How often each stage is killed.
const KILLS: usize = 3;

#[tokio::test]
async fn nothing_is_lost_or_counted_twice_when_stages_are_killed() {
    // GIVEN a fleet under load, in batches small enough that a kill hits one
    let fleet = launch(&[("BATCH_MAX_ROWS", "150")]).await;
    let mut random = random();
    let ingested = versions(&mut random, 100, 5);
    // A stage is killed when it, or for cdm the stage before it, has read this many records.
    let last = i64::try_from(PUSHED + ingested.len()).expect("a small number") - 100;
    let mut plan = Vec::new();
    for (victim, measured) in
        [(Service::Stg, Service::Stg), (Service::Dds, Service::Dds), (Service::Cdm, Service::Dds)]
    {
        plan.extend((0..KILLS).map(|_| (random.random_range(0..last), victim, measured)));
    }
    plan.sort_unstable();
    // WHEN each stage is killed several times at random moments and comes back
    let kills = async {
        for (records, victim, measured) in plan {
            fleet.reached(measured, records, SOON).await;
            fleet.kill(victim);
            fleet.start(victim);
        }
    };
    tokio::join!(load(&fleet, PUSHED, &ingested), kills);
    // THEN every layer equals the model
    assert_exact(&fleet).await;
}
