//! Orders that name what is not in the reference data yet wait, stop nothing, and are taken up when it arrives.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, Reference, Service, assert_warehouse_equals, eventually, order};

use crate::reconcile::assert_clean;
use crate::support::{SOON, launch, simple_order};
use crate::windows::assert_died_in;

/// What waits is taken up within this after the arrival of what it waits for.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(5);

/// Users, restaurants and dishes that the fleet of [`launch`] knows.
const KNOWN: (usize, usize, usize) = (15, 4, 8);

/// More of each: what is beyond [`KNOWN`] is unknown at first.
fn all() -> Reference {
    Reference::invented(40, 6, 10)
}

/// An order of a user, a restaurant and a dish.
fn order_of(number: i64, user: usize, restaurant: usize, dish: usize) -> Value {
    let reference = all();
    let one = order(9_500_000_000 + number).user(reference.user(user));
    one.dishes(reference.restaurant(restaurant), [dish]).status("CLOSED").build()
}

/// Orders of unknown users.
fn of_strangers(numbers: std::ops::Range<i64>) -> Vec<Value> {
    let stranger = |number: i64| KNOWN.0 + usize::try_from(number % 25).unwrap_or_default();
    numbers.map(|number| order_of(number, stranger(number), 0, 0)).collect()
}

async fn count(fleet: &Fleet, status: &str) -> i64 {
    sqlx::query_scalar("select count(*) from ops.dead_letters where status = $1")
        .bind(status)
        .fetch_one(fleet.pool())
        .await
        .expect("the dead letters")
}

/// Waits until so many records are parked.
async fn assert_parked(fleet: &Fleet, wanted: i64) {
    fleet.at_rest(SOON).await;
    assert_eq!((count(fleet, "parked").await, count(fleet, "open").await), (wanted, 0));
    assert_clean(fleet).await;
}

/// Waits until nothing waits any more and everything that was sent is in the marts, and tells how long that took.
async fn assert_taken_up(fleet: &Fleet, reference: &Reference, within: Duration) {
    let began = Instant::now();
    eventually(within, "nothing that waits", async || {
        let waiting = count(fleet, "parked").await + count(fleet, "replaying").await;
        holds(waiting == 0, || format!("{waiting} wait"))
    })
    .await;
    fleet.at_rest(within.saturating_sub(began.elapsed()).max(Duration::from_secs(1))).await;
    println!("taken up and in the marts after {:?}", began.elapsed());
    assert_warehouse_equals(
        fleet.pool(),
        &fleet.model(&fleet.reference().await.with(reference.clone())).await,
    )
    .await;
    assert_clean(fleet).await;
}

#[tokio::test]
async fn orders_of_unknown_users_stop_nothing_and_are_taken_up_when_the_users_are_put() {
    // GIVEN 2 500 orders of users who are not in the reference data
    let fleet = launch(&[]).await;
    fleet.ingest(&of_strangers(0..2500)).await;
    // WHEN others order
    fleet.ingest(&(0..100).map(|number| simple_order(number, "CLOSED")).collect::<Vec<_>>()).await;
    fleet.at_rest(SOON).await;
    // THEN their orders pass, and everybody is well
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
    let stored: i64 = sqlx::query_scalar("select count(*) from dds.h_order")
        .fetch_one(fleet.pool())
        .await
        .expect("the orders");
    assert_eq!(stored, 100);
    assert_parked(&fleet, 2500).await;
    let (_, _, metrics) = fleet.text(Service::Stg, "/metrics").await;
    let outcome = "strata_events_total{stream=\"order\",outcome=\"parked\"} 2500";
    assert!(metrics.lines().any(|line| line == outcome), "{metrics}");
    // AND no dead letter of them is published
    assert_eq!(fleet.kafka().count(&format!("{}.dlq", fleet.stg_topic())).await, 0);
    // WHEN the users are put
    fleet.put_reference(&all()).await;
    // THEN all are in the marts within seconds, each with the effect of one
    assert_taken_up(&fleet, &all(), TAKEN_UP_WITHIN).await;
    assert_eq!(count(&fleet, "replayed").await, 2500);
}

#[tokio::test]
async fn what_others_write_to_redis_is_found_too() {
    // GIVEN orders that lack a user, a restaurant, a dish on a menu that stg remembers, or all that can be
    let fleet = launch(&[]).await;
    fleet.ingest(&(0..40).map(|number| simple_order(number, "CLOSED")).collect::<Vec<_>>()).await;
    let orders = [order_of(1, 15, 0, 0), order_of(2, 0, 4, 0), order_of(3, 0, 1, 8), order_of(4, 16, 5, 9)];
    fleet.ingest(&orders).await;
    assert_parked(&fleet, 4).await;
    let reasons: Vec<String> =
        sqlx::query_scalar("select reason from ops.dead_letters order by payload::text, id")
            .fetch_all(fleet.pool())
            .await
            .expect("reasons");
    for code in ["unknown_user", "unknown_restaurant", "unknown_product"] {
        assert!(reasons.iter().any(|reason| reason == code), "{reasons:?}");
    }
    // WHEN somebody writes the users, without a word
    fleet.write_to_redis("user", &all().users_ndjson()).await;
    // THEN the order that lacked no more is taken up, and the other waits for the rest
    let stranger = all().restaurant(5).id.clone();
    eventually(TAKEN_UP_WITHIN, "what waits only for a restaurant or a dish", async || {
        let waits: Vec<Vec<String>> = sqlx::query_scalar(
            "select waits_for from ops.dead_letters where status = 'parked' order by waits_for",
        )
        .fetch_all(fleet.pool())
        .await
        .expect("what waits");
        let users = waits.iter().flatten().any(|one| one.starts_with("user/"));
        let wanted = vec![format!("restaurant/{stranger}")];
        holds(!users && waits.len() == 3 && waits.contains(&wanted), || format!("{waits:?}"))
    })
    .await;
    // WHEN somebody writes the restaurants
    fleet.write_to_redis("restaurant", &all().restaurants_ndjson()).await;
    // THEN all are taken up, also what needs a dish of a menu that was remembered
    assert_taken_up(&fleet, &all(), TAKEN_UP_WITHIN).await;
}

