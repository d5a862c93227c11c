//! Searches that cannot be used, among good ones, on the topics and at the door.

use serde_json::{Map, Value, json};
use strata_testkit::builders::ndjson;
use strata_testkit::search::{golden_searches, log_line};
use strata_testkit::{Fleet, NewRecord, SearchModel, Service, TopicRecord, assert_searches_equal, search};

use crate::dead_letters::{Bad, assert_dead_letters, bad};
use crate::support::SOON;

/// The golden search with one field changed.
fn changed(field: &str, value: Value) -> String {
    let (mut raw, _) = golden_searches();
    raw[field] = value;
    raw.to_string()
}

fn without(field: &str) -> String {
    let (mut raw, _) = golden_searches();
    raw.as_object_mut().expect("an object").remove(field);
    raw.to_string()
}

fn bad_searches() -> Vec<Bad> {
    let offer = |offer: Value| changed("hotel_advertisers", json!({"Amoma": [offer]}));
    let crowd: Map<String, Value> = (0..1001).map(|number| (format!("a{number}"), json!([]))).collect();
    let (raw, _) = golden_searches();
    let with_nul = raw.to_string().replacen('{', "{\"extra\":\"\\u0000\",", 1);
    vec![
        bad("garbage", "\u{1}\u{2} garbage", "malformed_json"),
        bad("cut off", &raw.to_string()[..50], "malformed_json"),
        bad("no text", vec![0xff, 0xfe], "malformed_json"),
        Bad { what: "a tombstone", body: None, reason: "malformed_json" },
        bad("another shape", "[]", "invalid_structure"),
        bad("a user that is no uuid", changed("user_id", json!("001adddd")), "invalid_structure"),
        bad("no user", without("user_id"), "invalid_structure"),
        bad("no hotel", without("hotel_id"), "invalid_structure"),
        bad("a hotel of spaces", changed("hotel_id", json!("  ")), "invalid_text"),
        bad("a hotel as a number", changed("hotel_id", json!(6033)), "invalid_structure"),
        bad("a hotel with a NUL", changed("hotel_id", json!("60\u{0}33")), "invalid_text"),
        bad("a hotel as a novel", changed("hotel_id", json!("ы".repeat(201))), "invalid_id"),
        bad("no time", without("search_timestamp"), "invalid_structure"),
        bad(
            "a time in milliseconds",
            changed("search_timestamp", json!(1_620_224_528_000_i64)),
            "date_out_of_range",
        ),
        bad("a time before computers", changed("search_timestamp", json!(-1)), "date_out_of_range"),
        bad("a time as text", changed("search_timestamp", json!("now")), "invalid_structure"),
        bad("an empty event_id", changed("event_id", json!("")), "invalid_text"),
        bad("a price as text", offer(json!({"eurocents": "7474"})), "invalid_structure"),
        bad("half a cent", offer(json!({"eurocents": 74.5})), "invalid_structure"),
        bad(
            "a breakfast of its own",
            offer(json!({"eurocents": 1, "breakfast": "maybe"})),
            "invalid_structure",
        ),
        bad("offers of text", changed("hotel_advertisers", json!({"Amoma": "cheap"})), "invalid_structure"),
        bad("a crowd", changed("hotel_advertisers", Value::Object(crowd)), "too_many_items"),
        bad("a character that Postgres refuses", with_nul, "refused_by_store"),
    ]
}

/// Bodies that the layers behind stg cannot use.
fn bad_between_layers() -> Vec<Bad> {
    let processed = |field: &str, value: Value| {
        let (_, mut processed) = golden_searches();
        processed[field] = value;
        processed.to_string()
    };
    let offer = |price: i64| processed("min_offer", json!({"price": price, "advertiser": "Amoma"}));
    vec![
        bad("no JSON", "nothing", "malformed_json"),
        Bad { what: "a tombstone", body: None, reason: "malformed_json" },
        bad("no uuid", processed("user_id", json!("me")), "invalid_structure"),
        bad("an absurd time", processed("search_timestamp", json!(0)), "date_out_of_range"),
        bad("a gift", offer(0), "negative_amount"),
        bad("a palace", offer(1_000_000_001), "amount_out_of_range"),
        bad("an advertiser without a name", processed("advertisers", json!(["Amoma", ""])), "invalid_text"),
    ]
}

fn records(bad: &[Bad]) -> Vec<NewRecord> {
    let record = |bad: &Bad| NewRecord { payload: bad.body.clone(), ..NewRecord::default() }.key("bad");
    bad.iter().map(record).collect()
}

/// The model of the records that satisfy `good`.
async fn model_of(fleet: &Fleet, good: impl Fn(&TopicRecord) -> bool) -> SearchModel {
    let (topic, mut model) = (fleet.raw_topic(), SearchModel::default());
    let records = fleet.kafka().read_all(&topic).await;
    records.iter().filter(|record| good(record)).for_each(|record| model.accept(&topic, record));
    model
}

#[tokio::test]
async fn searches_that_cannot_be_used_are_kept_with_their_reason_and_stop_nothing() {
    // GIVEN bad searches on every topic, good ones around them
    let fleet = Fleet::launch().await;
    let (bad_raw, between) = (bad_searches(), bad_between_layers());
    fleet.push_searches(100).await;
    fleet.kafka().produce(&fleet.raw_topic(), &records(&bad_raw)).await;
    let (_, mut processed) = golden_searches();
    processed["min_offer"]["advertiser"] = json!("Nobody");
    let mut bad_processed = bad_between_layers();
    bad_processed.push(bad("a winner who offers nothing", processed.to_string(), "unknown_advertiser"));
    fleet.kafka().produce(&fleet.processed_topic(), &records(&bad_processed)).await;
    fleet.kafka().produce(&fleet.metrics_topic(), &records(&between)).await;
    fleet.push_searches(100).await;
    // WHEN all is read
    fleet.searches_at_rest(SOON).await;
    // THEN each bad record is a dead letter
    assert_dead_letters(&fleet, Service::Stg, &fleet.raw_topic(), &bad_raw).await;
    assert_dead_letters(&fleet, Service::Dds, &fleet.processed_topic(), &bad_processed).await;
    assert_dead_letters(&fleet, Service::Cdm, &fleet.metrics_topic(), &between).await;
    // AND the good ones arrived
    let model = model_of(&fleet, |record| record.key.as_deref() != Some(b"bad")).await;
    assert_eq!(model.count(), 200);
    assert_searches_equal(&fleet, &model).await;
    // AND everybody is well
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
}

