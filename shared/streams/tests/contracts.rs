//! The golden messages, and what breaks them.

use serde_json::{Value, json};
use strata_events::{Contract, Restaurant, User};
use strata_streams::hotel_search::{ProcessedSearch, Search};
use strata_streams::order::{CountedMessage, FactMessage, Order, OrderStatus};
use strata_streams::{hotel_search, order};

/// Decodes, encodes and compares with the golden message: nothing is lost or renamed on the way.
fn assert_survives<T: Contract<'static> + serde::Serialize>(golden: &'static str) {
    let bytes = golden.as_bytes();
    let decoded = T::decode(bytes).unwrap_or_else(|e| panic!("{golden}: {e}"));
    let mut expected: Value = serde_json::from_slice(bytes).expect("JSON");
    let mut actual = serde_json::to_value(&decoded).expect("serialisable");
    for value in [&mut expected, &mut actual] {
        normalize_dates(value);
    }
    assert_eq!(actual, expected);
}

/// `+00:00` and `Z` are the same moment.
fn normalize_dates(value: &mut Value) {
    match value {
        Value::String(text) if text.ends_with("+00:00") => *text = text.replace("+00:00", "Z"),
        Value::Array(items) => items.iter_mut().for_each(normalize_dates),
        Value::Object(fields) => fields.values_mut().for_each(normalize_dates),
        _ => {}
    }
}

#[test]
fn golden_messages_survive_decoding_and_encoding() {
    assert_survives::<FactMessage<'_>>(order::golden::FACT);
    assert_survives::<CountedMessage<'_>>(order::golden::COUNTED);
    assert_survives::<ProcessedSearch>(hotel_search::golden::PROCESSED);
    assert_survives::<User>(order::golden::USER);
    assert_survives::<Restaurant>(order::golden::RESTAURANT);
}

#[test]
fn the_golden_order_keeps_its_payload_as_received() {
    let bytes = order::golden::RAW.as_bytes();
    let order = Order::decode(bytes).expect("valid");
    assert_eq!(order.object_id, 7_608_298);
    assert_eq!(order.payload.final_status, OrderStatus::Closed);
    assert_eq!(order.payload.order_items.len(), 2);
    let whole: Value = serde_json::from_slice(bytes).expect("JSON");
    let payload: Value = serde_json::from_str(order.raw_payload.get()).expect("JSON");
    assert_eq!(payload, whole["payload"]);
}

#[test]
fn extra_fields_are_allowed() {
    let mut order: Value = serde_json::from_str(order::golden::RAW).expect("JSON");
    order["channel"] = json!("web");
    order["payload"]["coupon"] = json!({"code": "X"});
    let text = order.to_string();
    let decoded = Order::decode(text.as_bytes()).expect("valid");
    assert!(decoded.raw_payload.get().contains("coupon"));
}

#[test]
fn what_cannot_be_used_is_rejected_with_its_reason() {
    let cases: Vec<(&str, &str, Value)> = vec![
        ("invalid_structure", "/object_id", json!("seven")),
        ("invalid_structure", "/object_id", json!(1.5)),
        ("invalid_structure", "/object_id", Value::Null),
        ("unknown_object_type", "/object_type", json!("invoice")),
        ("invalid_structure", "/sent_dttm", json!("yesterday")),
        ("date_out_of_range", "/sent_dttm", json!("9999-01-01T00:00:00Z")),
        ("date_out_of_range", "/payload/date", json!("0001-01-01T00:00:00Z")),
        ("invalid_id", "/payload/user/id", json!("short")),
        ("invalid_id", "/payload/restaurant/id", json!("zf69ef12f4f34c6d86441c69")),
        ("negative_amount", "/payload/cost", json!(-1)),
        ("negative_amount", "/payload/order_items/0/price", json!(-0.01)),
        ("invalid_structure", "/payload/payment", json!("12")),
        ("empty_order", "/payload/order_items", json!([])),
        ("invalid_quantity", "/payload/order_items/0/quantity", json!(0)),
        ("invalid_structure", "/payload/order_items/0/quantity", json!(-1)),
        ("duplicate_product", "/payload/order_items/1/id", json!("97a91f3df3b44224bb8d67a4")),
        ("invalid_structure", "/payload/final_status", json!("EATEN")),
        ("invalid_text", "/payload/order_items/0/name", json!("a\u{0}b")),
        ("invalid_structure", "/payload", json!([])),
    ];
    for (code, pointer, value) in cases {
        let mut order: Value = serde_json::from_str(order::golden::RAW).expect("JSON");
        *order.pointer_mut(pointer).expect(pointer) = value.clone();
        let reject = Order::decode(order.to_string().as_bytes()).expect_err(pointer);
        assert_eq!(reject.code, code, "{pointer} = {value}: {reject}");
    }
}

