//! The history that satellites keep.

use chrono::Utc;
use serde_json::{Value, json};
use strata_testkit::{Fleet, NewRecord};

use crate::reconcile::assert_clean;
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

/// A version of order 1 that was sent at this minute.
fn sent(status: &str, minute: u32) -> NewRecord {
    let mut message: Value = simple_order(1, status);
    message["sent_dttm"] = json!(format!("2025-02-22T12:{minute:02}:00Z"));
    NewRecord::of(message.to_string()).partition(2)
}

/// The status that each layer says the only order has now.
async fn current(fleet: &Fleet) -> (String, String) {
    sqlx::query_as(
        "select payload ->> 'final_status', (select status from dds.s_order_status \
         order by sent_dttm desc nulls last, load_dt desc, load_seq desc limit 1) from stg.order_events",
    )
    .fetch_one(fleet.pool())
    .await
    .expect("the order")
}

#[tokio::test]
async fn a_version_that_arrives_late_is_the_current_one_in_no_layer() {
    // GIVEN an order that was closed
    let fleet = launch(&[]).await;
    let both = |status: &str| (status.to_owned(), status.to_owned());
    for (status, minute, now) in [
        ("OPEN", 0, "OPEN"),
        ("CLOSED", 30, "CLOSED"),
        // WHEN an older version arrives THEN it changes nothing
        ("COOKING", 10, "CLOSED"),
        // WHEN a newer one says what came last THEN that is what holds
        ("COOKING", 40, "COOKING"),
        // WHEN one that was sent at the same time arrives THEN the later arrival holds
        ("CANCELLED", 40, "CANCELLED"),
    ] {
        fleet.kafka().produce(&fleet.stg_topic(), &[sent(status, minute)]).await;
        fleet.at_rest(SOON).await;
        assert_eq!(current(&fleet).await, both(now), "after {status} of minute {minute}");
    }
    // AND every layer agrees, all in one batch too
    assert_exact(&fleet).await;
    assert_clean(&fleet).await;
    let again = launch(&[]).await;
    let versions = [("OPEN", 0), ("CLOSED", 30), ("COOKING", 10), ("CLOSED", 40), ("COOKING", 35)];
    let versions = versions.map(|(status, minute)| sent(status, minute));
    again.kafka().produce(&again.stg_topic(), &versions).await;
    assert_exact(&again).await;
    assert_eq!(current(&again).await, both("CLOSED"));
    assert_clean(&again).await;
}
