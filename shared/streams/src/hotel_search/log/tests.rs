use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const USER: &str = "001adddd-6a55-4cd0-a1a1-9ca20e20d488";
const AMOMA: &str = r#"{"advertisers":{"Amoma":[{"eurocents":17558,"breakfast":false}]}}"#;

fn line(hotels: &str) -> String {
    format!("{USER}\t1620224528\t{hotels}")
}

fn events(line: &str) -> Vec<Event> {
    match accept(line.as_bytes()) {
        Ok(Accepted::Made(events)) => events,
        other => panic!("{line}: {other:?}"),
    }
}

fn code(line: &str) -> &'static str {
    accept(line.as_bytes()).map(|_| line).unwrap_err().code
}

fn hotels(line: &str) -> Vec<String> {
    let decoded = events(line).into_iter().map(|event| Search::decode(&event.payload).unwrap());
    decoded.map(|search| search.hotel_id).collect()
}

#[test]
fn a_line_is_one_search_per_hotel_each_with_its_key_and_identity() {
    // GIVEN a line as the travel site writes it
    let line = line(&format!(
        r#"{{6032:{AMOMA},6033:{{"advertisers":{{"Expedia":[{{"eurocents":13242,"breakfast":"false","x":1}}],"Amoma":[]}}}}}}"#
    ));
    // WHEN it is read
    let events = events(&line);
    // THEN each hotel is a search of that user and time, with offers as they were written
    let text: Vec<&str> = events.iter().map(|event| std::str::from_utf8(&event.payload).unwrap()).collect();
    assert_eq!(
        text,
        [
            format!(
                r#"{{"user_id":"{USER}","hotel_id":"6032","search_timestamp":1620224528,"hotel_advertisers":{{"Amoma":[{{"eurocents":17558,"breakfast":false}}]}}}}"#
            ),
            format!(
                r#"{{"user_id":"{USER}","hotel_id":"6033","search_timestamp":1620224528,"hotel_advertisers":{{"Expedia":[{{"eurocents":13242,"breakfast":"false","x":1}}],"Amoma":[]}}}}"#
            ),
        ]
    );
    assert_eq!([&events[0].key[..], &events[1].key[..]], [b"6032", b"6033"]);
    let ids: Vec<Uuid> = events.iter().map(|event| event.headers[0].1.parse().unwrap()).collect();
    assert!(ids.iter().all(|id| id.get_version_num() == 7) && ids[0] != ids[1]);
    assert!(events.iter().all(|event| event.headers[0].0 == "event_id" && event.headers.len() == 1));
}

