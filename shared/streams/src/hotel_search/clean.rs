//! From a search as the travel site sends it to what the vault keeps of it. Pure.

use std::collections::BTreeMap;

use crate::hotel_search::{MinOffer, Offer, ProcessedSearch, Search};

/// Reduces a search to its advertisers and its lowest usable offer.
///
/// Ids and names lose the spaces around them; a name that is nothing else is left out. An advertiser
/// without a usable offer was seen all the same, so it stays. Of equal prices the first name wins.
/// Offers that are sent twice need no care: only the lowest counts.
pub fn clean(search: &Search) -> ProcessedSearch {
    let mut lowest: BTreeMap<&str, Option<i64>> = BTreeMap::new();
    for (name, offers) in &search.hotel_advertisers {
        let name = name.trim();
        if name.is_empty() {
            continue;
        }
        // Two spellings may come down to one name.
        let known = lowest.entry(name).or_default();
        *known = offers.iter().filter_map(Offer::price).chain(*known).min();
    }
    let offers = lowest.iter().filter_map(|(name, price)| price.map(|price| (price, *name)));
    let min_offer = offers.min().map(|(price, name)| MinOffer { price, advertiser: name.to_owned() });
    ProcessedSearch {
        user_id: search.user_id,
        hotel_id: search.hotel_id.trim().to_owned(),
        search_timestamp: search.search_timestamp.clone(),
        advertisers: lowest.into_keys().map(str::to_owned).collect(),
        min_offer,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use strata_events::Contract;

    use super::*;

    const RAW: &[u8] = crate::hotel_search::golden::RAW.as_bytes();
    const PROCESSED: &[u8] = crate::hotel_search::golden::PROCESSED.as_bytes();

    fn search(advertisers: Value) -> Search {
        let mut search: Value = serde_json::from_slice(RAW).expect("JSON");
        search["hotel_advertisers"] = advertisers;
        Search::decode(search.to_string().as_bytes()).expect("valid")
    }

    #[test]
    fn the_golden_search_becomes_the_golden_processed_search() {
        let processed = clean(&Search::decode(RAW).expect("search"));
        let processed = serde_json::to_value(processed).expect("JSON");
        assert_eq!(processed, serde_json::from_slice::<Value>(PROCESSED).expect("JSON"));
    }

    #[test]
    fn advertisers_and_the_lowest_offer_are_found_in_whatever_is_sent() {
        let at = |cents: i64| json!({"eurocents": cents, "breakfast": null});
        let cases = [
            ("lowest of all", json!({"B": [at(3), at(2)], "A": [at(4)]}), vec!["A", "B"], Some((2, "B"))),
            ("first name of a tie", json!({"B": [at(2)], "A": [at(2)]}), vec!["A", "B"], Some((2, "A"))),
            ("offer sent twice", json!({"A": [at(2), at(2)]}), vec!["A"], Some((2, "A"))),
            ("empty list", json!({"A": [], "B": [at(9)]}), vec!["A", "B"], Some((9, "B"))),
            ("free of charge", json!({"A": [at(0), at(-5)], "B": [at(9)]}), vec!["A", "B"], Some((9, "B"))),
            ("no price", json!({"A": [{"eurocents": null}], "B": []}), vec!["A", "B"], None),
            ("a price out of range", json!({"A": [at(1_000_000_001)]}), vec!["A"], None),
            ("highest price", json!({"A": [at(1_000_000_000)]}), vec!["A"], Some((1_000_000_000, "A"))),
            ("nobody", json!({}), vec![], None),
            ("nameless", json!({"": [at(1)], "  ": [at(1)], "A": [at(2)]}), vec!["A"], Some((2, "A"))),
            ("spaces", json!({" A": [at(3)], "A ": [at(1)], "A": [at(2)]}), vec!["A"], Some((1, "A"))),
            ("one spelling empty", json!({" A": [at(3)], "A": []}), vec!["A"], Some((3, "A"))),
            ("case matters", json!({"a": [at(1)], "B": [at(1)]}), vec!["B", "a"], Some((1, "B"))),
        ];
        for (name, advertisers, expected, min_offer) in cases {
            let processed = clean(&search(advertisers));
            assert_eq!(processed.advertisers, expected, "{name}");
            let found = processed.min_offer.as_ref().map(|offer| (offer.price, offer.advertiser.as_str()));
            assert_eq!(found, min_offer, "{name}");
        }
    }

    #[test]
    fn the_hotel_loses_the_spaces_around_its_id() {
        let mut search = search(json!({}));
        search.hotel_id = " 6033 ".to_owned();
        assert_eq!(clean(&search).hotel_id, "6033");
    }

    proptest! {
        #[test]
        fn what_is_cleaned_can_be_read_by_the_next_layer_and_does_not_depend_on_order_or_repeats(
            (offers, shuffled) in prop::collection::vec(("[ AaБ]{0,2}", -1i64..4), 0..12)
                .prop_flat_map(|offers| {
                    let twice: Vec<_> = offers.iter().chain(&offers).cloned().collect();
                    (Just(offers), Just(twice).prop_shuffle())
                }),
        ) {
            let cleaned = |offers: &[(String, i64)]| {
                let mut search = search(json!({}));
                for (name, cents) in offers {
                    let offer = Offer { eurocents: Some(*cents), breakfast: None };
                    search.hotel_advertisers.entry(name.clone()).or_default().push(offer);
                }
                clean(&search)
            };
            let processed = cleaned(&offers);
            prop_assert_eq!(&cleaned(&shuffled), &processed);
            let bytes = serde_json::to_vec(&processed).expect("JSON");
            prop_assert_eq!(ProcessedSearch::decode(&bytes), Ok(processed));
        }
    }
}
