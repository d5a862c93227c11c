//! What the schema of a topic accepts its decoder accepts, and the other way round.
//!
//! What no schema can say is listed in [`DIFFERENCES`], by name and with an example; `docs/CONTRACTS.md` has the same
//! names. A disagreement that none of them explains is a failure.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, SubsecRound as _, Utc};
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use strata_events::schema::DIALECT;
use strata_events::{Hop, Reject, Schema};
use strata_streams::order::catalog;
use strata_streams::source::{Make, Snapshot, Start};
use strata_streams::{Message, STREAMS, StreamDef, click, hotel_search, order};

use crate::config::config;
use crate::{CASES, mutation};

/// Generated events of each stream that are held against its schema, some as they are, some damaged.
const GENERATED: usize = 300;

/// A message, what the decoder says of it and what the schema says.
struct Case<'a> {
    schema: Schema,
    bytes: &'a [u8],
    /// None where the bytes are no JSON that could be held against a schema.
    value: Option<Value>,
    /// What was read, written again.
    decoded: Result<Vec<u8>, Reject>,
}

impl<'a> Case<'a> {
    fn new(hop: &Hop, message: &Message, bytes: &'a [u8]) -> Self {
        let (value, decoded) = (serde_json::from_slice(bytes).ok(), (message.rewrite)(bytes));
        Self { schema: hop.schema, bytes, value, decoded }
    }

    fn is_valid(&self, value: &Value) -> bool {
        self.schema.compiled().expect("a schema").is_valid(value)
    }

    /// True where the decoder and the schema say the same.
    fn agrees(&self) -> bool {
        self.decoded.is_ok() == self.value.as_ref().is_some_and(|value| self.is_valid(value))
    }

    fn explained(&self) -> impl Iterator<Item = &'static Difference> + '_ {
        DIFFERENCES.iter().filter(|difference| (difference.explains)(self))
    }

    fn assert_agrees_or_is_explained(&self) {
        if !self.agrees() && self.explained().next().is_none() {
            let breach = self.schema.breach(self.bytes);
            let text = String::from_utf8_lossy(self.bytes);
            panic!("the decoder: {:?}; the schema: {breach:?}; {text}", self.decoded.as_ref().map(drop));
        }
    }

    fn is_refused_for(&self, code: &str, words: &str) -> bool {
        matches!(&self.decoded, Err(reject) if reject.code == code && reject.detail.contains(words))
    }
}

/// What a schema cannot say of a message.
struct Difference {
    name: &'static str,
    /// True where it is the reason why the decoder and the schema disagree.
    explains: fn(&Case<'_>) -> bool,
    /// A message of which they disagree, with what it is a message of.
    example: fn() -> (&'static StreamDef, usize, Vec<u8>),
}

/// Those that a schema accepts and the decoder refuses, then the others.
const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "duplicate_field",
        explains: |case| case.decoded.is_err() && has_a_field_twice(case.bytes),
        example: || (&order::DEF, 0, order::golden::RAW.replacen('{', "{\"object_id\": 1, ", 1).into_bytes()),
    },
    Difference {
        name: "duplicate_product",
        explains: |case| case.is_refused_for("duplicate_product", ""),
        example: || {
            let items = &with(order::golden::RAW, "/payload/order_items/0", |_| ());
            let first = items["payload"]["order_items"][0]["id"].clone();
            let twice = with(order::golden::RAW, "/payload/order_items/1/id", |id| *id = first);
            (&order::DEF, 0, twice.to_string().into_bytes())
        },
    },
    Difference {
        name: "ids_agree",
        explains: |case| case.is_refused_for("invalid_id", "object_id is "),
        example: || {
            let other = with(order::golden::FACT, "/payload/id", |id| *id = json!(7));
            (&order::DEF, 1, other.to_string().into_bytes())
        },
    },
    Difference {
        name: "integer_as_fraction",
        explains: |case| case.is_refused_for("invalid_structure", "invalid type: floating point"),
        example: || {
            let other = with(order::golden::RAW, "/payload/order_items/0/quantity", |n| *n = json!(5.0));
            (&order::DEF, 0, other.to_string().into_bytes())
        },
    },
    Difference {
        name: "long_amount",
        explains: |case| case.is_refused_for("invalid_structure", "needs more than 28 digits"),
        example: || {
            let other = with(order::golden::RAW, "/payload/cost", |cost| *cost = json!("@"));
            let digits = "0.00000000000000000000000000001";
            (&order::DEF, 0, other.to_string().replace("\"@\"", digits).into_bytes())
        },
    },
    Difference {
        name: "day_of_the_month",
        explains: |case| case.is_refused_for("invalid_structure", "timestamp must be RFC 3339"),
        example: || {
            let other = with(click::golden::RAW, "/timestamp", |time| *time = json!("2025-02-30T00:00:00"));
            (&click::DEF, 0, other.to_string().into_bytes())
        },
    },
    Difference {
        name: "too_large",
        explains: |case| case.is_refused_for("too_large", ""),
        example: || {
            let other =
                with(order::golden::RAW, "/payload", |payload| payload["x"] = json!("x".repeat(1 << 20)));
            (&order::DEF, 0, other.to_string().into_bytes())
        },
    },
    Difference {
        name: "edge_of_the_century",
        explains: |case| case.is_refused_for("date_out_of_range", "") || times_make_the_difference(case),
        example: || {
            let early = json!("2000-01-01T00:30:00+01:00");
            let other = with(order::golden::RAW, "/payload/date", |date| *date = early);
            (&order::DEF, 0, other.to_string().into_bytes())
        },
    },
    Difference {
        name: "loose_time",
        explains: times_make_the_difference,
        example: || {
            let loose = json!("2025-2-22 08:56:14 UTC");
            let other = with(order::golden::RAW, "/payload/date", |date| *date = loose);
            (&order::DEF, 0, other.to_string().into_bytes())
        },
    },
    Difference {
        name: "amount_at_the_limit",
        explains: |case| {
            let (Some(value), true) = (&case.value, case.decoded.is_ok()) else { return false };
            let mut value = value.clone();
            each_number(&mut value, &mut |n| {
                if n.as_f64() == Some(1e14) {
                    *n = 1.into();
                }
            });
            case.is_valid(&value)
        },
        example: || {
            let other = with(order::golden::RAW, "/payload/cost", |cost| *cost = json!("@"));
            let amount = "99999999999999.999994";
            (&order::DEF, 0, other.to_string().replace("\"@\"", amount).into_bytes())
        },
    },
    Difference {
        name: "unread_field",
        explains: |case| {
            let read = case.decoded.as_ref().ok().and_then(|read| serde_json::from_slice(read).ok());
            case.value.is_none() && read.is_some_and(|read| case.is_valid(&read))
        },
        example: || {
            let unread = "{\"x\": 1e999, ";
            (&hotel_search::DEF, 0, hotel_search::golden::RAW.replacen('{', unread, 1).into_bytes())
        },
    },
];

