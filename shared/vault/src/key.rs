//! Hash keys. Source: Dan Linstedt's Data Vault 2.0 hash keys, here as name-based UUIDs (RFC 9562, version 3).

use std::io::Write as _;

use uuid::Uuid;

/// The key of a hub row: `uuid3(NAMESPACE_X500, business key as text)`.
pub fn hub_key(business_key: &str) -> Uuid {
    Uuid::new_v3(&Uuid::NAMESPACE_X500, business_key.as_bytes())
}

/// The key of a link row: the hub keys, lower-case and hyphenated, joined by `_`, hashed as a hub key is.
///
/// All parts have one length, so no two lists of keys share a text. Of two to four hubs.
pub fn link_key<const N: usize>(hub_keys: &[Uuid; N]) -> Uuid {
    const { assert!(2 <= N && N <= 4) };
    // On the stack: a link row wants its key, and nothing allocated for it.
    let mut text = [b'_'; 4 * 37];
    for (part, key) in text.chunks_exact_mut(37).zip(hub_keys) {
        key.hyphenated().encode_lower(part);
    }
    Uuid::new_v3(&Uuid::NAMESPACE_X500, &text[..N * 37 - 1])
}

/// The fingerprint of a satellite row's attributes, in column order.
pub fn hashdiff(parts: &[&str]) -> Uuid {
    let mut fingerprint = Fingerprint(Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum()));
    parts.iter().for_each(|part| fingerprint.push(part));
    fingerprint.finish()
}

/// A fingerprint that is made part by part.
///
/// Every part carries its length, so `("ab", "c")` and `("a", "bc")` differ.
pub(crate) struct Fingerprint(Vec<u8>);

impl Fingerprint {
    /// Without a part; for most there is room.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(64))
    }

    /// Adds an attribute.
    pub(crate) fn push(&mut self, part: &str) {
        // Writing to memory cannot fail.
        drop(write!(self.0, "{}:", part.len()));
        self.0.extend_from_slice(part.as_bytes());
    }

    /// The hash of all parts.
    pub(crate) fn finish(self) -> Uuid {
        Uuid::new_v3(&Uuid::NAMESPACE_X500, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_contract_vectors_hold() {
        let hubs = [
            ("7608298", "2a86e8a3-faae-37c2-9cb6-70af837dd42f"),
            ("d3275d9d9530440ea2b0be23", "25f98706-7d86-3388-bfba-ea8376a8bbe1"),
            ("97a91f3df3b44224bb8d67a4", "b5ed2502-4f0d-3dc6-9a39-22cd6038acbf"),
            ("22a38d8dbb584051b8b72f15", "5fef8f39-d458-3793-a1ee-a3333506ecc4"),
            ("af69ef12f4f34c6d86441c69", "071485c1-74fc-34c3-a1e5-7e44a418c476"),
            ("Супы", "9b6bbc10-93eb-34e4-947d-97fe9f716803"),
        ];
        for (text, key) in hubs {
            assert_eq!(hub_key(text).to_string(), key, "{text}");
        }
        let [order, user, product, _, restaurant, category] = hubs.map(|(text, _)| hub_key(text));
        let links = [
            ([order, user], "85ee8d37-64f1-323c-aaca-9fabc2aae696"),
            ([order, product], "ada3df49-5867-3734-98eb-2d21543c0a8d"),
            ([product, restaurant], "c48606a9-5fbf-3b13-afbc-9d5e1920bf2b"),
            ([product, category], "f57aaacd-d153-3a27-925b-2dd53cb51d4b"),
        ];
        for (hubs, key) in links {
            assert_eq!(link_key(&hubs).to_string(), key);
        }
    }

    proptest! {
        #[test]
        fn hashdiffs_tell_where_one_attribute_ends(text in "\\PC{0,20}", a in 0usize..20, b in 0usize..20) {
            let cut = |at: usize| {
                let at = text.char_indices().map(|(i, _)| i).nth(at).unwrap_or(text.len());
                text.split_at(at)
            };
            let ((a1, a2), (b1, b2)) = (cut(a), cut(b));
            prop_assert_eq!(hashdiff(&[a1, a2]) == hashdiff(&[b1, b2]), a1 == b1);
        }
    }
}
