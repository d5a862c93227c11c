//! Untrusted bytes through every decoder: no panic, bounded memory, and what is accepted once is
//! accepted again after it was written.
//!
//! `make fuzz` runs millions of cases; `PROPTEST_CASES` sets their number. Inputs that once failed are
//! kept by proptest in `proptest-regressions/`, and hand-picked ones lie in `tests/fuzz/corpus/`.

mod mutation;

use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use strata_events::{
    Contract, CountedMessage, FactMessage, Order, Origin, ProcessedSearch, Reject, Restaurant, Search, User,
};

/// Cases of a run that does not say how many: seconds in a debug build.
const CASES: u32 = 20_000;

/// What this process may hold at most; a decoder that trusts a length in its input exceeds it.
const MAX_RESIDENT_KB: u64 = 512 << 10;

/// Decodes and, where the bytes are accepted, decodes again what is written of them.
type Target = fn(&[u8]);

/// The target of a message type that is written as it is read.
macro_rules! round_trip {
    ($message:ident) => {
        |bytes| {
            round_trip(bytes, |bytes| {
                Ok(serde_json::to_vec(&$message::decode(bytes)?).expect("what was read can be written"))
            });
        }
    };
}

/// Every decoder with its golden message.
const TARGETS: [(&str, Target); 7] = [
    ("stg_topic", order),
    ("dds_topic", round_trip!(FactMessage)),
    ("cdm_topic", round_trip!(CountedMessage)),
    ("raw_data_topic", round_trip!(Search)),
    ("processed_data_topic", round_trip!(ProcessedSearch)),
    ("reference_user", round_trip!(User)),
    ("reference_restaurant", round_trip!(Restaurant)),
];

fn round_trip(bytes: &[u8], rewrite: impl Fn(&[u8]) -> Result<Vec<u8>, Reject>) {
    let Ok(written) = rewrite(bytes) else { return };
    let rewritten = rewrite(&written)
        .unwrap_or_else(|e| panic!("accepted, but not again ({e}): {}", String::from_utf8_lossy(&written)));
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&rewritten));
}

/// Orders keep their payload as it came, so that is what must be readable.
fn order(bytes: &[u8]) {
    let Ok(order) = Order::decode(bytes) else { return };
    serde_json::from_str::<serde::de::IgnoredAny>(order.raw_payload.get()).expect("the payload is JSON");
    serde_json::to_vec(&order.payload).expect("what was read can be written");
}

/// Every target on the same bytes: what is meant for one topic may stand in another.
fn decode_all(bytes: &[u8]) {
    for (_, target) in TARGETS {
        target(bytes);
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let kept = FileFailurePersistence::Direct("proptest-regressions/fuzz.txt");
    ProptestConfig {
        cases: cases.unwrap_or(CASES),
        failure_persistence: Some(Box::new(kept)),
        ..ProptestConfig::default()
    }
}

/// Peak memory of this process.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the peak");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

fn assert_memory_is_bounded() {
    let peak = resident_kb();
    assert!(peak < MAX_RESIDENT_KB, "{peak} kB were resident");
}

#[test]
fn any_bytes_are_decoded_or_refused() {
    let started = Instant::now();
    let runner = proptest::collection::vec(any::<u8>(), 0..600);
    proptest!(config(), |(bytes in runner)| decode_all(&bytes));
    println!("any bytes: {:?}", started.elapsed());
    assert_memory_is_bounded();
}

#[test]
fn golden_messages_with_changed_bytes_are_decoded_or_refused() {
    proptest!(config(), |(target in 0..TARGETS.len(), changes in mutation::of_bytes())| {
        let (name, decode) = TARGETS[target];
        decode(&mutation::change_bytes(mutation::golden(name), &changes));
    });
    assert_memory_is_bounded();
}

#[test]
fn golden_messages_with_changed_values_are_decoded_or_refused() {
    proptest!(config(), |(target in 0..TARGETS.len(), changes in mutation::of_values())| {
        let (name, decode) = TARGETS[target];
        decode(mutation::change_values(mutation::golden(name), &changes).as_bytes());
    });
    assert_memory_is_bounded();
}

#[test]
fn any_text_is_an_origin_or_refused() {
    proptest!(config(), |(text in "\\PC{0,20}|[a-z_]{0,9}/-?[0-9]{0,20}/-?[0-9]{0,20}")| {
        if let Ok(origin) = text.parse::<Origin>() {
            prop_assert_eq!(origin.to_string().parse(), Ok(origin));
        }
    });
}

#[test]
fn the_corpus_is_decoded_or_refused() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus");
    let mut files = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        decode_all(&bytes);
        // Also deep inside of a message, where it is some field's value.
        for (name, decode) in TARGETS {
            let golden = String::from_utf8_lossy(mutation::golden(name)).into_owned();
            if let Ok(text) = std::str::from_utf8(&bytes) {
                decode(golden.replacen(": ", &format!(": {text}, \"x\": "), 3).as_bytes());
            }
        }
        files += 1;
    }
    assert!(files >= 8, "{files} files");
    assert_memory_is_bounded();
}
