//! The history that satellites keep, whatever order versions come in.

use chrono::Utc;
use serde_json::{Value, json};
use strata_testkit::order;
use strata_testkit::samples::{reference, simple_order};

use crate::support::Orders;

/// Sends a version of order 1 that reached Kafka at this time, in a batch of its own.
async fn send(orders: &mut Orders, status: &str, at: i64) {
    orders.send(&simple_order(1, status), |record| record.partition(2).at(at));
    orders.run().await;
}

/// States of the order with their load times, Unix milliseconds.
async fn history(orders: &Orders) -> Vec<(String, i64)> {
    sqlx::query_as(
        "select status, (extract(epoch from load_dt) * 1000)::bigint from dds.s_order_status \
         order by load_dt, load_seq",
    )
    .fetch_all(orders.alone.pool())
    .await
    .expect("the history")
}

#[tokio::test]
async fn the_status_of_an_order_keeps_its_history() {
    // GIVEN an order on its way, a step at a time
    let mut orders = Orders::new(&[]).await;
    let start = Utc::now().timestamp_millis() - 60_000;
    for (status, seconds) in [("OPEN", 0), ("COOKING", 10), ("CLOSED", 20)] {
        send(&mut orders, status, start + seconds * 1000).await;
    }
    let step = |status: &str, seconds: i64| (status.to_owned(), start + seconds * 1000);
    assert_eq!(history(&orders).await, [step("OPEN", 0), step("COOKING", 10), step("CLOSED", 20)]);
    // WHEN the last step is sent again
    send(&mut orders, "CLOSED", start + 30_000).await;
    // THEN nothing is added
    assert_eq!(history(&orders).await, [step("OPEN", 0), step("COOKING", 10), step("CLOSED", 20)]);
    orders.assert_exact().await;
    // WHEN a step arrives late
    send(&mut orders, "DELIVERING", start + 15_000).await;
    // THEN it takes its place in the past
    assert_eq!(
        history(&orders).await,
        [step("OPEN", 0), step("COOKING", 10), step("DELIVERING", 15), step("CLOSED", 20)]
    );
    orders.assert_exact().await;
}

#[tokio::test]
async fn two_steps_within_a_millisecond_are_both_kept_in_their_order() {
    // GIVEN two steps of an order with one timestamp
    let mut orders = Orders::new(&[]).await;
    let at = Utc::now().timestamp_millis();
    for status in ["COOKING", "CLOSED"] {
        orders.send(&simple_order(1, status), |record| record.partition(0).at(at));
    }
    // WHEN they are read
    orders.run().await;
    // THEN both are kept, in the order of their offsets
    assert_eq!(history(&orders).await, [("COOKING".to_owned(), at), ("CLOSED".to_owned(), at)]);
    orders.assert_exact().await;
}

/// A version of order 1 that was sent at this minute.
fn sent(status: &str, minute: u32) -> Value {
    let mut message = simple_order(1, status);
    message["sent_dttm"] = json!(format!("2025-02-22T09:{minute:02}:00Z"));
    message
}

/// The status that the only order has now.
async fn current(orders: &Orders) -> String {
    sqlx::query_scalar(
        "select status from dds.s_order_status order by sent_dttm desc nulls last, load_dt desc, load_seq desc limit 1",
    )
    .fetch_one(orders.alone.pool())
    .await
    .expect("the order")
}

#[tokio::test]
async fn a_version_that_arrives_late_is_not_the_current_one() {
    // GIVEN an order that was closed
    let mut orders = Orders::new(&[]).await;
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
        orders.send(&sent(status, minute), |record| record.partition(2));
        orders.run().await;
        assert_eq!(current(&orders).await, now, "after {status} of minute {minute}");
    }
    orders.assert_exact().await;
    // AND so it is all in one batch
    let mut orders = Orders::new(&[]).await;
    for (status, minute) in [("OPEN", 0), ("CLOSED", 30), ("COOKING", 10), ("CLOSED", 40), ("COOKING", 35)] {
        orders.send(&sent(status, minute), |record| record.partition(2));
    }
    orders.run().await;
    assert_eq!(current(&orders).await, "CLOSED");
    orders.assert_exact().await;
}

#[tokio::test]
async fn an_order_whose_hub_row_is_gone_is_neither_refused_nor_counted_again() {
    // GIVEN an order whose row somebody deleted from the hub, not from links and satellites
    let mut orders = Orders::new(&[]).await;
    let at = Utc::now().timestamp_millis();
    orders.send(&simple_order(1, "CLOSED"), |record| record.partition(2).at(at));
    orders.run().await;
    orders.assert_exact().await;
    let deleted = sqlx::query("delete from dds.h_order").execute(orders.alone.pool()).await.expect("deleted");
    assert_eq!(deleted.rows_affected(), 1);
    // WHEN it comes again, among others
    for number in 100..120 {
        orders.send(&simple_order(number, "CLOSED"), |record| record);
    }
    orders.send(&simple_order(1, "CLOSED"), |record| record.partition(2).at(at));
    orders.run().await;
    // THEN the vault equals the model, and nothing was announced twice
    orders.assert_exact().await;
}

#[tokio::test]
async fn a_dish_that_moves_to_another_category_counts_where_it_was_ordered() {
    // GIVEN an order of a dish
    let (mut orders, before) = (Orders::new(&[]).await, reference());
    let closed =
        |number: i64| order(number).user(before.user(0)).dishes(before.restaurant(0), [0]).status("CLOSED");
    orders.send(&closed(1).build(), |record| record);
    orders.run().await;
    // WHEN the menu moves the dish and it is ordered again
    let mut after = before.clone();
    let restaurant = after.restaurants.values_mut().next().expect("a restaurant");
    restaurant.menu[0].category = "Десерты".to_owned();
    orders.send_enriched(&closed(2).build(), &after, |record| record);
    orders.run().await;
    // THEN each order counts in the category that the dish had then
    assert_eq!(orders.model.category_counters().len(), 2);
    orders.assert_exact().await;
}
