//! A stage that would refuse most of what it should be able to use stops and says why; what senders got wrong, and what
//! waits for reference data, stops nothing.

use std::time::Duration;

use serde_json::Value;
use sqlx::Executor as _;
use strata_testkit::eventually::holds;
use strata_testkit::{
    Fleet, NewRecord, Service, assert_searches_equal, assert_warehouse_equals, eventually, search,
};

use crate::reconcile::assert_clean;
use crate::support::{SOON, launch, simple_order};

/// Records that are judged, and a batch.
const LIMITS: [(&str, &str); 2] = [("DEAD_LETTER_MIN_RECORDS", "100"), ("BATCH_MAX_ROWS", "20")];

/// A stage looks for a way on at least so often.
const GOES_ON_WITHIN: Duration = Duration::from_secs(10);

async fn dead_letters(fleet: &Fleet) -> i64 {
    let count = sqlx::query_scalar("select count(*) from ops.dead_letters").fetch_one(fleet.pool()).await;
    count.expect("the dead letters")
}

/// Waits until a stage is unhealthy and says all of this.
async fn assert_stopped(fleet: &Fleet, service: Service, said: &[&str]) {
    eventually(SOON, "a stage that stops", async || {
        let health = fleet.get(service, "/health").await;
        let body = health.body.to_string();
        let told = health.status == 503 && said.iter().all(|said| body.contains(said));
        holds(told, || format!("{} {body}", health.status))
    })
    .await;
}

/// Has Postgres refuse some rows of a table.
async fn constrain(fleet: &Fleet, table: &str, condition: &str) {
    let sql = format!("alter table {table} add constraint refused check ({condition}) not valid");
    fleet.pool().execute(sql.as_str()).await.expect("a constraint");
}

fn orders(numbers: std::ops::Range<i64>) -> Vec<Value> {
    numbers.map(|number| simple_order(number, "CLOSED")).collect()
}

