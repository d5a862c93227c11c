//! `strata dlq`: looking at dead letters, replaying them, and letting them be.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::{Value, json};
use sqlx::Executor as _;
use strata_events::stream::dlq_topic;
use strata_testkit::{Fleet, NewRecord, Reference, assert_warehouse_equals, order, search};
use strata_testkit::{assert_searches_equal, eventually};

use crate::reconcile::assert_clean;
use crate::support::{SOON, launch, reference, simple_order};

/// How a process ends that kills itself in a window.
const SIGABRT: i32 = 6;

/// The user of the orders that stg refuses is the last of so many.
const OTHER_USERS: usize = 15;

/// Users and restaurants of the tests, and one user more.
fn with_one_more() -> Reference {
    Reference::invented(OTHER_USERS + 1, 4, 8)
}

/// What Postgres takes of orders while it refuses those of [`refused_orders`].
const REFUSE: &str = "object_id not between 9100000000 and 9199999999";

/// Orders that Postgres refuses under [`REFUSE`].
fn refused_orders(count: i64) -> Vec<Value> {
    let reference = with_one_more();
    let made = (0..count).map(|number| {
        let place = usize::try_from(number).unwrap_or_default();
        let refused = order(9_100_000_000 + number).user(reference.user(OTHER_USERS));
        refused.dishes(reference.restaurant(place % 4), [place % 8, (place + 1) % 8]).status("CLOSED").build()
    });
    made.collect()
}

/// Runs `strata dlq …` with `--json`; it must succeed.
async fn dlq(fleet: &Fleet, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["dlq"].iter().chain(arguments).chain(&["--json"]).copied().collect();
    let output = fleet.strata(&arguments).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}: {error}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}"))
}

/// How many dead letters a list with these filters has.
async fn listed(fleet: &Fleet, filters: &[&str]) -> u64 {
    let arguments: Vec<&str> = ["list"].iter().chain(filters).copied().collect();
    let found = dlq(fleet, &arguments).await;
    let rows = found["dead_letters"].as_array().map_or(0, Vec::len) as u64;
    assert_eq!(found["total"], json!(rows), "{filters:?}: {found}");
    rows
}

/// Dead letters by status and number of attempts.
async fn dead_letters(fleet: &Fleet) -> Vec<(String, i32, i64)> {
    sqlx::query_as("select status, attempts, count(*) from ops.dead_letters group by 1, 2 order by 1, 2")
        .fetch_all(fleet.pool())
        .await
        .expect("the dead letters")
}

fn tally(rows: &[(&str, i32, i64)]) -> Vec<(String, i32, i64)> {
    rows.iter().map(|(status, attempts, count)| ((*status).to_owned(), *attempts, *count)).collect()
}

async fn at_rest(fleet: &Fleet) {
    fleet.all_at_rest(SOON).await;
}

/// Waits until everything that was sent became what it becomes, and compares with the model.
async fn assert_exact(fleet: &Fleet) {
    at_rest(fleet).await;
    let model = fleet.model(&fleet.reference().await).await;
    assert_warehouse_equals(fleet.pool(), &model).await;
    let searches = fleet.search_model().await;
    if searches.count() > 0 {
        assert_searches_equal(fleet, &searches).await;
    }
    assert_clean(fleet).await;
}

/// A fleet with so many dead letters that Postgres refused, among good orders.
async fn with_refused(count: i64) -> Fleet {
    let fleet = launch(&[]).await;
    fleet.put_reference(&with_one_more()).await;
    constrain(&fleet, "stg.order_events", REFUSE).await;
    fleet.ingest(&(0..30).map(|number| simple_order(number, "CLOSED")).collect::<Vec<_>>()).await;
    fleet.ingest(&refused_orders(count)).await;
    at_rest(&fleet).await;
    assert_eq!(dead_letters(&fleet).await, tally(&[("open", 1, count)]));
    // What is refused is accounted for.
    assert_clean(&fleet).await;
    fleet
}

