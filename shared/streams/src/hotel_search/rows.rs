//! A batch of searches as rows of the vault: one row a key, sorted, the earliest record standing. Pure.

use std::collections::BTreeMap;

use crate::hotel_search::ProcessedSearch;
use chrono::DateTime;
use strata_vault::model::Parent;
use strata_vault::rows::{Batch, Fresh, KeyedRows, Load, SatelliteRows};
use strata_vault::{Value, fingerprint, hub_key};
use uuid::Uuid;

use super::vault::{ADVERTISER, HOTEL, HOTEL_SEARCH, HOTEL_SEARCH_OFFERS};
use crate::vault::USER;

/// One search with its vault keys.
#[derive(Debug)]
pub struct SearchFact<'a> {
    /// Identity of the search.
    pub event_id: &'a str,
    /// What was searched and offered.
    pub search: &'a ProcessedSearch,
    /// When it came, and from where.
    pub load: Load,
    /// Business key of the user.
    pub user_id: &'a str,
    /// `hk_hotel_search_pk`.
    pub search_pk: Uuid,
    /// `h_user_pk`.
    pub user_pk: Uuid,
    /// `h_hotel_pk`.
    pub hotel_pk: Uuid,
}

impl<'a> SearchFact<'a> {
    /// Computes the keys of a search; `user_id` is its user's as text.
    pub fn new(event_id: &'a str, user_id: &'a str, search: &'a ProcessedSearch, load: Load) -> Self {
        Self {
            event_id,
            search,
            load,
            search_pk: hub_key(event_id),
            user_pk: hub_key(user_id),
            hotel_pk: hub_key(&search.hotel_id),
            user_id,
        }
    }
}

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
pub fn fresh(searches: &BTreeMap<Uuid, usize>, created: &Fresh) -> Vec<usize> {
    let rows = searches.iter().filter(|(key, _)| created.contains(key));
    let mut fresh: Vec<usize> = rows.map(|(_, &index)| index).collect();
    fresh.sort_unstable();
    fresh
}

/// The links of searches.
pub fn links<'a, 'f>(facts: impl IntoIterator<Item = &'f SearchFact<'a>>) -> KeyedRows<'a>
where
    'a: 'f,
{
    let mut rows = KeyedRows::of(Parent::Link(&HOTEL_SEARCH));
    for fact in facts {
        let search_dt = DateTime::from_timestamp_micros(fact.search.timestamp_micros()).unwrap_or_default();
        let said = || {
            [
                Value::Text(fact.event_id),
                Value::Uuid(fact.user_pk),
                Value::Uuid(fact.hotel_pk),
                Value::Timestamp(search_dt),
            ]
        };
        rows.put(fact.search_pk, said, &fact.load);
    }
    rows
}

/// The hubs that searches name, in the order of the model.
pub fn hubs<'a, 'f>(facts: impl IntoIterator<Item = &'f SearchFact<'a>>) -> Vec<KeyedRows<'a>>
where
    'a: 'f,
{
    let [mut users, mut hotels, mut advertisers] = [&USER, &HOTEL, &ADVERTISER].map(KeyedRows::hub);
    for fact in facts {
        users.put(fact.user_pk, || [Value::Text(fact.user_id)], &fact.load);
        hotels.put(fact.hotel_pk, || [Value::Text(&fact.search.hotel_id)], &fact.load);
        for name in &fact.search.advertisers {
            advertisers.put(hub_key(name), || [Value::Text(name)], &fact.load);
        }
    }
    vec![users, hotels, advertisers]
}

/// What searches were offered.
pub fn offers<'a, 'f>(facts: impl IntoIterator<Item = &'f SearchFact<'a>>) -> SatelliteRows<'a>
where
    'a: 'f,
{
    let mut rows = SatelliteRows::of(&HOTEL_SEARCH_OFFERS);
    for fact in facts {
        let offer = fact.search.min_offer.as_ref();
        let values = [
            Value::Texts(&fact.search.advertisers),
            offer.map_or(Value::Null, |offer| Value::BigInt(offer.price)),
            offer.map_or(Value::Null, |offer| Value::Text(&offer.advertiser)),
        ];
        rows.push(fact.search_pk, &fact.load, None, fingerprint(values), values);
    }
    rows
}