#[tokio::test]
async fn garbage_stops_nothing_however_much_it_is() {
    // GIVEN lines that are no orders, thousands of them, by HTTP and in the topics of all stages
    let fleet = launch(&LIMITS).await;
    let lines = (0..5000).map(|n| format!("{{\"garbage\": {n}}}")).collect::<Vec<_>>().join("\n");
    let answer = fleet.post_lines(Service::DataSource, "/ingest/order", lines).await;
    assert_eq!((answer.status, &answer.body["rejected_count"]), (422, &5000.into()), "{}", answer.body);
    let garbage: Vec<NewRecord> = (0..500).map(|n| NewRecord::of(format!("garbage {n}"))).collect();
    let topics = [
        fleet.raw_topic(),
        fleet.dds_topic(),
        fleet.cdm_topic(),
        fleet.processed_topic(),
        fleet.metrics_topic(),
    ];
    for topic in &topics {
        fleet.kafka().produce(topic, &garbage).await;
    }
    // AND orders that every check lets pass and no JSON of Postgres can hold
    let mut unstorable = orders(1000..1200);
    for order in &mut unstorable {
        order["payload"]["note"] = "\u{0}".into();
    }
    fleet.ingest(&unstorable).await;
    // WHEN good events come after it
    fleet.ingest(&orders(0..50)).await;
    fleet.push_searches(50).await;
    fleet.at_rest(SOON).await;
    fleet.searches_at_rest(SOON).await;
    // THEN everybody is well, the garbage is kept, and the good events arrived
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
    assert_eq!(dead_letters(&fleet).await, 5000 + 500 * 5 + 200);
    let stored: i64 = sqlx::query_scalar("select count(*) from dds.h_order")
        .fetch_one(fleet.pool())
        .await
        .expect("the orders");
    assert_eq!(stored, 50);
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn orders_that_the_vault_refuses_stop_dds_until_they_can_be_stored() {
    // GIVEN a vault that refuses most orders
    let fleet = launch(&LIMITS).await;
    fleet.ingest(&orders(0..50)).await;
    fleet.at_rest(SOON).await;
    constrain(&fleet, "dds.h_order", "order_id < 9000000050").await;
    fleet.ingest(&orders(50..600)).await;
    // WHEN dds has refused some THEN it stops, says why, and how it goes on
    let said =
        ["dds has stopped reading order", "refused_by_store", "strata stage resume dds --stream order"];
    assert_stopped(&fleet, Service::Dds, &said).await;
    let listed = fleet.strata_ok(&["stage"]).await;
    assert!(said.iter().all(|said| listed.contains(said)), "{listed}");
    // AND the other stream and the other stages go on
    fleet.push_searches(50).await;
    fleet.searches_at_rest(SOON).await;
    let refused = dead_letters(&fleet).await;
    assert!(refused <= 120, "{refused} dead letters");
    assert_clean(&fleet).await;
    // WHEN the cause is removed
    fleet.pool().execute("alter table dds.h_order drop constraint refused").await.expect("no constraint");
    // THEN it goes on by itself and refuses no more
    fleet.wait_healthy(Service::Dds).await;
    fleet.at_rest(SOON).await;
    assert_eq!(dead_letters(&fleet).await, refused);
    // AND what it had refused is replayed
    fleet.strata_ok(&["dlq", "replay", "--all", "--wait", "60"]).await;
    fleet.at_rest(SOON).await;
    assert_warehouse_equals(fleet.pool(), &fleet.model(&fleet.reference().await).await).await;
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn a_stopped_stage_is_resumed_without_a_restart() {
    // GIVEN a dds that has stopped because the vault refuses most orders
    let fleet = launch(&LIMITS).await;
    constrain(&fleet, "dds.h_order", "order_id < 9000000050").await;
    fleet.ingest(&orders(0..600)).await;
    assert_stopped(&fleet, Service::Dds, &["refused_by_store"]).await;
    // WHEN a resume names another stream or stage THEN nothing changes
    fleet.strata_ok(&["stage", "resume", "dds", "--stream", "hotel_search"]).await;
    fleet.strata_ok(&["stage", "resume", "stg"]).await;
    let unknown = fleet.strata(&["stage", "resume", "dds", "--stream", "clicks"]).await;
    assert!(!unknown.status.success());
    assert_stopped(&fleet, Service::Dds, &["refused_by_store"]).await;
    // WHEN an operator says that these may become dead letters, once
    fleet.strata_ok(&["stage", "resume", "dds", "--stream", "order"]).await;
    // THEN all of them do, in the same process
    eventually(GOES_ON_WITHIN, "dds that goes on", async || {
        let health = fleet.get(Service::Dds, "/health").await;
        holds(health.status == 200, || health.body.to_string())
    })
    .await;
    fleet.at_rest(SOON).await;
    assert_eq!(dead_letters(&fleet).await, 550);
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn what_dds_wrote_and_cdm_cannot_read_stops_cdm_also_where_its_data_lie_in_redis() {
    // GIVEN records that name an origin of the stage before, and that nobody can read
    let fleet = launch(&LIMITS).await;
    fleet
        .ingest_searches(&(0..60).map(|n| search(n, "6032").offer("Amoma", 100).build()).collect::<Vec<_>>())
        .await;
    fleet.searches_at_rest(SOON).await;
    let read = fleet.offsets(Service::Dds, &fleet.processed_topic()).await;
    let (partition, _) = read.iter().max_by_key(|(_, next)| **next).expect("a partition");
    let origin = format!("{}/{partition}/0", fleet.processed_topic());
    let garbage: Vec<NewRecord> =
        (0..500).map(|n| NewRecord::of(format!("garbage {n}")).with_header("origin", &origin)).collect();
    fleet.kafka().produce(&fleet.metrics_topic(), &garbage).await;
    // WHEN cdm has read some THEN it stops
    let said = ["cdm has stopped reading hotel_search", "malformed_json"];
    assert_stopped(&fleet, Service::Cdm, &said).await;
    // WHEN it is resumed
    fleet.strata_ok(&["stage", "resume", "cdm"]).await;
    // THEN they are dead letters, and what comes counts
    fleet.push_searches(30).await;
    fleet.searches_at_rest(SOON).await;
    fleet.wait_healthy(Service::Cdm).await;
    assert_eq!(dead_letters(&fleet).await, 500);
    assert_searches_equal(&fleet, &fleet.search_model().await).await;
}

#[tokio::test]
async fn a_line_that_was_refused_over_http_is_refused_for_the_same_reason_as_it_came() {
    // GIVEN lines that data-source refuses though stg could use them, and others
    let fleet = launch(&[]).await;
    let order = simple_order(1, "CLOSED").to_string();
    let refused = fleet
        .post_as(
            Service::DataSource,
            "/ingest/hotel_search",
            "text/tab-separated-values",
            format!("{order}\n"),
        )
        .await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let padded = format!("{order}{}\nno order\n", " ".repeat(2 << 20));
    let refused = fleet.post_lines(Service::DataSource, "/ingest/order", padded).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let told: Vec<String> = refused.body["rejected"]
        .as_array()
        .expect("what was rejected")
        .iter()
        .map(|line| line["error"].as_str().expect("a reason").to_owned())
        .collect();
    // WHEN stg has read them
    fleet.at_rest(SOON).await;
    fleet.searches_at_rest(SOON).await;
    // THEN each is a dead letter with the reason that its sender was told
    let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
        "select reason || ': ' || detail, payload from ops.dead_letters where stream = 'order' order by id",
    )
    .fetch_all(fleet.pool())
    .await
    .expect("the dead letters");
    let mut reasons: Vec<&String> = rows.iter().map(|(reason, _)| reason).collect();
    let mut wanted: Vec<&String> = told.iter().collect();
    reasons.sort();
    wanted.sort();
    assert_eq!(reasons, wanted);
    assert!(rows.iter().any(|(_, payload)| payload.starts_with(order.as_bytes())), "the head as it came");
    assert_eq!(dead_letters(&fleet).await, 3);
    // AND a replay judges the body itself: the order that was too long with its padding is one without it
    fleet.strata_ok(&["dlq", "replay", "--reason", "too_large", "--wait", "60"]).await;
    let stored: i64 = sqlx::query_scalar("select count(*) from stg.order_events")
        .fetch_one(fleet.pool())
        .await
        .expect("orders");
    assert_eq!(stored, 1);
}
