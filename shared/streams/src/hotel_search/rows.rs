//! A batch of searches as rows of the vault: one row a key, sorted, the earliest record standing. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::hotel_search::{MinOffer, ProcessedSearch};
use strata_vault::{SatelliteRecord, hashdiff, hub_key};
use uuid::Uuid;

use crate::rows::{HubRows, Load, put_hub};

/// One search with its vault keys.
#[derive(Debug)]
pub struct SearchFact<'a> {
    /// Identity of the search.
    pub event_id: &'a str,
    /// What was searched and offered.
    pub search: &'a ProcessedSearch,
    /// When it came, and from where.
    pub load: Load,
    /// `hk_hotel_search_pk`.
    pub search_pk: Uuid,
    /// `h_user_pk`.
    pub user_pk: Uuid,
    /// `h_hotel_pk`.
    pub hotel_pk: Uuid,
}

impl<'a> SearchFact<'a> {
    /// Computes the keys of a search.
    pub fn new(event_id: &'a str, search: &'a ProcessedSearch, load: Load) -> Self {
        Self {
            event_id,
            search,
            load,
            search_pk: hub_key(event_id),
            user_pk: hub_key(&search.user_id.to_string()),
            hotel_pk: hub_key(&search.hotel_id),
        }
    }
}

/// Attributes of `s_hotel_search_offers`: advertisers, lowest offer.
pub type Offers<'a> = (&'a [String], Option<&'a MinOffer>);

/// Of each search the index of its earliest record in the batch, by key. Only that one counts.
pub fn earliest(facts: &[SearchFact<'_>]) -> BTreeMap<Uuid, usize> {
    let mut searches = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate() {
        let known = searches.entry(fact.search_pk).or_insert(index);
        if fact.load < facts[*known].load {
            *known = index;
        }
    }
    searches
}

/// The searches that the vault did not know, by index, in the order of the batch.
pub fn fresh(searches: &BTreeMap<Uuid, usize>, created: &BTreeSet<Uuid>) -> Vec<usize> {
    let rows = searches.iter().filter(|(key, _)| created.contains(key));
    let mut fresh: Vec<usize> = rows.map(|(_, &index)| index).collect();
    fresh.sort_unstable();
    fresh
}

/// Hub rows that searches bring to the vault.
#[derive(Debug, Default)]
pub struct SearchHubs {
    /// `h_user`.
    pub users: HubRows<String>,
    /// `h_hotel`.
    pub hotels: HubRows<String>,
    /// `h_advertiser`.
    pub advertisers: HubRows<String>,
}

impl SearchHubs {
    /// Spreads searches over the hubs.
    pub fn of<'f>(facts: impl IntoIterator<Item = &'f SearchFact<'f>>) -> Self {
        let mut rows = Self::default();
        for SearchFact { search, load, user_pk, hotel_pk, .. } in facts {
            put_hub(&mut rows.users, *user_pk, || search.user_id.to_string(), load);
            put_hub(&mut rows.hotels, *hotel_pk, || search.hotel_id.clone(), load);
            for name in &search.advertisers {
                put_hub(&mut rows.advertisers, hub_key(name), || name.clone(), load);
            }
        }
        rows
    }
}

/// The satellite row of a search.
pub fn offers<'a>(fact: &SearchFact<'a>) -> SatelliteRecord<(Offers<'a>, Load)> {
    let min_offer = fact.search.min_offer.as_ref();
    let advertisers: Vec<&str> = fact.search.advertisers.iter().map(String::as_str).collect();
    let hashdiff =
        offers_hashdiff(&advertisers, min_offer.map(|offer| (offer.price, offer.advertiser.as_str())));
    let value = ((fact.search.advertisers.as_slice(), min_offer), fact.load.clone());
    SatelliteRecord { parent: fact.search_pk, at: fact.load.at, sent: None, hashdiff, value }
}

