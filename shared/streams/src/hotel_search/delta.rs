//! A batch of searches as increments and lowest prices. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::hotel_search::ProcessedSearch;

/// What a batch adds to the metrics.
///
/// Sums and minima: any split or order of the same searches comes to the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// User → searches.
    pub users: BTreeMap<String, u64>,
    /// Hotel → searches.
    pub hotels: BTreeMap<String, u64>,
    /// Advertiser → searches it offered in.
    pub advertisers: BTreeMap<String, u64>,
    /// Hotel → advertiser → lowest winning price, euro cents.
    pub offers: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Delta {
    /// Adds a search: its user, its hotel and each of its advertisers once, and its winning offer.
    pub fn add(&mut self, search: &ProcessedSearch) {
        *self.users.entry(search.user_id.to_string()).or_default() += 1;
        *self.hotels.entry(search.hotel_id.clone()).or_default() += 1;
        for advertiser in search.advertisers.iter().collect::<BTreeSet<_>>() {
            *self.advertisers.entry(advertiser.clone()).or_default() += 1;
        }
        if let Some(offer) = &search.min_offer {
            let prices = self.offers.entry(search.hotel_id.clone()).or_default();
            let lowest = prices.entry(offer.advertiser.clone()).or_insert(offer.price);
            *lowest = offer.price.min(*lowest);
        }
    }

    /// Most entries that a search can add, for the size of a script call.
    pub fn weight(search: &ProcessedSearch) -> usize {
        search.advertisers.len() + 3
    }
}

#[cfg(test)]
mod tests {
    use crate::hotel_search::MinOffer;
    use proptest::prelude::*;
    use strata_events::Contract;
    use uuid::Uuid;

    use super::*;

    const GOLDEN: &[u8] = crate::hotel_search::golden::PROCESSED.as_bytes();

    /// What Redis does with a delta.
    fn merge(into: &mut Delta, delta: &Delta) {
        let sums = [
            (&mut into.users, &delta.users),
            (&mut into.hotels, &delta.hotels),
            (&mut into.advertisers, &delta.advertisers),
        ];
        for (all, added) in sums {
            added.iter().for_each(|(member, times)| *all.entry(member.clone()).or_default() += times);
        }
        for (hotel, prices) in &delta.offers {
            for (advertiser, price) in prices {
                let lowest = into.offers.entry(hotel.clone()).or_default();
                lowest.entry(advertiser.clone()).and_modify(|old| *old = *price.min(old)).or_insert(*price);
            }
        }
    }

    fn searches() -> impl Strategy<Value = Vec<ProcessedSearch>> {
        let advertiser = || (0..4u8).prop_map(|n| format!("a{n}"));
        let offer = (1..50i64, advertiser()).prop_map(|(price, advertiser)| MinOffer { price, advertiser });
        let search = (0..3u128, 0..3u8, prop::collection::vec(advertiser(), 0..5), prop::option::of(offer))
            .prop_map(|(user, hotel, advertisers, min_offer)| ProcessedSearch {
                user_id: Uuid::from_u128(user),
                hotel_id: format!("{hotel}"),
                search_timestamp: 1_620_224_528.into(),
                advertisers,
                min_offer,
            });
        prop::collection::vec(search, 0..40)
    }

    #[test]
    fn a_search_counts_its_parts_once() {
        let mut search = ProcessedSearch::decode(GOLDEN).expect("golden");
        search.advertisers.push("Amoma".to_owned());
        let mut delta = Delta::default();
        delta.add(&search);
        assert_eq!(delta.users.into_iter().collect::<Vec<_>>(), [(search.user_id.to_string(), 1)]);
        assert_eq!(delta.hotels.into_iter().collect::<Vec<_>>(), [("6033".to_owned(), 1)]);
        assert_eq!(delta.advertisers["Amoma"], 1);
        assert_eq!(delta.advertisers["Expedia"], 1);
        assert_eq!(delta.offers["6033"], BTreeMap::from([("Expedia".to_owned(), 13242)]));
    }

    #[test]
    fn a_search_without_an_offer_has_no_price() {
        let mut search = ProcessedSearch::decode(GOLDEN).expect("golden");
        search.min_offer = None;
        let mut delta = Delta::default();
        delta.add(&search);
        assert!(delta.offers.is_empty());
    }

    proptest! {
        #[test]
        fn any_split_and_order_comes_to_the_same(
            (ordered, shuffled) in searches().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
            size in 1..10usize,
        ) {
            let mut whole = Delta::default();
            ordered.iter().for_each(|search| whole.add(search));
            let mut merged = Delta::default();
            for part in shuffled.chunks(size) {
                let mut delta = Delta::default();
                part.iter().for_each(|search| delta.add(search));
                merge(&mut merged, &delta);
            }
            prop_assert_eq!(whole, merged);
        }
    }
}
