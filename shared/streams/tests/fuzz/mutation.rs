//! Golden messages, damaged: byte by byte, and value by value.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::Value;

/// Texts that stand where a value should: larger, deeper, emptier or stranger than expected.
const VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "-0",
    "-1",
    "1e308",
    "-1e-308",
    "1e999",
    "99999999999999999999999999",
    "9223372036854775807",
    "-9223372036854775809",
    "0.000000000000000000000000000001",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"ffffffffffffffffffffffff\"",
    "\"0000-00-00T00:00:00Z\"",
    "\"9999-12-31T23:59:60.999999999+23:59\"",
    "[]",
    "{}",
    "[[[[[[[[]]]]]]]]",
    "{\"a\": {\"a\": {\"a\": {}}}}",
    "\"CLOSED\"",
    "\"00000000-0000-0000-0000-000000000000\"",
    "\"{00000000-0000-0000-0000-000000000000}\"",
    "\"URN:UUID:00000000-0000-0000-0000-000000000000\"",
    "\"2025-02-28 8:05:00 UTC\"",
    "\"2000-01-01T00:30:00+01:00\"",
    "\"2025-02-30T00:00:00Z\"",
    "\"2025-06-30t11:59:60z\"",
    "\"\\u0085\\u2003\"",
    "\" TruE\\t\"",
    "1.0",
    "4294967296",
    "1000000001",
    "1735689600.75",
    "4102444799.9999999999",
    "-0.000005",
    "-0.00001",
    "99999999999999.99",
    "99999999999999.999999",
    "[\"ffffffffffffffffffffffff\"]",
    "[1, \"a\"]",
    "{\"CLOSED\": null}",
];

/// What stands where a value is to be taken out.
const GONE: &str = "@gone@";

/// One change of the bytes; places are taken modulo what is there.
#[derive(Debug, Clone)]
pub enum ByteChange {
    /// Another byte.
    Set(usize, u8),
    /// One byte more.
    Insert(usize, u8),
    /// A stretch less.
    Remove(usize, usize),
    /// A stretch again.
    Repeat(usize, usize),
    /// Nothing after this.
    Cut(usize),
}

/// Changes of bytes.
pub fn of_bytes() -> impl Strategy<Value = Vec<ByteChange>> {
    let telling =
        prop_oneof![any::<u8>(), proptest::sample::select(b"\"\\{}[],:0-9eE.+\x00\xff\xed".to_vec())];
    let change = prop_oneof![
        4 => (any::<usize>(), telling.clone()).prop_map(|(at, byte)| ByteChange::Set(at, byte)),
        2 => (any::<usize>(), telling).prop_map(|(at, byte)| ByteChange::Insert(at, byte)),
        1 => (any::<usize>(), 1..60_usize).prop_map(|(at, length)| ByteChange::Remove(at, length)),
        1 => (any::<usize>(), 1..400_usize).prop_map(|(at, length)| ByteChange::Repeat(at, length)),
        1 => any::<usize>().prop_map(ByteChange::Cut),
    ];
    proptest::collection::vec(change, 1..6)
}

/// A golden message with these changes.
pub fn change_bytes(golden: &[u8], changes: &[ByteChange]) -> Vec<u8> {
    let mut bytes = golden.to_vec();
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match *change {
            ByteChange::Set(at, byte) => bytes[at % length] = byte,
            ByteChange::Insert(at, byte) => bytes.insert(at % length, byte),
            ByteChange::Remove(at, count) => drop(bytes.drain(at % length..length.min(at % length + count))),
            ByteChange::Repeat(at, count) => {
                let piece = bytes[at % length..length.min(at % length + count)].to_vec();
                bytes.splice(at % length..at % length, piece);
            }
            ByteChange::Cut(at) => bytes.truncate(at % length),
        }
    }
    bytes
}

/// One change of a value, found by counting through the message.
#[derive(Debug, Clone)]
pub enum ValueChange {
    /// One of [`VALUES`] in its place.
    Strange(usize, usize),
    /// A number in its place.
    Number(usize, f64),
    /// A text in its place, as often as this.
    Text(usize, String, usize),
    /// Nothing in its place.
    Gone(usize),
}

/// Changes of values.
pub fn of_values() -> impl Strategy<Value = Vec<ValueChange>> {
    let change = prop_oneof![
        4 => (any::<usize>(), 0..VALUES.len()).prop_map(|(at, which)| ValueChange::Strange(at, which)),
        2 => (any::<usize>(), any::<f64>()).prop_map(|(at, number)| ValueChange::Number(at, number)),
        1 => (any::<usize>(), any::<String>(), 0..40_usize).prop_map(|(at, text, times)| ValueChange::Text(at, text, times)),
        1 => any::<usize>().prop_map(ValueChange::Gone),
    ];
    proptest::collection::vec(change, 1..4)
}

/// A golden message with these values in it.
pub fn change_values(golden: &[u8], changes: &[ValueChange]) -> String {
    let mut message: Value = serde_json::from_slice(golden).expect("a golden message is JSON");
    let mut texts = HashMap::new();
    for (number, change) in changes.iter().enumerate() {
        let (at, text) = match change {
            ValueChange::Strange(at, which) => (*at, VALUES[*which].to_owned()),
            ValueChange::Number(at, number) => (*at, format!("{number:e}")),
            ValueChange::Text(at, text, times) => (*at, Value::from(text.repeat(*times)).to_string()),
            ValueChange::Gone(at) => {
                let count = places(&message);
                *place(&mut message, &mut (at % count)).expect("a place") = Value::from(GONE);
                prune(&mut message);
                continue;
            }
        };
        // Text that is no JSON value cannot stand in the tree, so a mark stands there until it is written.
        let mark = format!("@{number}@");
        let count = places(&message);
        *place(&mut message, &mut (at % count)).expect("a place") = Value::from(mark.clone());
        texts.insert(format!("\"{mark}\""), text);
    }
    texts.iter().fold(message.to_string(), |text, (mark, value)| text.replace(mark, value))
}

/// Values of a message, itself among them.
fn places(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(places).sum(),
        Value::Object(fields) => fields.values().map(places).sum::<usize>(),
        _ => 0,
    }
}

/// The value that stands behind this many others.
fn place<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| place(item, left)),
        Value::Object(fields) => fields.values_mut().find_map(|field| place(field, left)),
        _ => None,
    }
}

/// Takes out what stands for nothing.
fn prune(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| item != GONE);
            items.iter_mut().for_each(prune);
        }
        Value::Object(fields) => {
            fields.retain(|_, field| field != GONE);
            fields.values_mut().for_each(prune);
        }
        _ => {}
    }
}
