//! Untrusted bytes through every decoder: no panic, bounded memory, and what is accepted once is
//! accepted again after it was written.
//!
//! `make fuzz` runs millions of cases; `PROPTEST_CASES` sets their number. Inputs that once failed are
//! kept by proptest in `proptest-regressions/`, and hand-picked ones lie in `tests/fuzz/corpus/`.

mod config;
mod mutation;
mod schemas;

use std::time::Instant;

use config::config;
use proptest::prelude::*;
use strata_events::{Contract as _, Origin, Reject, Restaurant, User};
use strata_streams::order::golden;
use strata_streams::{Message, STREAMS};

/// Cases of a run that does not say how many: seconds in a debug build.
const CASES: u32 = 20_000;

/// What this process may hold at most; a decoder that trusts a length in its input exceeds it.
const MAX_RESIDENT_KB: u64 = 512 << 10;

/// Reads bytes and writes what was read.
type Rewrite = fn(&[u8]) -> Result<Vec<u8>, Reject>;

/// The reference data, which are no stream.
const REFERENCE: [(&str, Rewrite); 2] = [
    (golden::USER, |bytes| Ok(serde_json::to_vec(&User::decode(bytes)?).expect("a user can be written"))),
    (golden::RESTAURANT, |bytes| {
        Ok(serde_json::to_vec(&Restaurant::decode(bytes)?).expect("a restaurant can be written"))
    }),
];

/// Every golden message with its decoder.
fn targets() -> Vec<(&'static str, Rewrite)> {
    let of = |message: &'static Message| message.golden.iter().map(|golden| (*golden, message.rewrite));
    STREAMS.iter().flat_map(|stream| stream.messages).flat_map(of).chain(REFERENCE).collect()
}

/// Decodes and, where the bytes are accepted, decodes again what is written of them.
fn round_trip(bytes: &[u8], rewrite: Rewrite) {
    let Ok(written) = rewrite(bytes) else { return };
    let rewritten = rewrite(&written)
        .unwrap_or_else(|e| panic!("accepted, but not again ({e}): {}", String::from_utf8_lossy(&written)));
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&rewritten));
}

/// Every target on the same bytes: what is meant for one topic may stand in another.
fn decode_all(targets: &[(&str, Rewrite)], bytes: &[u8]) {
    for (_, rewrite) in targets {
        round_trip(bytes, *rewrite);
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
    let targets = targets();
    proptest!(config(CASES), |(bytes in runner)| decode_all(&targets, &bytes));
    println!("any bytes: {:?}", started.elapsed());
    assert_memory_is_bounded();
}

#[test]
fn golden_messages_with_changed_bytes_are_decoded_or_refused() {
    let targets = targets();
    proptest!(config(CASES), |(target in 0..targets.len(), changes in mutation::of_bytes())| {
        let (golden, rewrite) = targets[target];
        round_trip(&mutation::change_bytes(golden.as_bytes(), &changes), rewrite);
    });
    assert_memory_is_bounded();
}

#[test]
fn golden_messages_with_changed_values_are_decoded_or_refused() {
    let targets = targets();
    proptest!(config(CASES), |(target in 0..targets.len(), changes in mutation::of_values())| {
        let (golden, rewrite) = targets[target];
        round_trip(mutation::change_values(golden.as_bytes(), &changes).as_bytes(), rewrite);
    });
    assert_memory_is_bounded();
}

#[test]
fn any_text_is_an_origin_or_refused() {
    proptest!(config(CASES), |(text in "\\PC{0,20}|[a-z_]{0,9}/-?[0-9]{0,20}/-?[0-9]{0,20}")| {
        if let Ok(origin) = text.parse::<Origin>() {
            prop_assert_eq!(origin.to_string().parse(), Ok(origin));
        }
    });
}

#[test]
fn the_corpus_is_decoded_or_refused() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus");
    let (targets, mut files) = (targets(), 0);
    for entry in std::fs::read_dir(corpus).expect("the corpus") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        decode_all(&targets, &bytes);
        // Also deep inside of a message, where it is some field's value.
        for (golden, rewrite) in &targets {
            if let Ok(text) = std::str::from_utf8(&bytes) {
                round_trip(golden.replacen(": ", &format!(": {text}, \"x\": "), 3).as_bytes(), *rewrite);
            }
        }
        files += 1;
    }
    assert!(files >= 8, "{files} files");
    assert_memory_is_bounded();
}
