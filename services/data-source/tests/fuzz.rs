//! Bodies of any form through the splitter, the contracts and back: no panic, nothing beyond the limit.
//!
//! `make fuzz` runs millions of cases; inputs that once failed are kept in `proptest-regressions/`.

#[path = "../../../shared/streams/tests/fuzz/config.rs"]
mod config;

use config::config;
use data_source::split::{HEAD_BYTES, Piece, Splitter};
use data_source::summary;
use proptest::prelude::*;
use strata_streams::STREAMS;
use strata_streams::order::golden;

/// Cases of a run that does not say how many: seconds in a debug build.
const CASES: u32 = 10_000;

/// Everything that comes out of a body in chunks of this size.
fn pieces(limit: usize, body: &[u8], chunk: usize) -> Vec<Piece> {
    let mut splitter = Splitter::new(limit);
    let mut out = Vec::new();
    for mut chunk in body.chunks(chunk) {
        while let Some(piece) = splitter.next_piece(&mut chunk) {
            out.push(piece);
        }
    }
    while let Some(piece) = splitter.finish() {
        out.push(piece);
    }
    out
}

/// Bodies made of what means something to the splitter, and of what does not.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let golden =
        serde_json::from_str::<serde_json::Value>(golden::RAW).expect("a golden message").to_string();
    let part = prop_oneof![
        4 => proptest::sample::select(vec!["[", "]", "{", "}", ",", "\"", "\\", "\n", "\r\n", " ", "\t", "1", "null"])
            .prop_map(|text| text.as_bytes().to_vec()),
        2 => Just(golden.into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => "\\PC{0,30}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(part, 0..25).prop_map(|parts| parts.concat())
}

#[test]
fn bodies_are_cut_the_same_however_they_arrive_and_within_the_limit() {
    proptest!(config(CASES), |(body in bodies(), limit in 1..2500_usize, chunk in 1..3000_usize)| {
        let whole = pieces(limit, &body, body.len().max(1));
        prop_assert_eq!(&whole, &pieces(limit, &body, chunk));
        prop_assert!(whole.iter().map(|piece| piece.bytes.len()).sum::<usize>() <= body.len());
        prop_assert!(whole.iter().all(|piece| piece.bytes.len() <= limit.max(HEAD_BYTES)));
        prop_assert!(whole.windows(2).all(|pair| pair[0].number < pair[1].number));
        for piece in &whole {
            for stream in STREAMS {
                // Whatever it says: it is accepted or refused, with a reason.
                if let Err(reason) = summary::check(piece, stream.accept) {
                    prop_assert!(!reason.detail.is_empty());
                }
            }
        }
    });
}
