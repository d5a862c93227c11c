//! The reference fold of searches: what every layer must hold after them, computed in memory.
//!
//! It reads JSON by itself and knows nothing of batches, offsets or outputs: a search is what its first
//! record says, by `event_id`, however often it lies in the topic.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::Value;
use uuid::Uuid;

use crate::kafka::TopicRecord;
use crate::keys::hub;
use crate::model::{Arrival, Row, micros};

/// Offers above this are no prices, euro cents.
const HIGHEST_PRICE: i64 = 1_000_000_000;

/// What a search says, cleaned.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Who searched.
    pub user: String,
    /// Which hotel.
    pub hotel: String,
    /// When, as the warehouse writes it.
    pub search_dt: String,
    /// Who offered.
    pub advertisers: BTreeSet<String>,
    /// Lowest price and who offers it.
    pub min_offer: Option<(i64, String)>,
}

/// One record of a search.
#[derive(Debug, Clone)]
struct Version {
    at: Arrival,
    body: Value,
    fact: Fact,
}

/// Every layer after the searches it was given.
#[derive(Debug, Clone, Default)]
pub struct SearchModel {
    /// The records of each search in the order of time, by `event_id`.
    searches: BTreeMap<String, Vec<Version>>,
}

impl SearchModel {
    /// Takes a record of the raw topic.
    ///
    /// **Panics** when the record is no valid search: what becomes a dead letter is no business of the model.
    pub fn accept(&mut self, topic: &str, record: &TopicRecord) {
        let bytes = record.payload.as_deref().unwrap_or_default();
        let body: Value = serde_json::from_slice(bytes)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)));
        let event_id = match record.header("event_id").or_else(|| body["event_id"].as_str()) {
            Some(given) => given.to_owned(),
            None => hub(&format!("{topic}/{}/{}", record.partition, record.offset)).to_string(),
        };
        let fact = clean(&body).unwrap_or_else(|| panic!("no search: {body}"));
        let versions = self.searches.entry(event_id).or_default();
        versions.push(Version { at: record.into(), body, fact });
        versions.sort_by_key(|version| version.at);
    }

    /// Number of distinct searches.
    pub fn count(&self) -> usize {
        self.searches.len()
    }

    /// Searches by `event_id`, as their first records say.
    pub fn facts(&self) -> impl Iterator<Item = (&String, &Fact)> {
        self.searches.iter().map(|(id, versions)| (id, &versions[0].fact))
    }

    /// Rows of `stg.hotel_search_events`: `event_id`, user, hotel as received, time.
    pub fn raw_rows(&self) -> Vec<Row> {
        let rows = self.searches.iter().map(|(id, versions)| {
            let hotel = versions[0].body["hotel_id"].as_str().unwrap_or_default();
            vec![
                id.clone(),
                versions[0].fact.user.clone(),
                hotel.to_owned(),
                versions[0].fact.search_dt.clone(),
            ]
        });
        rows.collect()
    }

    /// True when a record of this search has this Kafka timestamp and body.
    ///
    /// Within a partition only the first will do; which of two partitions is read first nobody knows.
    pub fn was_received(&self, event_id: &str, timestamp_ms: i64, body: &Value) -> bool {
        self.candidates(event_id).iter().any(|v| v.at.timestamp_ms == timestamp_ms && v.body == *body)
    }

    /// True when a row of this search may carry this time.
    pub fn has_time(&self, event_id: &str, timestamp_ms: i64) -> bool {
        self.candidates(event_id).iter().any(|version| version.at.timestamp_ms == timestamp_ms)
    }

    fn candidates(&self, event_id: &str) -> &[Version] {
        let versions = self.searches.get(event_id).map_or(&[][..], Vec::as_slice);
        let first = versions.first().map(|version| version.at.partition);
        let spread = versions.iter().any(|version| Some(version.at.partition) != first);
        if spread { versions } else { &versions[..versions.len().min(1)] }
    }

    /// Kafka timestamps of the records.
    pub fn timestamps(&self) -> BTreeSet<i64> {
        self.searches.values().flatten().map(|version| version.at.timestamp_ms).collect()
    }

    /// Rows of each hub: key and business key. A record of a known search leaves none.
    pub fn hubs(&self) -> BTreeMap<&'static str, BTreeSet<Row>> {
        let mut hubs: BTreeMap<&str, BTreeSet<Row>> = BTreeMap::new();
        for (_, fact) in self.facts() {
            let own = [("h_user", &fact.user), ("h_hotel", &fact.hotel)].into_iter();
            for (table, key) in own.chain(fact.advertisers.iter().map(|name| ("h_advertiser", name))) {
                hubs.entry(table).or_default().insert(vec![hub(key).to_string(), key.clone()]);
            }
        }
        hubs
    }

    /// Rows of `dds.l_hotel_search`: key, `event_id`, keys of user and hotel, time.
    pub fn links(&self) -> Vec<Row> {
        let row = |(id, fact): (&String, &Fact)| {
            let [key, user, hotel] = [id, &fact.user, &fact.hotel].map(|text| hub(text).to_string());
            vec![key, id.clone(), user, hotel, fact.search_dt.clone()]
        };
        self.facts().map(row).collect()
    }

    /// Rows of `dds.s_hotel_search_offers`: key of the search, advertisers as JSON, price and winner.
    pub fn offers(&self) -> Vec<Row> {
        let row = |(id, fact): (&String, &Fact)| {
            let advertisers = serde_json::to_string(&fact.advertisers).expect("names are JSON");
            let (price, winner) = match &fact.min_offer {
                Some((price, winner)) => (price.to_string(), winner.clone()),
                None => ("null".to_owned(), "null".to_owned()),
            };
            vec![hub(id).to_string(), advertisers, price, winner]
        };
        self.facts().map(row).collect()
    }

    /// How often each user was seen.
    pub fn users(&self) -> BTreeMap<String, u64> {
        self.frequencies(|fact| std::slice::from_ref(&fact.user).iter())
    }

    /// How often each hotel was seen.
    pub fn hotels(&self) -> BTreeMap<String, u64> {
        self.frequencies(|fact| std::slice::from_ref(&fact.hotel).iter())
    }

    /// How often each advertiser was seen.
    pub fn advertisers(&self) -> BTreeMap<String, u64> {
        self.frequencies(|fact| fact.advertisers.iter())
    }

    fn frequencies<'a, I>(&'a self, members: impl Fn(&'a Fact) -> I) -> BTreeMap<String, u64>
    where
        I: Iterator<Item = &'a String>,
    {
        let mut counts = BTreeMap::new();
        for (_, fact) in self.facts() {
            members(fact).for_each(|member| *counts.entry(member.clone()).or_default() += 1);
        }
        counts
    }

    /// Lowest winning price by hotel and advertiser.
    pub fn prices(&self) -> BTreeMap<String, BTreeMap<String, i64>> {
        let mut prices: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
        for (_, fact) in self.facts() {
            if let Some((price, winner)) = &fact.min_offer {
                let lowest =
                    prices.entry(fact.hotel.clone()).or_default().entry(winner.clone()).or_insert(*price);
                *lowest = *price.min(lowest);
            }
        }
        prices
    }
}

