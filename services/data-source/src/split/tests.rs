use proptest::prelude::*;

use super::*;

/// Everything that comes out of a body that arrives in these chunks.
fn pieces<'a>(limit: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Piece> {
    let mut splitter = Splitter::new(limit);
    let mut out = Vec::new();
    for mut chunk in chunks {
        while let Some(piece) = splitter.next_piece(&mut chunk) {
            out.push(piece);
        }
    }
    while let Some(piece) = splitter.finish() {
        out.push(piece);
    }
    out
}

/// Number, text and flaw of each piece of a body that arrives at once.
fn cut(body: &str) -> Vec<(u64, String, Option<Flaw>)> {
    pieces(100, [body.as_bytes()])
        .into_iter()
        .map(|piece| (piece.number, String::from_utf8(piece.bytes).unwrap(), piece.flaw))
        .collect()
}

fn good(number: u64, text: &str) -> (u64, String, Option<Flaw>) {
    (number, text.to_owned(), None)
}

fn flawed(number: u64, text: &str, flaw: Flaw) -> (u64, String, Option<Flaw>) {
    (number, text.to_owned(), Some(flaw))
}

#[test]
fn lines_keep_their_numbers_and_their_bytes() {
    for (body, expected) in [
        ("", vec![]),
        (" \n\r\n\t", vec![]),
        ("a", vec![good(1, "a")]),
        ("a\nb\n", vec![good(1, "a"), good(2, "b")]),
        ("\n\n a \r\n\r\n[b", vec![good(3, "a "), good(5, "[b")]),
    ] {
        assert_eq!(cut(body), expected, "{body:?}");
    }
}

#[test]
fn elements_of_an_array_are_cut_at_its_own_commas() {
    for (body, expected) in [
        ("[]", vec![]),
        (" \n[ \n ]\n ", vec![]),
        ("[1, 2\n]", vec![good(1, "1"), good(2, "2")]),
        (
            "\n[{\"a\":[1,2]},\n {\"b\":\"],\\\"}\"}]",
            vec![good(1, "{\"a\":[1,2]}"), good(2, "{\"b\":\"],\\\"}\"}")],
        ),
        ("[1 x,2]", vec![good(1, "1 x"), good(2, "2")]),
        ("[{\"a\":]},2]", vec![good(1, "{\"a\":]}"), good(2, "2")]),
    ] {
        assert_eq!(cut(body), expected, "{body:?}");
    }
}

#[test]
fn a_malformed_array_says_where() {
    for (body, expected) in [
        ("[", vec![flawed(1, "", Flaw::Unclosed)]),
        ("[1", vec![good(1, "1"), flawed(2, "", Flaw::Unclosed)]),
        ("[1,", vec![good(1, "1"), flawed(2, "", Flaw::Unclosed)]),
        ("[1,{\"a\":2", vec![good(1, "1"), flawed(2, "{\"a\":2", Flaw::Unclosed)]),
        ("[\"a", vec![flawed(1, "\"a", Flaw::Unclosed)]),
        ("[,1]", vec![flawed(1, "", Flaw::Missing), good(2, "1")]),
        ("[1,,2]", vec![good(1, "1"), flawed(2, "", Flaw::Missing), good(3, "2")]),
        ("[1,]", vec![good(1, "1"), flawed(2, "", Flaw::Missing)]),
        ("[1]2", vec![good(1, "1"), flawed(2, "2", Flaw::Trailing)]),
        ("[1]\n[2]", vec![good(1, "1"), flawed(2, "[2]", Flaw::Trailing)]),
    ] {
        assert_eq!(cut(body), expected, "{body:?}");
    }
}