/// What searches that the vault did not know bring beside their links.
pub fn rest<'a, 'f>(facts: impl IntoIterator<Item = &'f SearchFact<'a>> + Clone) -> Batch<'a>
where
    'a: 'f,
{
    Batch { hubs: hubs(facts.clone()), links: Vec::new(), satellites: vec![offers(facts)] }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::hotel_search::MinOffer;
    use proptest::prelude::*;
    use strata_events::{Contract, Origin};
    use strata_vault::hashdiff;

    use super::*;
    use crate::hotel_search::vault::MODEL;

    const GOLDEN: &[u8] = crate::hotel_search::golden::PROCESSED.as_bytes();

    /// A record of a search: identity, place in the topic, content.
    #[derive(Debug, Clone)]
    struct Sent {
        event_id: String,
        at: i64,
        user_id: String,
        search: ProcessedSearch,
    }

    fn sent(event_id: &str, at: i64, hotel: &str) -> Sent {
        let mut search = ProcessedSearch::decode(GOLDEN).expect("golden");
        search.hotel_id = hotel.to_owned();
        Sent { event_id: event_id.to_owned(), at, user_id: search.user_id.to_string(), search }
    }

    fn facts(batch: &[Sent]) -> Vec<SearchFact<'_>> {
        let load = |sent: &Sent| {
            let origin = Origin { topic: "raw_data_topic".into(), partition: 0, offset: sent.at };
            // Two records a millisecond.
            Load::new(DateTime::from_timestamp_millis(sent.at / 2).expect("in range"), &origin)
        };
        batch
            .iter()
            .map(|sent| SearchFact::new(&sent.event_id, &sent.user_id, &sent.search, load(sent)))
            .collect()
    }

    #[test]
    fn the_golden_search_brings_its_user_hotel_and_advertisers() {
        let batch = [sent("a-1", 1, "6033")];
        let facts = facts(&batch);
        let names: Vec<Vec<Value<'_>>> = hubs(&facts).iter().map(|hub| hub.column(0).collect()).collect();
        assert_eq!(names[0], [Value::Text("001adddd-6a55-4cd0-a1a1-9ca20e20d488")]);
        assert_eq!(names[1], [Value::Text("6033")]);
        let advertisers: BTreeSet<Uuid> = hubs(&facts)[2].keys().collect();
        assert_eq!(advertisers, ["Amoma", "Expedia"].map(hub_key).into());
        assert_eq!(earliest(&facts), [(hub_key("a-1"), 0)].into());
        let (records, offers) = offers(&facts).split();
        assert_eq!((records[0].parent, &*records[0].value.load.src), (hub_key("a-1"), "raw_data_topic"));
        assert_eq!(offers.of(&records[0], 1), Value::BigInt(13242));
        assert_eq!(records[0].hashdiff, hashdiff(&["Amoma", "Expedia", "13242", "Expedia"]));
    }

    #[test]
    fn a_batch_brings_every_table_in_the_order_of_the_model() {
        let Batch { hubs, satellites, .. } = rest(&[]);
        let hubs: Vec<&str> = hubs.iter().map(|rows| rows.table.table()).collect();
        assert_eq!(hubs, MODEL.hubs.iter().map(|hub| hub.table).collect::<Vec<_>>());
        let satellites: Vec<&str> = satellites.iter().map(|rows| rows.satellite.table).collect();
        assert_eq!(satellites, MODEL.satellites.iter().map(|satellite| satellite.table).collect::<Vec<_>>());
        assert_eq!(links(&[]).table.table(), MODEL.subject.table());
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
        let diffs: BTreeSet<Uuid> =
            offers(&facts(&variants)).records.iter().map(|record| record.hashdiff).collect();
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
            let rows = hubs(fresh.iter().map(|&index| &facts[index]));
            for (stored, hub) in self.hubs.iter_mut().zip(rows) {
                for (key, name) in hub.keys().zip(hub.column(0)) {
                    let Value::Text(name) = name else { panic!("{name:?} is no text") };
                    stored.entry(key).or_insert_with(|| name.to_owned());
                }
            }
            for index in fresh {
                let fact = &facts[index];
                let link = (fact.event_id.to_owned(), fact.user_pk, fact.hotel_pk, fact.load.clone());
                self.searches.insert(fact.search_pk, link);
                let row = offers([fact]).records.remove(0);
                self.offers.insert(row.parent, (row.hashdiff, row.value.load));
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
                    sent.user_id = sent.search.user_id.to_string();
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