#[tokio::test]
async fn dead_letters_are_found_by_reason_stream_stage_and_time() {
    // GIVEN dead letters of several kinds, one of them old
    let fleet = with_refused(3).await;
    for (topic, body) in [
        (fleet.stg_topic(), "no order"),
        (fleet.dds_topic(), "no fact"),
        (fleet.raw_topic(), "no search"),
        (fleet.metrics_topic(), "no metric"),
    ] {
        fleet.kafka().produce(&topic, &[NewRecord::of(body).key("a key")]).await;
    }
    at_rest(&fleet).await;
    let age = "update ops.dead_letters set first_seen = '2020-05-01T12:00:00Z' where payload = 'no fact'";
    assert_eq!(fleet.pool().execute(age).await.expect("an old one").rows_affected(), 1);
    // WHEN they are listed THEN the filters hold, alone and together
    for (filters, count) in [
        (&[][..], 7),
        (&["--reason", "refused_by_store"], 3),
        (&["--reason", "malformed_json"], 4),
        (&["--stream", "order"], 5),
        (&["--stream", "hotel_search"], 2),
        (&["--stage", "cdm"], 1),
        (&["--stage", "stg", "--stream", "order", "--reason", "malformed_json"], 1),
        (&["--since", "1h"], 6),
        (&["--until", "2020-05-02"], 1),
        (&["--since", "2020-05-01T12:00:00Z", "--until", "2020-05-01T12:00:01Z"], 1),
        (&["--since", "2020-05-01T12:00:01Z", "--until", "2020-05-02"], 0),
        (&["--status", "discarded"], 0),
        (&["--status", "any"], 7),
    ] {
        assert_eq!(listed(&fleet, filters).await, count, "{filters:?}");
    }
    // AND one is shown as it came, and lies on its topic as it came
    let found = dlq(&fleet, &["list", "--stream", "hotel_search", "--stage", "stg"]).await;
    let id = found["dead_letters"][0]["id"].to_string();
    let shown = dlq(&fleet, &["show", &id]).await;
    assert_eq!((&shown["payload"], &shown["key"]), (&json!("no search"), &json!("a key")), "{shown}");
    let copies = fleet.kafka().read_all(&dlq_topic(&fleet.raw_topic())).await;
    let original = fleet.kafka().read_all(&fleet.raw_topic()).await;
    assert_eq!((copies.len(), original.len()), (1, 1));
    let (copy, original) = (&copies[0], &original[0]);
    assert_eq!((&copy.payload, &copy.key), (&original.payload, &original.key));
    assert_eq!(copy.timestamp_ms, original.timestamp_ms);
    let coordinates = format!("{}/{}/{}", fleet.raw_topic(), original.partition, original.offset);
    for (name, value) in [
        ("origin", coordinates.as_str()),
        ("reason", "malformed_json"),
        ("stage", "stg"),
        ("original_topic", &fleet.raw_topic()),
        ("original_partition", &original.partition.to_string()),
        ("original_offset", &original.offset.to_string()),
    ] {
        assert_eq!(copy.header(name), Some(value), "{name}");
    }
    assert!(copy.header("detail").is_some_and(|detail| !detail.is_empty()));
    // AND what is not there is said to be missing
    let missing = fleet.strata(&["dlq", "show", "4711"]).await;
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no dead letter 4711"));
}

#[tokio::test]
async fn a_replay_that_is_run_three_times_has_the_effect_of_one_event() {
    // GIVEN dead letters whose cause is removed
    let fleet = with_refused(20).await;
    release(&fleet, "stg.order_events").await;
    // WHEN they are replayed again and again
    let first = dlq(&fleet, &["replay", "--reason", "refused_by_store", "--wait", "60"]).await;
    assert_eq!((&first["replayed"], &first["refused_again"]), (&json!(20), &json!(0)), "{first}");
    for _ in 0..2 {
        let again = dlq(&fleet, &["replay", "--all", "--wait", "60"]).await;
        assert_eq!(again["replayed"], json!(0), "{again}");
    }
    // THEN each counts once
    assert_eq!(dead_letters(&fleet).await, tally(&[("replayed", 2, 20)]));
    assert_exact(&fleet).await;
}

#[tokio::test]
async fn replays_that_are_run_at_once_share_the_work() {
    // GIVEN dead letters whose cause is removed
    let fleet = with_refused(40).await;
    release(&fleet, "stg.order_events").await;
    // WHEN several replay at once, and one after them
    let replay = || fleet.strata(&["dlq", "replay", "--all", "--json"]);
    let (a, b, c) = tokio::join!(replay(), replay(), replay());
    let mut replayed = 0;
    for output in [a, b, c, replay().await] {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        match serde_json::from_slice::<Value>(&output.stdout) {
            Ok(done) => replayed += done["replayed"].as_i64().unwrap_or_default(),
            Err(_) => assert!(error.contains("is at work; wait for it to end"), "{}: {error}", output.status),
        }
    }
    // THEN each was replayed by one of them
    assert_eq!(replayed, 40);
    assert_eq!(dead_letters(&fleet).await, tally(&[("replayed", 2, 40)]));
    assert_exact(&fleet).await;
}

