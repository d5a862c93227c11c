//! Clicks: both forms of one, those that cannot be used, and those that come again. What holds for every stream is in
//! `streams.rs`.

use serde_json::{Value, json};
use sqlx::Executor as _;
use strata_streams::click::DEF;
use strata_streams::click::golden::{CLEANED, RAW, RAW_ARRAY};
use strata_testkit::builders::ndjson;
use strata_testkit::click::{ClickModel, click_differences};
use strata_testkit::{Fleet, NewRecord, Service, assert_no_dead_letters};

use crate::dead_letters::{Bad, assert_dead_letters, bad};
use crate::support::SOON;

/// Where clicks are taken.
const INGEST: &str = "/ingest/click";

/// The golden click as an object.
fn golden() -> Value {
    serde_json::from_str(RAW).expect("JSON")
}

/// The golden click as an array.
fn golden_array() -> Value {
    serde_json::from_str(RAW_ARRAY).expect("JSON")
}

/// The golden click of another user, known by `event_id`.
fn named(user: usize, event_id: &str) -> Value {
    let mut click = golden();
    click["user_id"] = json!(format!("u-{user}"));
    click["event_id"] = json!(event_id);
    click
}

/// The topics of stg and dds.
fn topics(fleet: &Fleet) -> [String; 2] {
    [0, 1].map(|hop| fleet.topic(DEF.spec.hops[hop].topic.env))
}

/// Waits until nothing moves, compares every layer with the model, and counts the clicks.
async fn assert_exact(fleet: &Fleet) -> i64 {
    fleet.assert_exact(&DEF, SOON).await;
    assert_no_dead_letters(fleet.pool()).await;
    let count = sqlx::query_scalar("select count(*) from dds.l_click");
    count.fetch_one(fleet.pool()).await.expect("a count")
}

#[tokio::test]
async fn clicks_arrive_as_objects_and_arrays_in_lines_and_lists() {
    // GIVEN a fleet
    let fleet = Fleet::launch().await;
    let (object, array) = (golden(), golden_array());
    let lines = ndjson(&[object.clone(), array.clone(), array.clone()]);
    // WHEN clicks come in every form: one object, lines of both, a list of both
    for (content_type, body, accepted) in [
        ("application/json", object.to_string(), 1),
        ("application/x-ndjson", lines.clone(), 3),
        ("application/json", json!([array, object]).to_string(), 2),
    ] {
        let answer = fleet.post_as(Service::DataSource, INGEST, content_type, body).await.ok();
        // THEN each is taken
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(accepted), &json!([])), "{answer}");
    }
    // AND so are they from a pipe, where lines may begin with an array
    let lines = format!("{array}\n{lines}");
    let ingest = ["ingest", "-", "--stream", "click"];
    let output =
        fleet.strata_fed(&[&ingest[..], &["--format", "ndjson"]].concat(), &[], lines.as_bytes()).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "4 accepted, 0 rejected\n");
    assert_eq!(assert_exact(&fleet).await, 10);
    // AND all of them say the same, by an identity of their own
    let [raw, cleaned] = topics(&fleet);
    let cleaned = fleet.kafka().read_all(&cleaned).await;
    let said: Value = serde_json::from_str(CLEANED).expect("JSON");
    for record in &cleaned {
        let body: Value =
            serde_json::from_slice(record.payload.as_deref().unwrap_or_default()).expect("JSON");
        assert_eq!(body, said);
        assert_eq!(record.key.as_deref(), said["user_id"].as_str().map(str::as_bytes));
        assert!(record.header("event_id").is_some_and(|id| id.len() == 36), "{record:?}");
    }
    assert_eq!(cleaned.len(), 10);
    // AND both forms with one event_id are one click
    for body in [&array, &object, &array] {
        let record = NewRecord::of(body.to_string()).with_header("event_id", "one click").partition(0);
        fleet.kafka().produce(&raw, &[record]).await;
    }
    assert_eq!(assert_exact(&fleet).await, 11);
}

/// The golden click with one field changed.
fn changed(field: &str, value: Value) -> String {
    let mut click = golden();
    click[field] = value;
    click.to_string()
}

