//! A stage that would refuse most of what it reads stops, says why, and goes on once that is mended.

use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, NewRecord, Reference, Service, assert_warehouse_equals, eventually, order};

use crate::reconcile::assert_clean;
use crate::support::{SOON, launch, simple_order};

/// Records that are judged, and a batch.
const LIMITS: [(&str, &str); 2] = [("DEAD_LETTER_MIN_RECORDS", "100"), ("BATCH_MAX_ROWS", "20")];

/// Users of the tests, and one whom nobody knows at first.
fn with_stranger() -> Reference {
    Reference::invented(16, 4, 8)
}

async fn letters(fleet: &Fleet) -> i64 {
    let count = sqlx::query_scalar("select count(*) from ops.dead_letters").fetch_one(fleet.pool()).await;
    count.expect("the dead letters")
}

/// Waits until stg is unhealthy and says this.
async fn assert_stopped(fleet: &Fleet, reason: &str) {
    eventually(SOON, "stg that stops", async || {
        let health = fleet.get(Service::Stg, "/health").await;
        let body = health.body.to_string();
        let said = ["too many dead letters", reason, "DEAD_LETTER_MAX_SHARE"];
        let told = health.status == 503 && said.iter().all(|said| body.contains(said));
        holds(told, || format!("{} {body}", health.status))
    })
    .await;
}

#[tokio::test]
async fn orders_that_nobody_knows_stop_the_stage_until_the_reference_data_are_there() {
    // GIVEN good orders, then many of a user who is not in the reference data
    let fleet = launch(&LIMITS).await;
    fleet.ingest(&(0..50).map(|number| simple_order(number, "CLOSED")).collect::<Vec<_>>()).await;
    fleet.at_rest(SOON).await;
    let reference = with_stranger();
    let strangers: Vec<_> = (0..1000)
        .map(|number| {
            let one = order(9_400_000_000 + number).user(reference.user(15));
            one.dishes(reference.restaurant(0), [0]).status("CLOSED").build()
        })
        .collect();
    fleet.ingest(&strangers).await;
    // WHEN stg has refused some THEN it stops and says why
    assert_stopped(&fleet, "unknown_user").await;
    // AND keeps the rest of the topic
    let refused = letters(&fleet).await;
    assert!(refused <= 120, "{refused} dead letters");
    assert_clean(&fleet).await;
    // WHEN the cause is mended, as the message says
    fleet.put_reference(&reference).await;
    // THEN it goes on by itself and refuses no more
    fleet.wait_healthy(Service::Stg).await;
    fleet.at_rest(SOON).await;
    assert_eq!(letters(&fleet).await, refused);
    // AND what it had refused is replayed
    fleet.strata_ok(&["dlq", "replay", "--all", "--wait", "60"]).await;
    fleet.at_rest(SOON).await;
    let model = fleet.model(&fleet.reference().await).await;
    assert_warehouse_equals(fleet.pool(), &model).await;
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn garbage_stops_the_stage_until_somebody_says_that_it_is_meant() {
    // GIVEN searches that cannot be read, many of them
    let mut fleet = launch(&LIMITS).await;
    let garbage: Vec<NewRecord> = (0..500).map(|n| NewRecord::of(format!("garbage {n}"))).collect();
    fleet.kafka().produce(&fleet.raw_topic(), &garbage).await;
    // WHEN stg has refused some THEN it stops and says why
    assert_stopped(&fleet, "malformed_json").await;
    let refused = letters(&fleet).await;
    assert!(refused <= 120, "{refused} dead letters");
    // AND the other stream goes on
    fleet.push(50).await;
    fleet.at_rest(SOON).await;
    // WHEN it is told that this is meant, as the message says
    fleet.add_variable("DEAD_LETTER_MAX_SHARE", "1");
    fleet.terminate(Service::Stg).await;
    fleet.start(Service::Stg);
    fleet.wait_healthy(Service::Stg).await;
    // THEN all of it becomes dead letters
    fleet.searches_at_rest(SOON).await;
    assert_eq!(letters(&fleet).await, 500);
    assert_clean(&fleet).await;
}