#[tokio::test]
async fn a_replay_that_is_killed_in_any_window_is_finished_by_the_next() {
    let fleet = launch(&[]).await;
    fleet.put_reference(&with_one_more()).await;
    let mut refused = refused_orders(40).into_iter();
    for (window, finished) in [("replay_numbered", 20), ("replay_sent", 40)] {
        // GIVEN dead letters whose cause is removed
        constrain(
            &fleet,
            "stg.order_events",
            &format!("{REFUSE} or object_id < {}", 9_100_000_000_i64 + finished - 20),
        )
        .await;
        fleet.ingest(&refused.by_ref().take(20).collect::<Vec<_>>()).await;
        at_rest(&fleet).await;
        release(&fleet, "stg.order_events").await;
        // WHEN a replay dies in a window
        let failing = [("STRATA_FAILPOINT", format!("{window}:kill"))];
        let failing = failing.each_ref().map(|(name, value)| (*name, value.as_str()));
        let died = fleet.strata_with(&["dlq", "replay", "--all"], &failing).await;
        assert_eq!(died.status.signal(), Some(SIGABRT), "{window}: {}", died.status);
        // THEN everything is still accounted for
        at_rest(&fleet).await;
        assert_clean(&fleet).await;
        // AND the next one finishes it, as it was begun
        let next = dlq(&fleet, &["replay", "--all", "--wait", "60"]).await;
        assert_eq!((&next["resumed"], &next["replayed"]), (&json!(20), &json!(20)), "{window}: {next}");
        assert_eq!(dead_letters(&fleet).await, tally(&[("replayed", 2, finished)]), "{window}");
        assert_exact(&fleet).await;
    }
}

/// Has Postgres refuse some rows of a table.
async fn constrain(fleet: &Fleet, table: &str, condition: &str) {
    let sql = format!("alter table {table} add constraint refused check ({condition}) not valid");
    fleet.pool().execute(sql.as_str()).await.expect("a constraint");
}

/// Repairs that.
async fn release(fleet: &Fleet, table: &str) {
    let sql = format!("alter table {table} drop constraint refused");
    fleet.pool().execute(sql.as_str()).await.expect("no constraint");
}

/// What each stage refuses in the next test: table, condition.
const REFUSED: [(&str, &str); 5] = [
    ("stg.order_events", REFUSE),
    ("dds.s_order_cost", "cost <> 777"),
    ("cdm.user_product_counters", "product_name <> 'refused by cdm'"),
    ("stg.hotel_search_events", "hotel_id <> 'stg refuses'"),
    ("dds.h_hotel", "hotel_id <> 'dds refuses'"),
];