fn bad_clicks() -> Vec<Bad> {
    let fields = golden_array();
    let fields = fields.as_array().expect("an array");
    let mut wrong_type = golden_array();
    wrong_type[1] = json!(1_740_217_394);
    vec![
        bad("garbage", "\u{1}\u{2} garbage", "malformed_json"),
        Bad { what: "a tombstone", body: None, reason: "malformed_json" },
        bad("an array of seven", json!(fields[..7]).to_string(), "invalid_structure"),
        bad("an array of nine", json!([&fields[..], &fields[..1]].concat()).to_string(), "invalid_structure"),
        bad("an empty array", "[]", "invalid_structure"),
        bad("an array with a number", wrong_type.to_string(), "invalid_structure"),
        bad("a text", "\"a click\"", "invalid_structure"),
        bad("no user", changed("user_id", Value::Null), "invalid_structure"),
        bad("a user of spaces", changed("user_id", json!("  ")), "invalid_text"),
        bad("a time in words", changed("timestamp", json!("yesterday")), "invalid_structure"),
        bad("a time as a number", changed("timestamp", json!(1_740_217_394)), "invalid_structure"),
        bad("a day that is none", changed("timestamp", json!("2025-02-30T09:43:14")), "invalid_structure"),
        bad(
            "a time before computers",
            changed("timestamp", json!("1815-12-10T00:00:00Z")),
            "date_out_of_range",
        ),
        bad("no page", changed("url", json!("")), "invalid_text"),
        bad("a page as a novel", changed("url", json!("ы".repeat(2001))), "invalid_text"),
        bad("no country", changed("country", json!(" ")), "invalid_text"),
        bad("a city with a NUL", changed("city", json!("Coim\u{0}bra")), "invalid_text"),
        bad("an empty event_id", changed("event_id", json!("")), "invalid_text"),
        bad("a character that Postgres refuses", changed("extra", json!("\u{0}")), "refused_by_store"),
    ]
}

fn bad_cleaned() -> Vec<Bad> {
    let changed = |field: &str, value: Value| {
        let mut click: Value = serde_json::from_str(CLEANED).expect("JSON");
        click[field] = value;
        click.to_string()
    };
    vec![
        bad("no JSON", "nothing", "malformed_json"),
        Bad { what: "a tombstone", body: None, reason: "malformed_json" },
        bad("an array", RAW_ARRAY, "invalid_structure"),
        bad("a time without a zone", changed("timestamp", json!("2025-02-22T09:43:14")), "invalid_structure"),
        bad("no page", changed("url", json!("")), "invalid_text"),
    ]
}

#[tokio::test]
async fn clicks_that_cannot_be_used_are_kept_with_their_reason_and_stop_nothing() {
    // GIVEN bad clicks on both topics, good ones around them
    let fleet = Fleet::launch().await;
    let (topics, refused) = (topics(&fleet), [bad_clicks(), bad_cleaned()]);
    fleet.push_to(&DEF.spec, 100).await;
    for (topic, bad) in topics.iter().zip(&refused) {
        let record = |bad: &Bad| NewRecord { payload: bad.body.clone(), ..NewRecord::default() }.key("bad");
        fleet.kafka().produce(topic, &bad.iter().map(record).collect::<Vec<_>>()).await;
    }
    fleet.push_to(&DEF.spec, 100).await;
    // WHEN all is read
    let good = |record: &strata_testkit::TopicRecord| record.key.as_deref() != Some(b"bad");
    // THEN the good ones arrived
    fleet.assert_exact_of(&DEF, SOON, good).await;
    // AND each bad one is a dead letter
    for ((service, topic), bad) in [Service::Stg, Service::Dds].into_iter().zip(&topics).zip(&refused) {
        assert_dead_letters(&fleet, service, topic, bad).await;
    }
    // AND at the door bad lines are told by their numbers
    let lines = format!("{}no click\n[]\n", ndjson(&[golden(), golden_array()]));
    let answer = fleet.post_lines(Service::DataSource, INGEST, lines).await.ok();
    let rejected: Vec<&Value> =
        answer["rejected"].as_array().expect("rejections").iter().map(|rejected| &rejected["line"]).collect();
    assert_eq!((&answer["accepted"], rejected), (&json!(2), vec![&json!(3), &json!(4)]), "{answer}");
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
}

#[tokio::test]
async fn clicks_that_are_sent_again_with_their_event_id_count_once() {
    // GIVEN clicks with an event_id of their sender and others without, in every layer
    let fleet = Fleet::launch().await;
    let clicks: Vec<Value> = (0..200).map(|number| named(number, &format!("клик {number}"))).collect();
    let ingest = async |clicks: &[Value]| {
        let answer = fleet.post_lines(Service::DataSource, INGEST, ndjson(clicks)).await.ok();
        assert_eq!(answer["accepted"], json!(clicks.len()), "{answer}");
    };
    ingest(&clicks).await;
    fleet.push_to(&DEF.spec, 200).await;
    assert_eq!(assert_exact(&fleet).await, 400);
    // WHEN they are sent again, twice in one body, the second time of another page and country
    let mut again = clicks.clone();
    again.extend(clicks.iter().rev().map(|click| {
        let mut click = click.clone();
        click["url"] = json!("http://shop.example/elsewhere");
        click["country"] = json!("Nowhere");
        click
    }));
    ingest(&again).await;
    // THEN each counts once, as it came first, and the vault has nothing of what came later
    assert_eq!(assert_exact(&fleet).await, 400);
    // WHEN all records before a layer are sent again as they are
    for topic in topics(&fleet) {
        let records = fleet.kafka().read_all(&topic).await;
        let again: Vec<NewRecord> = records.iter().map(NewRecord::from).collect();
        fleet.kafka().produce(&topic, &again).await;
        // THEN every layer still equals the model
        assert_eq!(assert_exact(&fleet).await, 400);
    }
}