#[test]
fn lines_that_are_searches() {
    for (hotels_column, expected) in [
        (format!("{{6032:{AMOMA}}}"), vec!["6032"]),
        (format!("{{\"6032\":{AMOMA}}}"), vec!["6032"]),
        (
            format!(" {{ 6032 : {AMOMA} ,\t\"a b\":{AMOMA}, hotel_7-x:{AMOMA} }} "),
            vec!["6032", "a b", "hotel_7-x"],
        ),
        (r#"{6032:{"advertisers":{}}}"#.to_owned(), vec!["6032"]),
        (r#"{6032:{"advertisers":{"A":[]},"other":[1,{"b":2}]}}"#.to_owned(), vec!["6032"]),
        // Braces, commas and quotes in strings are text.
        (
            r#"{1:{"advertisers":{"},{7:\"x\\":[{"eurocents":1}]}},2:{"advertisers":{"{":[],",3:":[]}}}"#
                .to_owned(),
            vec!["1", "2"],
        ),
        (
            r#"{"a\",9:":{"advertisers":{"tab\there":[]}},4:{"advertisers":{}}}"#.to_owned(),
            vec!["a\",9:", "4"],
        ),
        (r#"{007:{"advertisers":{}},null:{"advertisers":{}}}"#.to_owned(), vec!["007", "null"]),
    ] {
        assert_eq!(hotels(&line(&hotels_column)), expected, "{hotels_column}");
    }
    for (time, micros) in [
        ("1620224528", 1_620_224_528_000_000),
        ("1620224528.25", 1_620_224_528_250_000),
        (" 1620224528 ", 1_620_224_528_000_000),
        ("1.620224528e9", 1_620_224_528_000_000),
    ] {
        let event = events(&format!(" {USER} \t{time}\t{{1:{AMOMA}}}")).remove(0);
        assert_eq!(Search::decode(&event.payload).unwrap().timestamp_micros(), micros, "{time}");
    }
}

#[test]
fn lines_that_are_refused_say_why() {
    for (bad, expected) in [
        (String::new(), "missing_column"),
        (USER.to_owned(), "missing_column"),
        (format!("{USER}\t1620224528"), "missing_column"),
        (format!("{USER} 1620224528 {{1:{AMOMA}}}"), "missing_column"),
        (format!("\t1620224528\t{{1:{AMOMA}}}"), "invalid_id"),
        (format!("{USER}7\t1620224528\t{{1:{AMOMA}}}"), "invalid_id"),
        (format!("7\t1620224528\t{{1:{AMOMA}}}"), "invalid_id"),
        (format!("{USER}\t\t{{1:{AMOMA}}}"), "invalid_structure"),
        (format!("{USER}\tyesterday\t{{1:{AMOMA}}}"), "invalid_structure"),
        (format!("{USER}\t\"1620224528\"\t{{1:{AMOMA}}}"), "invalid_structure"),
        (format!("{USER}\t1e999\t{{1:{AMOMA}}}"), "invalid_structure"),
        (format!("{USER}\t-5\t{{1:{AMOMA}}}"), "date_out_of_range"),
        (format!("{USER}\t1620224528000\t{{1:{AMOMA}}}"), "date_out_of_range"),
        (line(""), "malformed_json"),
        (line("{}"), "empty_search"),
        (line("{ }"), "empty_search"),
        (line("[]"), "invalid_structure"),
        (line("6032"), "invalid_structure"),
        (line("null"), "invalid_structure"),
        (line("{6032}"), "malformed_json"),
        (line("{6032:"), "malformed_json"),
        (line(&format!("{{6032:{AMOMA}")), "malformed_json"),
        (line(&format!("{{6032:{AMOMA},}}")), "malformed_json"),
        (line(&format!("{{60 32:{AMOMA}}}")), "malformed_json"),
        (line(&format!("{{{{1:{AMOMA}}}}}")), "malformed_json"),
        (line(&format!("{{6032:{AMOMA}}}\tmore")), "malformed_json"),
        (line(&format!("{{6032:{AMOMA}}}{{6033:{AMOMA}}}")), "malformed_json"),
        (line("{1:{advertisers:{}}}"), "malformed_json"),
        (line(r#"{1:{"advertisers":{A:[]}}}"#), "malformed_json"),
        (line("{1:{\"advertisers\":{\"raw\ttab\":[]}}}"), "malformed_json"),
        (line("{6032:null}"), "invalid_structure"),
        (line("{6032:{}}"), "invalid_structure"),
        (line(r#"{6032:[{"Amoma":[]}]}"#), "invalid_structure"),
        (line(r#"{6032:{"advertisers":7}}"#), "invalid_structure"),
        (line(r#"{6032:{"advertisers":{"A":[{"breakfast":"maybe","eurocents":1}]}}}"#), "invalid_structure"),
        (line(&format!("{{\"\":{AMOMA}}}")), "invalid_text"),
        (line(&format!("{{{}:{AMOMA}}}", "7".repeat(201))), "invalid_id"),
        (line(&format!("{{7:{AMOMA},\"7\":{AMOMA}}}")), "duplicate_hotel"),
        (line(&format!("{{7:{AMOMA},\" 7\":{AMOMA}}}")), "duplicate_hotel"),
    ] {
        assert_eq!(code(&bad), expected, "{bad}");
    }
    assert_eq!(accept(b"\xff\t1\t{}").unwrap_err().code, "invalid_id");
    let bytes = [USER.as_bytes(), b"\t1620224528\t{\"\xff\":{\"advertisers\":{}}}"].concat();
    assert_eq!(accept(&bytes).unwrap_err().code, "malformed_json");
}

#[test]
fn a_line_with_one_bad_hotel_is_refused_as_a_whole_and_names_it() {
    let reason = accept(line(&format!("{{6032:{AMOMA},6033:{{}}}}")).as_bytes()).unwrap_err();
    assert!(reason.detail.starts_with("hotel 6033: missing field `advertisers`"), "{reason}");
    assert!(Search::decode(line(&format!("{{6032:{AMOMA},6033:{{}}}}")).as_bytes()).is_err());
}

#[test]
fn what_a_line_becomes_is_bounded() {
    let many = |count: usize| {
        let hotels: Vec<String> =
            (0..count).map(|hotel| format!("{hotel}:{{\"advertisers\":{{}}}}")).collect();
        line(&format!("{{{}}}", hotels.join(",")))
    };
    assert_eq!(events(&many(MAX_HOTELS)).len(), MAX_HOTELS);
    assert_eq!(code(&many(MAX_HOTELS + 1)), "too_many_items");
    assert_eq!(code(&many(3 * MAX_HOTELS)), "too_many_items");
    assert_eq!(code(&line(&format!("{{1:{}}}", "[".repeat(100_000)))), "malformed_json");
}

/// Objects with keys of any text, values that hold anything.
fn objects() -> impl Strategy<Value = Vec<(String, Value)>> {
    let key = prop_oneof!["[A-Za-z0-9_-]{1,6}", any::<String>()];
    let text = prop_oneof!["[\\[\\]{},:\"\\\\ a1]{0,6}", any::<String>()];
    let value = prop_oneof![
        any::<Option<bool>>().prop_map(|flag| json!(flag)),
        any::<i64>().prop_map(|number| json!(number)),
        text.clone().prop_map(Value::from),
        proptest::collection::vec(text.clone(), 0..3).prop_map(|texts| json!({"b": texts})),
        (text.clone(), text).prop_map(|(key, text)| json!([{key: [text]}, 7])),
    ];
    proptest::collection::vec((key, value), 0..6)
}

/// Text in which what JSON is made of is frequent.
fn scraps() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => proptest::sample::select(b"[]{},:\"\\ \t".to_vec()),
        2 => proptest::sample::select(b"ab1_-".to_vec()),
        1 => any::<u8>(),
    ];
    proptest::collection::vec(byte, 0..60)
}

proptest! {
    #[test]
    fn bare_keys_get_their_quotes_and_nothing_else_changes(pairs in objects(), pretty: bool) {
        let space = if pretty { " \t" } else { "" };
        let write = |bare: bool| {
            let fields: Vec<String> = pairs
                .iter()
                .map(|(key, value)| {
                    let is_bare_key = !key.is_empty() && key.bytes().all(is_bare);
                    let key = if bare && is_bare_key { key.clone() } else { json!(key).to_string() };
                    format!("{space}{key}{space}:{space}{value}{space}")
                })
                .collect();
            format!("{space}{{{}}}{space}", fields.join(","))
        };
        let (bare, quoted) = (write(true), write(false));
        prop_assert_eq!(quote_keys(bare.as_bytes()).into_owned(), quoted.as_bytes());
        prop_assert!(matches!(quote_keys(quoted.as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn quoting_adds_quotes_only_and_never_panics(scraps in scraps()) {
        let strip = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != b'"').collect::<Vec<u8>>();
        let quoted = quote_keys(&scraps);
        prop_assert_eq!(strip(&quoted), strip(&scraps));
        // Valid JSON was valid before: it stays as it is.
        if serde_json::from_slice::<Value>(&scraps).is_ok() {
            prop_assert_eq!(quoted.as_ref(), scraps.as_slice());
        }
    }

    #[test]
    fn no_line_panics_and_what_is_accepted_is_valid(user in prop_oneof![Just(USER.to_owned()), any::<String>()],
        time in prop_oneof![Just("1620224528".to_owned()), "[0-9.e-]{0,12}"], hotels in scraps()) {
        let line = [user.as_bytes(), b"\t", time.as_bytes(), b"\t", &hotels].concat();
        if let Ok(Accepted::Made(events)) = accept(&line) {
            prop_assert!(!events.is_empty());
            for event in events {
                prop_assert!(Search::decode(&event.payload).is_ok());
            }
        }
        prop_assert!(accept(&hotels).is_err());
    }
}