/// The fingerprint of what a search found: advertisers, lowest price and who offers it.
pub fn offers_hashdiff(advertisers: &[&str], min_offer: Option<(i64, &str)>) -> Uuid {
    let price = min_offer.map(|(price, _)| price.to_string()).unwrap_or_default();
    // The last two parts are always price and name, so a list of any length stays unambiguous.
    let mut parts = advertisers.to_vec();
    parts.extend([price.as_str(), min_offer.map(|(_, advertiser)| advertiser).unwrap_or_default()]);
    hashdiff(&parts)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;
    use strata_events::{Contract, Origin};

    use super::*;

    const GOLDEN: &[u8] = crate::hotel_search::golden::PROCESSED.as_bytes();

    /// A record of a search: identity, place in the topic, content.
    #[derive(Debug, Clone)]
    struct Sent {
        event_id: String,
        at: i64,
        search: ProcessedSearch,
    }

    fn sent(event_id: &str, at: i64, hotel: &str) -> Sent {
        let mut search = ProcessedSearch::decode(GOLDEN).expect("golden");
        search.hotel_id = hotel.to_owned();
        Sent { event_id: event_id.to_owned(), at, search }
    }

    fn facts(batch: &[Sent]) -> Vec<SearchFact<'_>> {
        let load = |sent: &Sent| {
            let origin = Origin { topic: "raw_data_topic".into(), partition: 0, offset: sent.at };
            // Two records a millisecond.
            Load::new(DateTime::from_timestamp_millis(sent.at / 2).expect("in range"), &origin)
        };
        batch.iter().map(|sent| SearchFact::new(&sent.event_id, &sent.search, load(sent))).collect()
    }

    #[test]
    fn the_golden_search_brings_its_user_hotel_and_advertisers() {
        let batch = [sent("a-1", 1, "6033")];
        let facts = facts(&batch);
        let rows = SearchHubs::of(&facts);
        let names =
            |hub: &HubRows<String>| hub.values().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
        assert_eq!(names(&rows.users), ["001adddd-6a55-4cd0-a1a1-9ca20e20d488".to_owned()].into());
        assert_eq!(names(&rows.hotels), ["6033".to_owned()].into());
        assert_eq!(names(&rows.advertisers), ["Amoma".to_owned(), "Expedia".to_owned()].into());
        assert_eq!(earliest(&facts), [(hub_key("a-1"), 0)].into());
        let row = offers(&facts[0]);
        assert_eq!((row.parent, &*row.value.1.src), (hub_key("a-1"), "raw_data_topic"));
        assert_eq!(row.value.0.1.map(|offer| offer.price), Some(13242));
    }

    #[test]
    fn of_one_search_in_a_batch_the_earliest_record_stands_alone() {
        let batch =
            [sent("a", 3, "late"), sent("b", 4, "other"), sent("a", 2, "first"), sent("a", 5, "last")];
        let facts = facts(&batch);
        let searches = earliest(&facts);
        let created = searches.keys().copied().collect();
        assert_eq!(fresh(&searches, &created), [1, 2]);
        assert_eq!(fresh(&searches, &[hub_key("b")].into()), [1]);
    }

    #[test]
    fn fingerprints_tell_offers_apart() {
        let mut variants = vec![sent("a", 1, "h"); 5];
        variants[1].search.advertisers = vec!["AmomaExpedia".into()];
        variants[2].search.min_offer = None;
        variants[3].search.min_offer = Some(MinOffer { price: 13242, advertiser: "Amoma".into() });
        variants[4].search.min_offer = None;
        variants[4].search.advertisers.push("13242".into());
        let diffs: BTreeSet<Uuid> = facts(&variants).iter().map(|fact| offers(fact).hashdiff).collect();
        assert_eq!(diffs.len(), variants.len());
    }

    /// The vault as the statements keep it: what is there stays, what is new is announced.
    #[derive(Debug, Default, PartialEq)]
    struct Vault {
        hubs: [BTreeMap<Uuid, String>; 3],
        searches: BTreeMap<Uuid, (String, Uuid, Uuid, Load)>,
        offers: BTreeMap<Uuid, (Uuid, Load)>,
        announced: Vec<(String, Vec<u8>)>,
    }

    impl Vault {
        fn load(&mut self, batch: &[Sent]) {
            let facts = facts(batch);
            let searches = earliest(&facts);
            let created = searches.keys().filter(|key| !self.searches.contains_key(key)).copied().collect();
            let fresh = fresh(&searches, &created);
            let rows = SearchHubs::of(fresh.iter().map(|&index| &facts[index]));
            for (stored, hub) in self.hubs.iter_mut().zip([rows.users, rows.hotels, rows.advertisers]) {
                for (key, (name, _)) in hub {
                    stored.entry(key).or_insert(name);
                }
            }
            for index in fresh {
                let fact = &facts[index];
                let link = (fact.event_id.to_owned(), fact.user_pk, fact.hotel_pk, fact.load.clone());
                self.searches.insert(fact.search_pk, link);
                let row = offers(fact);
                self.offers.insert(row.parent, (row.hashdiff, row.value.1));
                let body = serde_json::to_vec(fact.search).expect("JSON");
                self.announced.push((fact.event_id.to_owned(), body));
            }
        }

        fn of<'a>(batches: impl Iterator<Item = &'a [Sent]>) -> Self {
            let mut vault = Self::default();
            batches.for_each(|batch| vault.load(batch));
            vault.announced.sort_unstable();
            vault
        }

        /// Business keys of each hub, as the searches that were let in name them.
        fn named(&self) -> [BTreeSet<String>; 3] {
            let mut named: [BTreeSet<String>; 3] = Default::default();
            for (_, body) in &self.announced {
                let search = ProcessedSearch::decode(body).expect("valid");
                named[0].insert(search.user_id.to_string());
                named[1].insert(search.hotel_id);
                named[2].extend(search.advertisers);
            }
            named
        }
    }

    fn searches() -> impl Strategy<Value = Vec<Sent>> {
        let search =
            (0u128..3, 0u8..3, prop::collection::btree_set("[a-c]", 0..3), prop::option::of(1i64..4));
        prop::collection::vec(search, 1..12).prop_map(|searches| {
            let make =
                |(at, (user, hotel, names, price)): (usize, (u128, u8, BTreeSet<String>, Option<i64>))| {
                    let mut sent = sent(&format!("event {at}"), at as i64, &hotel.to_string());
                    sent.search.user_id = Uuid::from_u128(user);
                    sent.search.advertisers = names.into_iter().collect();
                    let winner = sent.search.advertisers.first().cloned();
                    sent.search.min_offer =
                        price.zip(winner).map(|(price, advertiser)| MinOffer { price, advertiser });
                    sent
                };
            searches.into_iter().enumerate().map(make).collect()
        })
    }

    proptest! {
        #[test]
        fn order_duplicates_and_splits_of_the_input_do_not_matter(
            (searches, shuffled) in searches().prop_flat_map(|searches| {
                let twice: Vec<_> = searches.iter().chain(&searches).cloned().collect();
                (Just(searches), Just(twice).prop_shuffle())
            }),
            split in 1usize..7,
        ) {
            let expected = Vault::of(std::iter::once(searches.as_slice()));
            prop_assert_eq!(expected.announced.len(), searches.len());
            prop_assert_eq!(Vault::of(shuffled.chunks(split)), expected);
        }

        /// Searches that come again with other content leave no trace in the hubs.
        #[test]
        fn hubs_hold_what_the_searches_that_were_let_in_name(
            mut searches in searches(),
            identities in 1usize..4,
            split in 1usize..7,
        ) {
            for (at, search) in searches.iter_mut().enumerate() {
                search.event_id = format!("event {}", at % identities);
            }
            let vault = Vault::of(searches.chunks(split));
            let hubs = vault.hubs.clone().map(|hub| hub.into_values().collect::<BTreeSet<String>>());
            prop_assert_eq!(hubs, vault.named());
        }
    }
}