#[tokio::test]
async fn several_instances_that_take_up_at_once_count_once() {
    // GIVEN orders that wait, and two instances of stg
    let fleet = launch(&[]).await;
    fleet.second(Service::Stg);
    fleet.wait_second_healthy(Service::Stg).await;
    fleet.ingest(&of_strangers(0..600)).await;
    assert_parked(&fleet, 600).await;
    // WHEN the users arrive, and somebody replays by hand meanwhile
    fleet.put_reference(&all()).await;
    let by_hand = ["dlq", "replay", "--all"];
    tokio::join!(fleet.strata(&by_hand), fleet.strata(&by_hand));
    // THEN each counts once
    assert_taken_up(&fleet, &all(), SOON).await;
    let numbers: (i64, i64) =
        sqlx::query_as("select count(distinct replay_seq), count(replay_seq) from ops.dead_letters")
            .fetch_one(fleet.pool())
            .await
            .expect("the numbers");
    assert_eq!(numbers, (600, 600));
}

#[tokio::test]
async fn a_stage_that_is_killed_while_it_takes_up_goes_on_where_it_was() {
    let fleet = launch(&[]).await;
    for (window, numbers, users) in [("replay_numbered", 0..100, 0..25), ("replay_sent", 100..200, 25..40)] {
        // GIVEN orders that wait
        let user = |number: i64| {
            KNOWN.0 + usize::try_from(number % 10).unwrap_or_default() + usize::from(users.start > 0) * 12
        };
        fleet
            .ingest(&numbers.clone().map(|number| order_of(number, user(number), 0, 0)).collect::<Vec<_>>())
            .await;
        assert_parked(&fleet, 100).await;
        // WHEN stg dies while it takes them up
        fleet.terminate(Service::Stg).await;
        let some = Reference::invented(users.end, KNOWN.1, KNOWN.2);
        fleet.put_reference(&some).await;
        fleet.start_failing(Service::Stg, &format!("{window}:kill"));
        assert_died_in(&fleet, Service::Stg, window).await;
        assert_eq!(count(&fleet, "replaying").await, 100, "{window}");
        // THEN the next one finishes it, and each counts once
        fleet.start(Service::Stg);
        fleet.wait_healthy(Service::Stg).await;
        assert_taken_up(&fleet, &some, SOON).await;
    }
    assert_eq!(count(&fleet, "replayed").await, 200);
}

#[tokio::test]
async fn parked_orders_can_be_looked_at_replayed_and_discarded_by_hand() {
    // GIVEN orders that wait
    let fleet = launch(&[]).await;
    fleet.ingest(&of_strangers(0..3)).await;
    assert_parked(&fleet, 3).await;
    let listed = fleet.strata_ok(&["dlq", "list", "--status", "parked", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["total"], json!(3), "{listed}");
    let first = &listed["dead_letters"][0];
    let shown = fleet.strata_ok(&["dlq", "show", &first["id"].to_string()]).await;
    let wanted = first["waits_for"][0].as_str().expect("a reference");
    assert!(wanted.starts_with("user/") && shown.contains(wanted), "{shown}");
    // WHEN one is replayed by hand, in vain THEN it waits again and counts its attempts
    fleet.strata_ok(&["dlq", "replay", "--id", &first["id"].to_string(), "--wait", "60"]).await;
    assert_parked(&fleet, 3).await;
    let attempts: i32 =
        sqlx::query_scalar("select max(attempts) from ops.dead_letters where status = 'parked'")
            .fetch_one(fleet.pool())
            .await
            .expect("attempts");
    assert_eq!(attempts, 2);
    // WHEN they are discarded and the users arrive
    fleet.strata_ok(&["dlq", "discard", "--all"]).await;
    fleet.put_reference(&all()).await;
    fleet.ingest(&[order_of(9, 15, 0, 0)]).await;
    fleet.at_rest(SOON).await;
    // THEN they stay where they are
    assert_eq!((count(&fleet, "discarded").await, count(&fleet, "parked").await), (3, 0));
    let stored: i64 = sqlx::query_scalar("select count(*) from dds.h_order")
        .fetch_one(fleet.pool())
        .await
        .expect("the orders");
    assert_eq!(stored, 1);
}
