//! dds writes a batch in two transactions side by side: what becomes of one when the other fails.

use std::collections::BTreeSet;

use sqlx::Executor as _;
use strata_testkit::{Fleet, Service, assert_warehouse_equals};

use crate::support::{SOON, assert_exact, launch, random, simple_order, versions};

/// Small batches, so that a test has several of them; each is large enough to be dealt out.
const SMALL: [(&str, &str); 1] = [("BATCH_MAX_ROWS", "40")];

/// A fleet whose dds is stopped, so that what is sent now waits for it.
async fn launch_without_dds() -> Fleet {
    let fleet = launch(&SMALL).await;
    fleet.terminate(Service::Dds).await;
    fleet
}

#[tokio::test]
async fn one_transaction_that_fails_leaves_the_other_one_committed_and_nothing_counts_twice() {
    let fleet = launch_without_dds().await;
    for passage in 1..=4 {
        // GIVEN batches that wait
        fleet.ingest(&versions(&mut random(), 60, 4)).await;
        // WHEN one of the first transactions fails behind its last statement
        fleet.start_failing(Service::Dds, &format!("in_transaction:error:{passage}"));
        // THEN every layer equals the model
        assert_exact(&fleet).await;
        fleet.terminate(Service::Dds).await;
    }
    fleet.start(Service::Dds);
}

#[tokio::test]
async fn values_that_the_store_refuses_are_found_in_both_transactions_and_stop_neither() {
    // GIVEN orders of which Postgres will refuse three, whatever partitions they lie in
    let fleet = launch_without_dds().await;
    let orders: Vec<_> = (0..200).map(|number| simple_order(number, "CLOSED")).collect();
    fleet.ingest(&orders).await;
    let id = |number: usize| orders[number]["object_id"].as_i64().expect("an id");
    let refused: BTreeSet<i64> = [id(3), id(77), id(150)].into();
    let list = refused.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let constraint =
        format!("alter table dds.h_order add constraint refused check (order_id not in ({list}))");
    fleet.pool().execute(constraint.as_str()).await.expect("a constraint");
    // WHEN dds reads them
    fleet.start(Service::Dds);
    fleet.at_rest(SOON).await;
    // THEN these three are dead letters and all others are stored
    let letters: Vec<(String, Option<Vec<u8>>)> =
        sqlx::query_as("select reason, key from ops.dead_letters where stage = 'dds'")
            .fetch_all(fleet.pool())
            .await
            .expect("the dead letters");
    assert!(letters.iter().all(|(reason, _)| reason == "refused_by_store"), "{letters:?}");
    let keys = letters.iter().map(|(_, key)| String::from_utf8_lossy(key.as_deref().unwrap_or_default()));
    assert_eq!(keys.map(|key| key.parse().expect("an id")).collect::<BTreeSet<i64>>(), refused);
    assert_eq!(letters.len(), refused.len());
    let stored: i64 = sqlx::query_scalar("select count(*) from dds.h_order")
        .fetch_one(fleet.pool())
        .await
        .expect("the orders");
    assert_eq!(stored, 197);
    // WHEN the cause is removed and they are put through again
    fleet.pool().execute("alter table dds.h_order drop constraint refused").await.expect("no constraint");
    let replayed = fleet.strata(&["dlq", "replay", "--reason", "refused_by_store", "--wait", "60"]).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    // THEN every layer equals the model
    fleet.at_rest(SOON).await;
    assert_warehouse_equals(fleet.pool(), &fleet.model(&fleet.reference().await).await).await;
}