#[test]
fn bytes_that_are_no_json_are_rejected() {
    for bytes in [&b""[..], b"{", b"\xff\xfe", b"nul"] {
        assert_eq!(Order::decode(bytes).expect_err("garbage").code, "malformed_json");
    }
    let deep = "[".repeat(100_000);
    assert!(CountedMessage::decode(deep.as_bytes()).is_err());
    let large = vec![b' '; strata_events::MAX_EVENT_BYTES + 1];
    assert_eq!(Order::decode(&large).expect_err("too large").code, "too_large");
}

#[test]
fn missing_fields_are_rejected() {
    for pointer in ["/payload/user", "/payload/cost", "/payload/order_items", "/payload", "/object_id"] {
        let mut order: Value = serde_json::from_str(order::golden::RAW).expect("JSON");
        let (parent, field) = pointer.rsplit_once('/').expect("pointer");
        order.pointer_mut(parent).and_then(Value::as_object_mut).expect(parent).remove(field);
        assert_eq!(Order::decode(order.to_string().as_bytes()).expect_err(pointer).code, "invalid_structure");
    }
}

#[test]
fn the_golden_search_is_read_with_its_booleans_given_as_strings() {
    let search = Search::decode(hotel_search::golden::RAW.as_bytes()).expect("valid");
    assert_eq!(search.hotel_id, "6033");
    assert_eq!(search.hotel_advertisers["Expedia"][0].eurocents, Some(13242));
    assert_eq!(search.hotel_advertisers["Expedia"][0].breakfast, Some(false));
    assert_eq!(search.timestamp_micros(), 1_620_224_528_000_000);
}

#[test]
fn searches_that_cannot_be_used_are_rejected_with_their_reason() {
    let cases = [
        ("invalid_structure", "/user_id", json!("somebody")),
        ("invalid_text", "/hotel_id", json!(" ")),
        ("invalid_structure", "/hotel_id", json!(6033)),
        ("date_out_of_range", "/search_timestamp", json!(-1)),
        ("date_out_of_range", "/search_timestamp", json!(1e300)),
        ("invalid_structure", "/search_timestamp", json!("now")),
        ("invalid_structure", "/hotel_advertisers", json!([])),
        ("invalid_structure", "/hotel_advertisers/Amoma/0/breakfast", json!("maybe")),
        ("invalid_structure", "/hotel_advertisers/Amoma/0/eurocents", json!("cheap")),
    ];
    for (code, pointer, value) in cases {
        let mut search: Value = serde_json::from_str(hotel_search::golden::RAW).expect("JSON");
        *search.pointer_mut(pointer).expect(pointer) = value.clone();
        let reject = Search::decode(search.to_string().as_bytes()).expect_err(pointer);
        assert_eq!(reject.code, code, "{pointer} = {value}: {reject}");
    }
}

#[test]
fn a_nameless_advertiser_does_not_spoil_a_search() {
    let mut search: Value = serde_json::from_str(hotel_search::golden::RAW).expect("JSON");
    search["hotel_advertisers"][" "] = json!([]);
    assert!(Search::decode(search.to_string().as_bytes()).is_ok());
    search["hotel_advertisers"]["a\u{0}"] = json!([]);
    let reject = Search::decode(search.to_string().as_bytes()).expect_err("NUL");
    assert_eq!(reject.code, "invalid_text");
}
