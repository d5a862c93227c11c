//! A batch in two transactions side by side: what becomes of one when the other fails, or refuses a row.

use std::collections::BTreeSet;

use sqlx::Executor as _;
use strata_testkit::samples::{random, simple_order, versions};

use crate::support::Orders;

/// Small batches, so that there are several; each is large enough to be split.
const SMALL: [(&str, &str); 1] = [("BATCH_MAX_ROWS", "40")];

/// Has the transaction fail that is the `passage`-th from now on to move its offsets, which is its last statement.
async fn fail_at(orders: &Orders, passage: i64) {
    let sql = format!(
        "create or replace function ops.fail_once() returns trigger language plpgsql as $$ begin \
             if nextval('ops.passages') = {passage} then raise 'a fault' using errcode = '40001'; end if; \
             return null; end $$; \
         drop sequence if exists ops.passages; create sequence ops.passages; \
         create or replace trigger fail_once after update on ops.consumer_offsets execute function ops.fail_once()"
    );
    sqlx::raw_sql(&sql).execute(orders.alone.pool()).await.expect("a trigger");
}

#[tokio::test]
async fn one_transaction_that_fails_leaves_the_other_one_committed_and_nothing_counts_twice() {
    let mut orders = Orders::new(&SMALL).await;
    for passage in 1..=4 {
        // GIVEN batches that wait
        for message in versions(&mut random(), 60, 4) {
            orders.send(&message, |record| record);
        }
        // WHEN one of the first transactions fails behind its last statement
        fail_at(&orders, passage).await;
        orders.run().await;
        let passed: i64 = sqlx::query_scalar("select last_value from ops.passages")
            .fetch_one(orders.alone.pool())
            .await
            .expect("the passages");
        assert!(passed > passage, "{passed}");
        // THEN the vault equals the model, and each order was announced once
        orders.assert_exact().await;
    }
}

#[tokio::test]
async fn values_that_the_store_refuses_are_found_in_both_transactions_and_stop_neither() {
    // GIVEN orders of which Postgres will refuse three, whatever partitions they lie in
    let mut orders = Orders::new(&SMALL).await;
    let messages: Vec<_> = (0..200).map(|number| simple_order(number, "CLOSED")).collect();
    let id = |number: usize| messages[number]["object_id"].as_i64().expect("an id");
    let refused: BTreeSet<i64> = [id(3), id(77), id(150)].into();
    let list = refused.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let constraint =
        format!("alter table dds.h_order add constraint refused check (order_id not in ({list}))");
    orders.alone.pool().execute(constraint.as_str()).await.expect("a constraint");
    for message in &messages {
        orders.send(message, |record| record);
    }
    // WHEN they are read
    orders.run().await;
    // THEN these three are dead letters and all others are stored
    let dead_letters = orders.alone.dead_letters().await;
    assert!(dead_letters.iter().all(|(reason, _)| reason == "refused_by_store"), "{dead_letters:?}");
    let ids = dead_letters.iter().map(|(_, body)| {
        let fact: serde_json::Value = serde_json::from_slice(body).expect("a fact");
        fact["object_id"].as_i64().expect("an id")
    });
    assert_eq!(ids.collect::<BTreeSet<i64>>(), refused);
    assert_eq!(dead_letters.len(), refused.len());
    let stored: i64 = sqlx::query_scalar("select count(*) from dds.h_order")
        .fetch_one(orders.alone.pool())
        .await
        .expect("the orders");
    assert_eq!(stored, 197);
    // AND each of the others was announced once
    assert_eq!(orders.alone.records(&orders.alone.output()).len(), 197);
    // WHEN the cause is removed and they are sent once more
    orders
        .alone
        .pool()
        .execute("alter table dds.h_order drop constraint refused")
        .await
        .expect("no constraint");
    sqlx::query("delete from ops.dead_letters").execute(orders.alone.pool()).await.expect("deleted");
    for number in [3, 77, 150] {
        orders.send(&messages[number], |record| record);
    }
    orders.run().await;
    // THEN the vault equals the model, but that these were not loaded with their first record
    orders.model.assume_no_order();
    orders.assert_exact().await;
}