/// True where an object in the bytes has a field twice; others see the last of them only.
fn has_a_field_twice(bytes: &[u8]) -> bool {
    /// Whether a value has a field twice.
    struct Twice(bool);
    impl<'de> Deserialize<'de> for Twice {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Look)
        }
    }
    struct Look;
    impl<'de> Visitor<'de> for Look {
        type Value = Twice;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Twice, E> {
            Ok(Twice(false))
        }

        fn visit_i64<E>(self, _: i64) -> Result<Twice, E> {
            Ok(Twice(false))
        }

        fn visit_u64<E>(self, _: u64) -> Result<Twice, E> {
            Ok(Twice(false))
        }

        fn visit_f64<E>(self, _: f64) -> Result<Twice, E> {
            Ok(Twice(false))
        }

        fn visit_str<E>(self, _: &str) -> Result<Twice, E> {
            Ok(Twice(false))
        }

        fn visit_unit<E>(self) -> Result<Twice, E> {
            Ok(Twice(false))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Twice, A::Error> {
            let mut found = false;
            while let Some(Twice(inside)) = items.next_element()? {
                found |= inside;
            }
            Ok(Twice(found))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Twice, A::Error> {
            let (mut names, mut found) = (BTreeSet::new(), false);
            while let Some((name, Twice(inside))) = fields.next_entry::<String, Twice>()? {
                found |= inside | !names.insert(name);
            }
            Ok(Twice(found))
        }
    }
    serde_json::from_slice(bytes).is_ok_and(|Twice(found)| found)
}

/// True where the message is valid once all its times are written as RFC 3339 has them, in UTC.
fn times_make_the_difference(case: &Case<'_>) -> bool {
    let (Some(value), true) = (&case.value, case.decoded.is_ok()) else { return false };
    let mut value = value.clone();
    each_text(&mut value, &mut |text| {
        let naive = || text.trim().parse::<NaiveDateTime>().map(|time| time.and_utc());
        let time = DateTime::parse_from_rfc3339(text.trim()).map(|time| time.to_utc());
        if let Ok(time) = text.parse::<DateTime<Utc>>().or(time).or_else(|_| naive()) {
            // Without the leap second that chrono keeps as a fraction above one.
            *text = time.trunc_subsecs(0).to_rfc3339_opts(SecondsFormat::Secs, true).replace(":60Z", ":59Z");
        }
    });
    case.is_valid(&value)
}

/// A golden message with another value at a pointer.
fn with(golden: &str, pointer: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut message: Value = serde_json::from_str(golden).expect("JSON");
    change(message.pointer_mut(pointer).expect(pointer));
    message
}

fn each_text(value: &mut Value, change: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_text(field, change)),
        _ => {}
    }
}

