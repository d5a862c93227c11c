//! Records that cannot be used, among good ones.

use serde_json::{Value, json};
use strata_testkit::{Model, NewRecord, Service, assert_warehouse_equals};

use crate::dead_letters::{Bad, assert_dead_letters, bad};
use crate::support::{SOON, launch, simple_order};

/// A valid order with one thing changed.
fn changed(number: i64, change: impl FnOnce(&mut Value)) -> String {
    let mut message = simple_order(number, "CLOSED");
    change(&mut message);
    message.to_string()
}

/// A valid order with a further field in its payload, given as text.
fn with_extra(number: i64, extra: &str) -> String {
    let message = simple_order(number, "CLOSED").to_string();
    message.replacen("\"payload\":{", &format!("\"payload\":{{\"extra\":{extra},"), 1)
}

fn bad_orders() -> Vec<Bad> {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = |m: &mut Value| {
        let first = m["payload"]["order_items"][0].clone();
        m["payload"]["order_items"].as_array_mut().expect("items").push(first);
    };
    vec![
        bad("cut off", "{\"object_id\": 1, ", "malformed_json"),
        bad("no text", vec![0xff, 0xfe, 0x00], "malformed_json"),
        Bad { what: "a tombstone", body: None, reason: "malformed_json" },
        bad("brackets without an end", "[".repeat(100_000), "invalid_structure"),
        bad("another shape", "[1, 2, 3]", "invalid_structure"),
        bad("an id of text", changed(1000, |m| m["object_id"] = json!("one")), "invalid_structure"),
        bad(
            "items of text",
            changed(1001, |m| m["payload"]["order_items"] = json!("soup")),
            "invalid_structure",
        ),
        bad(
            "a status of its own",
            changed(1002, |m| m["payload"]["final_status"] = json!("LOST")),
            "invalid_structure",
        ),
        bad(
            "a price below zero",
            changed(1003, |m| m["payload"]["order_items"][0]["price"] = json!(-1)),
            "negative_amount",
        ),
        bad("a cost below zero", changed(1004, |m| m["payload"]["cost"] = json!(-0.01)), "negative_amount"),
        bad(
            "sent in antiquity",
            changed(1005, |m| m["sent_dttm"] = json!("0044-03-15T12:00:00Z")),
            "date_out_of_range",
        ),
        bad(
            "ordered in the future",
            changed(1006, |m| m["payload"]["date"] = json!("2999-01-01T00:00:00Z")),
            "date_out_of_range",
        ),
        bad("no order", changed(1007, |m| m["object_type"] = json!("refund")), "unknown_object_type"),
        bad("nothing ordered", changed(1008, |m| m["payload"]["order_items"] = json!([])), "empty_order"),
        bad("a product twice", changed(1009, twice), "duplicate_product"),
        bad(
            "an id of another form",
            changed(1010, |m| m["payload"]["user"]["id"] = json!("me")),
            "invalid_id",
        ),
        bad("a character that Postgres refuses", with_extra(1014, "\"\\u0000\""), "refused_by_store"),
        bad("a depth that Postgres refuses", with_extra(1015, &nested), "refused_by_store"),
    ]
}

/// Bodies that neither dds nor cdm can use.
fn bad_between_layers() -> Vec<Bad> {
    vec![
        bad("no JSON", "nothing", "malformed_json"),
        Bad { what: "a tombstone", body: None, reason: "malformed_json" },
        bad("a number", "5", "invalid_structure"),
    ]
}

/// Bad records, each between two good ones.
fn mixed(bad: &[Bad]) -> Vec<NewRecord> {
    let mut records = Vec::new();
    for (number, bad) in (0..).zip(bad) {
        let partition = i32::try_from(number % 6).expect("a small number");
        records.push(NewRecord::of(simple_order(number, "CLOSED").to_string()).partition(partition));
        let record = NewRecord { payload: bad.body.clone(), ..NewRecord::default() };
        records.push(record.key("bad").partition(partition));
        records.push(NewRecord::of(simple_order(number + 500, "CLOSED").to_string()).partition(partition));
    }
    records
}

#[tokio::test]
async fn what_cannot_be_used_is_kept_with_its_reason_and_stops_nothing() {
    // GIVEN bad records on every topic, good ones around them
    let fleet = launch(&[]).await;
    let (bad, between) = (bad_orders(), bad_between_layers());
    fleet.kafka().produce(&fleet.stg_topic(), &mixed(&bad)).await;
    let records: Vec<NewRecord> =
        between.iter().map(|bad| NewRecord { payload: bad.body.clone(), ..NewRecord::default() }).collect();
    for topic in [fleet.dds_topic(), fleet.cdm_topic()] {
        fleet.kafka().produce(&topic, &records).await;
    }
    // WHEN all is read
    fleet.at_rest(SOON).await;
    // THEN each bad record is a dead letter
    assert_dead_letters(&fleet, Service::Stg, &fleet.stg_topic(), &bad).await;
    for service in [Service::Dds, Service::Cdm] {
        assert_dead_letters(&fleet, service, &fleet.input_of(service), &between).await;
    }
    // AND the good ones arrived
    let mut model = Model::default();
    let reference = fleet.reference().await;
    let records = fleet.kafka().read_all(&fleet.stg_topic()).await;
    let good = records.iter().filter(|record| record.key.as_deref() != Some(b"bad"));
    good.for_each(|record| model.accept(record, &reference));
    assert_eq!(model.order_count(), bad.len() * 2);
    assert_warehouse_equals(fleet.pool(), &model).await;
    // AND everybody is well
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
}
