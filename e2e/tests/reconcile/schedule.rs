//! Reconcile in the console: by schedule and by request.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, Service, eventually};

use crate::support::{SOON, launch, simple_order};

/// Deadline of a reconcile of a small fleet.
const DONE_WITHIN: Duration = Duration::from_secs(60);

async fn outcomes(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from ops.reconciliations").fetch_one(pool).await.expect("a count")
}

async fn wait_for_outcomes(pool: &PgPool, expected: i64) {
    let found = eventually(DONE_WITHIN, &format!("{expected} outcomes"), async || {
        let found = outcomes(pool).await;
        if found < expected { Err(found.to_string()) } else { Ok(found) }
    })
    .await;
    assert_eq!(found, expected);
}

/// What `GET /reconcile` says once nothing runs any more.
async fn newest(fleet: &Fleet, headers: &[(&str, &str)]) -> Value {
    eventually(DONE_WITHIN, "the end of a reconcile", async || {
        let said = fleet.request(Service::Console, "GET", "/reconcile", headers, None).await.ok();
        if said["running"] == json!(false) { Ok(said["last"].clone()) } else { Err(said.to_string()) }
    })
    .await
}

#[tokio::test]
async fn two_consoles_compare_the_layers_once_per_period() {
    // GIVEN a fleet that nobody has proven
    let fleet = launch(&[("RECONCILE_EVERY_MINUTES", "15")]).await;
    fleet.ingest(&[simple_order(1, "CLOSED")]).await;
    fleet.at_rest(SOON).await;
    // WHEN two instances of the console run
    fleet.start(Service::Console);
    fleet.second(Service::Console);
    fleet.wait_healthy(Service::Console).await;
    fleet.wait_second_healthy(Service::Console).await;
    // THEN one of them compares the layers
    wait_for_outcomes(fleet.pool(), 1).await;
    let last = newest(&fleet, &[]).await;
    assert_eq!((&last["differences"], &last["failed"]), (&json!(0), &json!([])), "{last}");
    for expected in 2..=4 {
        // AND WHEN that was a quarter of an hour ago
        sqlx::query("update ops.reconciliations set finished_at = now() - interval '15 minutes 1 second'")
            .execute(fleet.pool())
            .await
            .expect("older outcomes");
        // THEN one of them does so again, and the other does not
        wait_for_outcomes(fleet.pool(), expected).await;
    }
}

#[tokio::test]
async fn a_reconcile_is_asked_for_with_the_key_and_names_what_differs() {
    // GIVEN a console with a key and no schedule, and one wrong row
    let key = [("APIKEY", "a key of this test")];
    let mut fleet = launch(&[]).await;
    fleet.add_variable(key[0].0, key[0].1);
    fleet.launch_console().await;
    let orders: Vec<Value> = (0..5).map(|number| simple_order(number, "CLOSED")).collect();
    fleet.ingest(&orders).await;
    fleet.at_rest(SOON).await;
    sqlx::query(
        "delete from cdm.user_category_counters where id = (select min(id) from cdm.user_category_counters)",
    )
    .execute(fleet.pool())
    .await
    .expect("a row less");
    // WHEN it is asked for without the key
    for method in ["GET", "POST"] {
        // THEN that is refused, for the answer tells of persons
        let answer = fleet.request(Service::Console, method, "/reconcile", &[], None).await;
        assert_eq!(answer.status, 401, "{method}: {}", answer.body);
    }
    assert_eq!(newest(&fleet, &key).await, Value::Null);
    // AND WHEN it is asked for with the key, twice
    for _ in 0..2 {
        let answer = fleet.request(Service::Console, "POST", "/reconcile", &key, None).await;
        assert_eq!((answer.status, answer.header("location")), (202, Some("/reconcile")), "{}", answer.body);
    }
    // THEN the outcome names the row that is missing
    let last = newest(&fleet, &key).await;
    assert_eq!(last["differences"], json!(1), "{last}");
    let row = last["failed"][0]["rows"][0].as_str().unwrap_or_default();
    assert!(row.starts_with("user_category_counters: user "), "{last}");
    // AND the metrics tell of it
    eventually(SOON, "the metric of the differences", async || {
        let (_, _, text) = fleet.text(Service::Console, "/metrics").await;
        holds(text.lines().any(|line| line == "strata_reconcile_differences 1"), || "not yet".to_owned())
    })
    .await;
}