fn each_number(value: &mut Value, change: &mut impl FnMut(&mut serde_json::Number)) {
    match value {
        Value::Number(number) => change(number),
        Value::Array(items) => items.iter_mut().for_each(|item| each_number(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_number(field, change)),
        _ => {}
    }
}

/// Every topic, with what it carries.
fn topics() -> Vec<(&'static Hop, &'static Message)> {
    STREAMS.iter().flat_map(|stream| stream.spec.hops.iter().zip(stream.messages)).collect()
}

/// Valid messages of every topic: golden ones, and generated ones of the first.
fn valid() -> Vec<(&'static Hop, &'static Message, Vec<u8>)> {
    let golden = topics().into_iter().flat_map(|(hop, message)| {
        message.golden.iter().map(move |golden| (hop, message, golden.as_bytes().to_vec()))
    });
    let users = catalog::users().into_iter().map(|user| user.id).collect();
    let reference = Arc::new(Snapshot { users, restaurants: catalog::restaurants() });
    let generated = STREAMS.iter().flat_map(|stream| {
        let mut generator = match stream.make {
            Make::FromReference(make) => make(Arc::clone(&reference), Start::Seed(7)),
            Make::Alone(make) => make(Start::Seed(7)),
        };
        let (hop, message) = (&stream.spec.hops[0], &stream.messages[0]);
        let events: Vec<_> = (0..GENERATED)
            .map(|_| (hop, message, generator.next_event().expect("an event").payload))
            .collect();
        events
    });
    golden.chain(generated).collect()
}

#[test]
fn every_topic_has_a_schema_of_the_year_2020_that_describes_itself() {
    for (hop, _) in topics() {
        let topic = hop.topic.default;
        let json = hop.schema.json().unwrap_or_else(|e| panic!("{topic}: {e}"));
        assert_eq!(json["$schema"], DIALECT, "{topic}");
        assert!(jsonschema::meta::is_valid(&json), "{topic} has no schema");
        assert!(hop.schema.compiled().is_ok(), "{topic}");
        for field in ["title", "description"] {
            assert!(json[field].is_string(), "the schema of {topic} has no {field}");
        }
        // A registry compares it as draft-07, where these are unknown or mean another thing.
        for keyword in
            ["$defs", "$dynamicRef", "dependentRequired", "dependentSchemas", "unevaluated", "minContains"]
        {
            assert!(!hop.schema.text().contains(keyword), "the schema of {topic} has {keyword}");
        }
        let registered: Value = serde_json::from_str(&hop.schema.registered()).expect("JSON");
        assert_eq!(registered["$schema"], "http://json-schema.org/draft-07/schema#", "{topic}");
        // It is embedded in OpenAPI, where references would lead elsewhere.
        assert!(!hop.schema.text().contains("$ref"), "the schema of {topic} refers to another");
    }
}

#[test]
fn valid_messages_are_accepted_by_schema_and_decoder() {
    for (hop, message, bytes) in valid() {
        let case = Case::new(hop, message, &bytes);
        let valid = case.value.as_ref().is_some_and(|value| case.is_valid(value));
        assert!(case.decoded.is_ok() && valid, "{:?}", case.schema.breach(&bytes));
        // What the next stage is given is valid, too.
        let written: Value = serde_json::from_slice(&case.decoded.clone().expect("decoded")).expect("JSON");
        assert!(case.is_valid(&written), "{written}");
    }
}

#[test]
fn damaged_messages_are_accepted_by_schema_and_decoder_or_by_neither() {
    let valid = valid();
    proptest!(config(CASES), |(which in 0..valid.len(), changes in mutation::of_values())| {
        let (hop, message, bytes) = &valid[which];
        let damaged = mutation::change_values(bytes, &changes);
        Case::new(hop, message, damaged.as_bytes()).assert_agrees_or_is_explained();
    });
    proptest!(config(CASES), |(which in 0..valid.len(), changes in mutation::of_bytes())| {
        let (hop, message, bytes) = &valid[which];
        let damaged = mutation::change_bytes(bytes, &changes);
        Case::new(hop, message, &damaged).assert_agrees_or_is_explained();
    });
}

#[test]
fn every_difference_is_there_and_written_down() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONTRACTS.md"));
    let docs = docs.expect("docs/CONTRACTS.md");
    let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let first_cell = |line: &'_ str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let listed = docs.lines().filter_map(first_cell).filter(|name| is_name(&name.as_str()));
    let mut listed: BTreeSet<String> = listed.collect();
    for Difference { name, example, .. } in DIFFERENCES {
        let (stream, at, bytes) = example();
        let case = Case::new(&stream.spec.hops[at], &stream.messages[at], &bytes);
        assert!(!case.agrees(), "{name}: {:?}, {:?}", case.decoded, case.schema.breach(&bytes));
        let names: Vec<_> = case.explained().map(|difference| difference.name).collect();
        assert!(names.contains(name), "{name} is explained as {names:?}: {:?}", case.decoded);
        assert!(listed.remove(*name), "docs/CONTRACTS.md lacks {name}");
    }
    assert!(listed.is_empty(), "docs/CONTRACTS.md tells of differences that are none: {listed:?}");
}
