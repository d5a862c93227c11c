//! The history that satellites keep.

use chrono::Utc;
use serde_json::Value;
use strata_testkit::{Fleet, NewRecord};

use crate::support::{SOON, assert_exact, launch, simple_order};

/// Sends a version of order 1 that reached Kafka at this time.
async fn send(fleet: &Fleet, status: &str, at: i64) {
    let message: Value = simple_order(1, status);
    let record = NewRecord::of(message.to_string()).partition(2).at(at);
    fleet.kafka().produce(&fleet.stg_topic(), &[record]).await;
    fleet.at_rest(SOON).await;
}

async fn history(fleet: &Fleet) -> Vec<(String, i64)> {
    sqlx::query_as(
        "select status, (extract(epoch from load_dt) * 1000)::bigint from dds.s_order_status \
         order by load_dt, load_seq",
    )
    .fetch_all(fleet.pool())
    .await
    .expect("the history")
}

#[tokio::test]
async fn the_status_of_an_order_keeps_its_history() {
    // GIVEN an order on its way, a step at a time
    let fleet = launch(&[]).await;
    let start = Utc::now().timestamp_millis() - 60_000;
    for (status, seconds) in [("OPEN", 0), ("COOKING", 10), ("CLOSED", 20)] {
        send(&fleet, status, start + seconds * 1000).await;
    }
    let step = |status: &str, seconds: i64| (status.to_owned(), start + seconds * 1000);
    assert_eq!(history(&fleet).await, [step("OPEN", 0), step("COOKING", 10), step("CLOSED", 20)]);
    // WHEN the last step is sent again
    send(&fleet, "CLOSED", start + 30_000).await;
    // THEN nothing is added
    assert_eq!(history(&fleet).await, [step("OPEN", 0), step("COOKING", 10), step("CLOSED", 20)]);
    assert_exact(&fleet).await;
    // WHEN a step arrives late
    send(&fleet, "DELIVERING", start + 15_000).await;
    // THEN it takes its place in the past
    assert_eq!(
        history(&fleet).await,
        [step("OPEN", 0), step("COOKING", 10), step("DELIVERING", 15), step("CLOSED", 20)]
    );
    assert_exact(&fleet).await;
}

#[tokio::test]
async fn two_steps_within_a_millisecond_are_both_kept_in_their_order() {
    // GIVEN two steps of an order with one timestamp
    let fleet = launch(&[]).await;
    let at = Utc::now().timestamp_millis();
    let records = ["COOKING", "CLOSED"]
        .map(|status| NewRecord::of(simple_order(1, status).to_string()).partition(0).at(at));
    // WHEN they arrive
    fleet.kafka().produce(&fleet.stg_topic(), &records).await;
    fleet.at_rest(SOON).await;
    // THEN both are kept, in the order of their offsets
    assert_eq!(history(&fleet).await, [("COOKING".to_owned(), at), ("CLOSED".to_owned(), at)]);
    assert_exact(&fleet).await;
}