#[tokio::test]
async fn dead_letters_of_every_stage_are_replayed_once_their_cause_is_repaired() {
    // GIVEN one event that each stage refuses, among good ones
    let fleet = launch(&[]).await;
    let mut reference = reference();
    let restaurant = reference.restaurant(2).id.clone();
    let menu = &mut reference.restaurants.get_mut(&restaurant).expect("a restaurant").menu;
    "refused by cdm".clone_into(&mut menu[5].name);
    reference.users = with_one_more().users;
    fleet.put_reference(&reference).await;
    for (table, condition) in REFUSED {
        constrain(&fleet, table, condition).await;
    }
    let simple = {
        let (user, place) = (reference.user(1).clone(), reference.restaurant(2).clone());
        move |id: i64, dish| order(id).user(&user).dishes(&place, [dish]).status("CLOSED").build()
    };
    let mut at_dds = simple(9_300_000_001, 1);
    at_dds["payload"]["cost"] = json!(777);
    fleet.ingest(&[simple(9_300_000_000, 0), at_dds, simple(9_300_000_002, 5)]).await;
    fleet.ingest(&refused_orders(1)).await;
    let hotels = ["good", "stg refuses", "dds refuses"];
    fleet.ingest_searches(&hotels.map(|hotel| search(1, hotel).offer("Amoma", 100).build())).await;
    at_rest(&fleet).await;
    let refused: Vec<(String, String, String)> =
        sqlx::query_as("select stage, stream, reason from ops.dead_letters order by stage, stream, reason")
            .fetch_all(fleet.pool())
            .await
            .expect("the dead letters");
    let expected = [
        ("cdm", "order", "refused_by_store"),
        ("dds", "hotel_search", "refused_by_store"),
        ("dds", "order", "refused_by_store"),
        ("stg", "hotel_search", "refused_by_store"),
        ("stg", "order", "refused_by_store"),
    ];
    assert_eq!(refused, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    // AND they are accounted for while they lie there
    assert_clean(&fleet).await;
    // WHEN the causes are removed and the dead letters replayed, more than once
    for (table, _) in REFUSED {
        release(&fleet, table).await;
    }
    let first = dlq(&fleet, &["replay", "--all", "--wait", "60"]).await;
    assert_eq!((&first["replayed"], &first["refused_again"]), (&json!(5), &json!(0)), "{first}");
    assert_eq!(dlq(&fleet, &["replay", "--all", "--wait", "60"]).await["replayed"], json!(0));
    // THEN every layer equals the model
    assert_eq!(dead_letters(&fleet).await, tally(&[("replayed", 2, 5)]));
    assert_exact(&fleet).await;
}

#[tokio::test]
async fn a_search_that_cdm_refused_counts_once_when_its_body_is_put_right() {
    // GIVEN a search on the metrics' topic that cannot be read
    let fleet = launch(&[]).await;
    let searcher = "00000000-0000-0000-0000-000000000007";
    fleet.kafka().produce(&fleet.metrics_topic(), &[NewRecord::of("half a search")]).await;
    at_rest(&fleet).await;
    // WHEN an operator puts it right and replays it, more than once
    let body = json!({"user_id": searcher, "hotel_id": "1", "search_timestamp": 1_620_224_528,
        "advertisers": [], "min_offer": null});
    let repair = sqlx::query("update ops.dead_letters set payload = $1").bind(body.to_string().into_bytes());
    assert_eq!(repair.execute(fleet.pool()).await.expect("repaired").rows_affected(), 1);
    for replayed in [1, 0, 0] {
        let done = dlq(&fleet, &["replay", "--all", "--wait", "60"]).await;
        assert_eq!(done["replayed"], json!(replayed), "{done}");
    }
    // THEN it counts once
    assert_eq!(fleet.metrics().await.users.get(searcher), Some(&1));
}

#[tokio::test]
async fn what_is_still_bad_is_refused_again_and_counts_its_attempts() {
    // GIVEN a dead letter of every stage and stream
    let fleet = launch(&[]).await;
    let topics = [
        fleet.stg_topic(),
        fleet.dds_topic(),
        fleet.cdm_topic(),
        fleet.raw_topic(),
        fleet.processed_topic(),
        fleet.metrics_topic(),
    ];
    for topic in &topics {
        fleet.kafka().produce(topic, &[NewRecord::of(format!("garbage on {topic}"))]).await;
    }
    at_rest(&fleet).await;
    assert_eq!(dead_letters(&fleet).await, tally(&[("open", 1, 6)]));
    // WHEN they are replayed, twice
    for attempt in [2, 3] {
        let done = dlq(&fleet, &["replay", "--all", "--wait", "60"]).await;
        // THEN they are refused again, once each, and nothing runs in circles
        assert_eq!((&done["replayed"], &done["refused_again"]), (&json!(6), &json!(6)), "{done}");
        at_rest(&fleet).await;
        let open: Vec<_> =
            dead_letters(&fleet).await.into_iter().filter(|(status, ..)| status == "open").collect();
        assert_eq!(open, tally(&[("open", attempt, 6)]));
        assert_clean(&fleet).await;
    }
    for topic in &topics {
        assert_eq!(fleet.kafka().count(topic).await, 3, "{topic}");
    }
}

#[tokio::test]
async fn a_discarded_dead_letter_stays_and_is_not_replayed() {
    // GIVEN dead letters of which some are discarded
    let fleet = with_refused(5).await;
    fleet.kafka().produce(&fleet.stg_topic(), &[NewRecord::of("garbage")]).await;
    at_rest(&fleet).await;
    let refused = fleet.strata(&["dlq", "discard"]).await;
    assert!(!refused.status.success(), "everything was discarded by an empty choice");
    let done = dlq(&fleet, &["discard", "--reason", "refused_by_store", "--limit", "2"]).await;
    assert_eq!(done["discarded"].as_array().map(Vec::len), Some(2), "{done}");
    assert_eq!(dead_letters(&fleet).await, tally(&[("discarded", 1, 2), ("open", 1, 4)]));
    // WHEN all are replayed
    release(&fleet, "stg.order_events").await;
    let done = dlq(&fleet, &["replay", "--all", "--wait", "60"]).await;
    assert_eq!((&done["replayed"], &done["refused_again"]), (&json!(4), &json!(1)), "{done}");
    // THEN the discarded ones are not, and still can be looked at
    let rows = [("discarded", 1, 2), ("open", 2, 1), ("replayed", 2, 4)];
    eventually(SOON, "the dead letters as they should be", async || {
        let found = dead_letters(&fleet).await;
        if found == tally(&rows) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(listed(&fleet, &["--status", "discarded"]).await, 2);
    at_rest(&fleet).await;
    let user = with_one_more().user(OTHER_USERS).id.clone();
    let arrived: i64 = sqlx::query_scalar(
        "select count(*) from dds.l_order_user join dds.h_user using (h_user_pk) where user_id = $1",
    )
    .bind(user)
    .fetch_one(fleet.pool())
    .await
    .expect("the orders");
    assert_eq!(arrived, 3);
    assert_clean(&fleet).await;
}