#[tokio::test]
async fn clicks_that_a_store_refused_are_replayed_with_the_effect_of_one() {
    for (table, condition) in
        [("stg.click_events", "event_id not like 'refused%'"), ("dds.h_page", "url not like '%refused'")]
    {
        // GIVEN clicks that a layer cannot store for a while, among others
        let fleet = Fleet::launch().await;
        let sql = format!("alter table {table} add constraint refused check ({condition}) not valid");
        fleet.pool().execute(sql.as_str()).await.expect("a constraint");
        let refused = (0..20).map(|number| {
            let mut click = named(number, &format!("refused {number}"));
            click["url"] = json!(format!("http://shop.example/{number}/refused"));
            click
        });
        let clicks: Vec<Value> = refused.chain((0..30).map(|n| named(n, &format!("good {n}")))).collect();
        fleet.post_lines(Service::DataSource, INGEST, ndjson(&clicks)).await.ok();
        fleet.stream_at_rest(&DEF, SOON).await;
        let open =
            "select count(*) from ops.dead_letters where status = 'open' and reason = 'refused_by_store'";
        let open: i64 = sqlx::query_scalar(open).fetch_one(fleet.pool()).await.expect("a count");
        assert_eq!(open, 20, "{table}");
        // WHEN it can again, and they are replayed, again and again
        let sql = format!("alter table {table} drop constraint refused");
        fleet.pool().execute(sql.as_str()).await.expect("no constraint");
        for replayed in [20, 0, 0] {
            let said = fleet.strata_ok(&["dlq", "replay", "--all", "--wait", "60", "--json"]).await;
            let said: Value = serde_json::from_str(&said).expect("JSON");
            assert_eq!(said["replayed"], json!(replayed), "{table}: {said}");
        }
        // THEN each counts once
        fleet.assert_exact(&DEF, SOON).await;
        let links: i64 = sqlx::query_scalar("select count(*) from dds.l_click")
            .fetch_one(fleet.pool())
            .await
            .expect("a count");
        assert_eq!(links, 50, "{table}");
    }
}

/// One wrong thing each, and what must be said.
const WRONG: [(&str, &str); 8] = [
    (
        "delete from stg.click_events where id = (select min(id) from stg.click_events)",
        "stg.click_events: 99 rows",
    ),
    (
        "update stg.click_events set payload = payload || '{\"x\": 1}' where id = (select max(id) from stg.click_events)",
        "is not the first record",
    ),
    (
        "insert into dds.h_country values (gen_random_uuid(), 'Nowhere', now(), 'x')",
        "pages and countries without a click",
    ),
    ("update dds.h_page set url = url || '/' where url = (select min(url) from dds.h_page)", "h_page: "),
    (
        "update dds.l_click set click_dt = click_dt + interval '1 second' where event_id = (select min(event_id) from dds.l_click)",
        "l_click: 100 rows",
    ),
    (
        "update dds.l_click set load_dt = load_dt - interval '1 second' where event_id = (select max(event_id) from dds.l_click)",
        "not with its first record",
    ),
    (
        "update dds.s_click_clients set city = 'Nowhere' \
         where hk_click_pk = (select max(hk_click_pk::text)::uuid from dds.s_click_clients)",
        "s_click_clients: 100 rows",
    ),
    (
        "delete from dds.h_user where h_user_pk = (select max(h_user_pk::text)::uuid from dds.l_click)",
        "clicks of nobody",
    ),
];

#[tokio::test]
async fn the_comparison_of_clicks_notices_what_is_wrong() {
    // GIVEN layers that equal the model
    let fleet = Fleet::launch().await;
    fleet.push_to(&DEF.spec, 100).await;
    assert_eq!(assert_exact(&fleet).await, 100);
    let ([topic, _], mut model) = (topics(&fleet), ClickModel::default());
    fleet.kafka().read_all(&topic).await.iter().for_each(|record| model.accept(&topic, record));
    // WHEN one thing after the other goes wrong THEN each is noticed, and not before
    for (sql, what) in WRONG {
        let says =
            async || click_differences(fleet.pool(), &model).await.iter().any(|line| line.contains(what));
        assert!(!says().await, "{what} too early");
        fleet.pool().execute(sql).await.expect(sql);
        assert!(says().await, "{what} is not said of {sql}");
    }
}

#[tokio::test]
async fn what_the_vault_lost_of_clicks_is_noticed_and_rebuilt() {
    // GIVEN clicks in the vault, some rows of every table of which are lost
    let fleet = Fleet::launch().await;
    fleet.push_to(&DEF.spec, 300).await;
    assert_exact(&fleet).await;
    for table in ["l_click", "s_click_clients", "h_page", "h_country", "h_user"] {
        let lose = format!("delete from dds.{table} as t where hashtext(t::text) % 4 = 0");
        let lost = fleet.pool().execute(&*lose).await.expect("rows").rows_affected();
        assert!(lost > 0, "{table}");
    }
    // THEN reconcile says so
    assert!(!fleet.strata(&["reconcile"]).await.status.success());
    // AND a rebuild brings them back from the raw layer
    fleet.strata_ok(&["rebuild", "vault"]).await;
    assert_exact(&fleet).await;
    fleet.strata_ok(&["reconcile"]).await;
}