#[test]
fn a_piece_of_full_length_passes_and_a_longer_one_loses_its_tail() {
    let (full, long) = ("x".repeat(100), "y".repeat(101));
    let huge = HEAD_BYTES * 3;
    let body = format!("{full}\r\n{long}\n{}\nend", "z".repeat(huge));
    let out = pieces(100, [body.as_bytes()]);
    assert_eq!(out[0].bytes, full.as_bytes());
    assert_eq!((out[1].number, out[1].flaw), (2, Some(Flaw::TooLarge(101))));
    assert_eq!((out[2].bytes.len(), out[2].flaw), (101, Some(Flaw::TooLarge(huge as u64))));
    assert_eq!(out[3].bytes, b"end");
    let out = pieces(HEAD_BYTES * 2, [format!("[\"{}\",1]", "z".repeat(huge)).as_bytes()]);
    assert_eq!((out[0].bytes.len(), out[0].flaw), (HEAD_BYTES, Some(Flaw::TooLarge(huge as u64 + 2))));
    assert_eq!(out[1].bytes, b"1");
}

/// Text in which brackets, quotes and line ends are frequent.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => proptest::sample::select(b"[]{},\"\\\n\r \t".to_vec()),
        2 => proptest::sample::select(b"ab1".to_vec()),
        1 => any::<u8>(),
    ];
    (any::<bool>(), proptest::collection::vec(byte, 0..80)).prop_map(|(array, mut bytes)| {
        if array {
            bytes.insert(0, b'[');
        }
        bytes
    })
}

proptest! {
    #[test]
    fn chunk_boundaries_change_nothing(body in bodies(), sizes in proptest::collection::vec(1usize..9, 1..90)) {
        let whole = pieces(12, [body.as_slice()]);
        let mut rest = body.as_slice();
        let mut chunks = Vec::new();
        for size in sizes.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, tail) = rest.split_at(size.min(rest.len()));
            chunks.push(chunk);
            rest = tail;
        }
        prop_assert_eq!(pieces(12, chunks), whole);
    }

    #[test]
    fn lines_are_those_of_the_body(lines in proptest::collection::vec("[a-z{}\",]{0,20}", 0..20)) {
        let body = lines.join("\n");
        let expected: Vec<(u64, String)> = (1..).zip(lines).filter(|(_, line)| !line.is_empty()).collect();
        let found: Vec<(u64, String)> = cut(&body).into_iter().map(|(number, text, _)| (number, text)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn elements_are_those_of_the_array(texts in proptest::collection::vec(any::<String>(), 0..12), pretty: bool) {
        let values: Vec<serde_json::Value> =
            texts.iter().map(|text| serde_json::json!({"text": text, "nested": [[text], {"b": 1}]})).collect();
        let body = if pretty { serde_json::to_vec_pretty(&values) } else { serde_json::to_vec(&values) }.unwrap();
        let found: Vec<serde_json::Value> = pieces(1 << 20, [body.as_slice()])
            .iter()
            .map(|piece| serde_json::from_slice(&piece.bytes).unwrap())
            .collect();
        prop_assert_eq!(found, values);
    }

    #[test]
    fn lines_are_cut_the_same_wherever_a_chunk_ends(sizes in proptest::collection::vec(1_usize..40, 1..60), blank in "[ \t\r\n]{0,5}") {
        let good = "a\t1\t{6032:{},6033:{}}";
        let body = format!("{blank}\n[1,2]\r\n{good}\r\n\tx\n{good}");
        let mut splitter = Splitter::lines(1 << 20);
        let (mut rest, mut found) = (body.as_bytes(), Vec::new());
        for size in sizes.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (mut chunk, tail) = rest.split_at(size.min(rest.len()));
            while let Some(piece) = splitter.next_piece(&mut chunk) {
                found.push(piece);
            }
            rest = tail;
        }
        while let Some(piece) = splitter.finish() {
            found.push(piece);
        }
        let first = blank.bytes().filter(|byte| *byte == b'\n').count() as u64 + 2;
        let numbers: Vec<u64> = found.iter().map(|piece| piece.number).collect();
        prop_assert_eq!(numbers, (first..first + 4).collect::<Vec<_>>());
        let bytes: Vec<&[u8]> = found.iter().map(|piece| piece.bytes.as_slice()).collect();
        prop_assert_eq!(bytes, [b"[1,2]".as_slice(), good.as_bytes(), b"\tx", good.as_bytes()]);
    }
}