#[tokio::test]
async fn bad_lines_are_reported_by_number_and_kept_while_good_ones_pass() {
    // GIVEN bodies with good and bad lines in both forms
    let fleet = Fleet::launch().await;
    let good = search(1, "6032").offer("Amoma", 7474);
    let user = good.build()["user_id"].as_str().expect("a user").to_owned();
    let log = [
        log_line(&[good.clone(), search(1, "6033")]),
        format!("{user}\t1620224528\n"),
        format!("{user}\n"),
        "me\t1620224528\t{6032:{\"advertisers\":{}}}\n".to_owned(),
        format!("{user}\tyesterday\t{{6032:{{\"advertisers\":{{}}}}}}\n"),
        format!("{user}\t1620224528\t{{6032:{{\"advertisers\":\n"),
        format!("{user}\t99999999999\t{{6032:{{\"advertisers\":{{}}}}}}\n"),
        format!("{user}\t1620224528\t{{}}\n"),
    ];
    let json = [good.build(), json!({"hotel_id": "6032"}), json!([1]), good.build()];
    // WHEN they are ingested
    let from_log = fleet.ingest_log(log.concat()).await.ok();
    let from_json = fleet.post_lines(Service::DataSource, "/ingest/hotel_search", ndjson(&json)).await.ok();
    // THEN the good ones are taken and the bad ones named
    let lines = |body: &Value| -> Vec<u64> {
        let rejected = body["rejected"].as_array().expect("rejections");
        assert!(
            rejected.iter().all(|line| line["error"].as_str().is_some_and(|why| !why.is_empty())),
            "{body}"
        );
        rejected.iter().filter_map(|line| line["line"].as_u64()).collect()
    };
    assert_eq!((from_log["accepted"].as_u64(), lines(&from_log)), (Some(2), (2..=8).collect()), "{from_log}");
    assert_eq!((from_json["accepted"].as_u64(), lines(&from_json)), (Some(2), vec![2, 3]), "{from_json}");
    // WHEN nothing of a body is good
    let refused = [fleet.ingest_log(log[1..].concat()).await, fleet.ingest_log("no tabs\n".to_owned()).await];
    let refused_json =
        fleet.post_lines(Service::DataSource, "/ingest/hotel_search", ndjson(&json[1..3])).await;
    // THEN the body is refused, line by line
    for (answer, expected) in refused.iter().chain([&refused_json]).zip([7, 1, 2]) {
        assert_eq!(answer.status, 422, "{}", answer.body);
        assert_eq!(lines(&answer.body), (1..=expected).collect::<Vec<u64>>(), "{}", answer.body);
    }
    let empty = fleet.ingest_log("\n\n".to_owned()).await;
    assert_eq!(empty.status, 400, "{}", empty.body);
    // AND all the bad lines are dead letters of stg, the good ones are counted
    fleet.searches_at_rest(SOON).await;
    let dead_letters: i64 =
        sqlx::query_scalar("select count(*) from ops.dead_letters where stage = 'stg' and topic = $1")
            .bind(fleet.raw_topic())
            .fetch_one(fleet.pool())
            .await
            .expect("the dead letters");
    assert_eq!(dead_letters, 7 + 2 + 7 + 1 + 2);
    let model = model_of(&fleet, |record| record.key.is_some()).await;
    assert_eq!(model.count(), 4);
    assert_searches_equal(&fleet, &model).await;
}

#[tokio::test]
async fn a_search_without_a_usable_offer_counts_all_but_a_price() {
    // GIVEN searches whose offers are nothing, none, negative, free, absurd or nameless
    let fleet = Fleet::launch().await;
    let bodies = [
        search(1, "6032"),
        search(1, "6032").nothing_from("Amoma"),
        search(1, "6032").offer("Amoma", -1).offer(" Amoma ", 0),
        search(1, "6032").offer("Amoma", 1_000_000_001),
        search(1, "6032").raw_offer("Amoma", json!({"eurocents": null})),
        search(1, "6032").offer("  ", 5),
    ]
    .map(|search| search.build());
    // WHEN they are ingested
    fleet.ingest_searches(&bodies).await;
    let model = super::support::assert_exact(&fleet).await;
    // THEN user, hotel and advertiser are counted
    assert_eq!(model.count(), 6);
    let metrics = fleet.metrics().await;
    assert_eq!(metrics.users.into_values().collect::<Vec<_>>(), [6]);
    assert_eq!(json!(metrics.hotels), json!({"6032": 6}));
    assert_eq!(json!(metrics.advertisers), json!({"Amoma": 4}));
    // AND nobody has a price
    assert!(metrics.prices.is_empty(), "{:?}", metrics.prices);
    for record in fleet.kafka().read_all(&fleet.processed_topic()).await {
        let body: Value = serde_json::from_slice(&record.payload.unwrap_or_default()).expect("JSON");
        assert_eq!(body.get("min_offer"), Some(&Value::Null), "{body}");
    }
}