/// What a search says, or none where it is none.
fn clean(body: &Value) -> Option<Fact> {
    let mut prices: BTreeMap<String, Option<i64>> = BTreeMap::new();
    for (name, offers) in body["hotel_advertisers"].as_object()? {
        if name.trim().is_empty() {
            continue;
        }
        let usable =
            |offer: &Value| offer["eurocents"].as_i64().filter(|cents| (1..=HIGHEST_PRICE).contains(cents));
        let known = prices.entry(name.trim().to_owned()).or_default();
        *known = offers.as_array()?.iter().filter_map(usable).chain(*known).min();
    }
    let mut min_offer: Option<(i64, String)> = None;
    for (name, price) in &prices {
        // In name order: an equal price does not take the place of an earlier name.
        if let Some(price) = price.filter(|price| min_offer.as_ref().is_none_or(|(lowest, _)| price < lowest))
        {
            min_offer = Some((price, name.clone()));
        }
    }
    let seconds = &body["search_timestamp"];
    let micros_of = |seconds: f64| DateTime::from_timestamp_micros((seconds * 1e6).round() as i64);
    let time =
        seconds.as_i64().map_or_else(|| micros_of(seconds.as_f64()?), |s| DateTime::from_timestamp(s, 0));
    Some(Fact {
        user: body["user_id"].as_str()?.parse::<Uuid>().ok()?.to_string(),
        hotel: body["hotel_id"].as_str()?.trim().to_owned(),
        search_dt: micros(time?),
        advertisers: prices.into_keys().collect(),
        min_offer,
    })
}
