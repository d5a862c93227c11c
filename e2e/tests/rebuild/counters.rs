//! `strata rebuild counters`.

use strata_testkit::Service;

use super::{assert_all_exact, assert_same, contents, die_in, launch_filled, tamper, under_load};
use crate::support::{SOON, assert_exact, launch, load, random, versions};

const REBUILD: [&str; 2] = ["rebuild", "counters"];

const COUNTERS: [&str; 2] = ["cdm.user_product_counters", "cdm.user_category_counters"];

/// Counters that are gone, too high, and of nothing.
const DAMAGE: [&str; 5] = [
    "delete from cdm.user_product_counters where id % 3 = 0",
    "update cdm.user_product_counters set order_cnt = order_cnt + 7 where id % 3 = 1",
    "update cdm.user_category_counters set order_cnt = order_cnt + 1, category_name = 'nothing of it' where id % 2 = 0",
    "insert into cdm.user_product_counters (user_id, product_id, product_name, order_cnt) \
     values (gen_random_uuid(), gen_random_uuid(), 'nobody ordered this', 3)",
    "insert into cdm.user_category_counters (user_id, category_id, category_name, order_cnt) \
     select user_id, gen_random_uuid(), 'not a category', 1 from cdm.user_product_counters limit 4",
];

#[tokio::test]
async fn damaged_counters_are_rebuilt_under_load() {
    // GIVEN a fleet whose counters were damaged
    let fleet = launch_filled().await;
    for statement in DAMAGE {
        tamper(&fleet, statement).await;
    }
    let damaged = contents(&fleet, &COUNTERS).await;
    // WHEN a rebuild is killed before its commit
    die_in(&fleet, &REBUILD, "rebuild_in_transaction").await;
    // THEN it has changed nothing
    assert_same(&contents(&fleet, &COUNTERS).await, &damaged);
    // WHEN it is run under load of both streams, killed in between, and run again
    let work = async {
        fleet.strata_ok(&REBUILD).await;
        die_in(&fleet, &REBUILD, "rebuild_in_transaction").await;
        for _ in 0..3 {
            fleet.strata_ok(&REBUILD).await;
        }
    };
    under_load(&fleet, work).await;
    // THEN every layer equals the model, to the row
    assert_all_exact(&fleet).await;
}

#[tokio::test]
async fn announcements_that_cdm_has_still_to_read_are_counted_once() {
    // GIVEN orders in several versions that dds has announced and cdm has not read
    let fleet = launch(&[("BATCH_MAX_ROWS", "50")]).await;
    let versions = versions(&mut random(), 60, 5);
    load(&fleet, 300, &versions).await;
    assert_exact(&fleet).await;
    fleet.kill(Service::Cdm);
    load(&fleet, 300, &versions).await;
    fleet.stage_at_rest(Service::Stg, &fleet.stg_topic(), SOON).await;
    fleet.stage_at_rest(Service::Dds, &fleet.dds_topic(), SOON).await;
    let offsets = fleet.offsets(Service::Cdm, &fleet.cdm_topic()).await;
    let marks = fleet.kafka().watermarks(&fleet.cdm_topic()).await;
    assert!(marks.iter().any(|(partition, (_, end))| offsets[partition] < *end), "cdm has read everything");
    // WHEN the counters are rebuilt, and cdm comes back
    tamper(&fleet, "delete from cdm.user_product_counters").await;
    fleet.strata_ok(&REBUILD).await;
    let rebuilt = contents(&fleet, &COUNTERS).await;
    fleet.start(Service::Cdm);
    // THEN it skips what was counted
    assert_exact(&fleet).await;
    assert_same(&contents(&fleet, &COUNTERS).await, &rebuilt);
    // AND counts what comes later
    load(&fleet, 100, &[]).await;
    assert_exact(&fleet).await;
    assert_ne!(contents(&fleet, &COUNTERS).await, rebuilt);
}
