//! Rows as all streams build them: one row a key, sorted, the earliest load standing. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use strata_events::Origin;
use strata_vault::{LoadPosition, SatelliteRecord, Sent, hashdiff, hub_key, link_key};
use uuid::Uuid;

/// `load_dt` and `load_src` of a row: the Kafka time and the topic of the record it came with first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    /// Place in time.
    pub at: LoadPosition,
    /// Topic at the source.
    pub src: Arc<str>,
}

impl Load {
    /// Takes time and place from the record that started the event's way.
    pub fn new(load_dt: DateTime<Utc>, source: &Origin) -> Self {
        Self {
            at: LoadPosition::new(load_dt, source.partition, source.offset),
            src: Arc::clone(&source.topic),
        }
    }
}

/// Rows of a hub by key, each with the business key and the earliest load.
pub type HubRows<K> = BTreeMap<Uuid, (K, Load)>;

/// Pairs of hub keys that a link joins, each with the earliest load.
pub type LinkPairs = HashMap<[Uuid; 2], Load>;

/// A row of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// Key of the link.
    pub key: Uuid,
    /// Keys of the hubs it joins.
    pub hubs: [Uuid; 2],
    /// The earliest load.
    pub load: Load,
}

/// Puts a business key in, the earliest load standing.
pub fn put_hub<K>(rows: &mut HubRows<K>, key: Uuid, business_key: impl FnOnce() -> K, load: &Load) {
    match rows.get_mut(&key) {
        // The attributes beside the key are those of the earliest record, as its load_dt is.
        Some(row) if *load < row.1 => *row = (business_key(), load.clone()),
        Some(_) => {}
        None => drop(rows.insert(key, (business_key(), load.clone()))),
    }
}

/// Puts a pair of hub keys in, the earliest load standing.
pub fn put_link(pairs: &mut LinkPairs, hubs: [Uuid; 2], load: &Load) {
    pairs
        .entry(hubs)
        .and_modify(|known| {
            if load < known {
                *known = load.clone();
            }
        })
        .or_insert_with(|| load.clone());
}

/// The rows of a link, sorted by the hubs as its primary key is: the key is computed once per pair, however often
/// the pair came.
pub fn link_rows(pairs: LinkPairs) -> Vec<LinkRow> {
    let mut rows: Vec<LinkRow> =
        pairs.into_iter().map(|(hubs, load)| LinkRow { key: link_key(&hubs), hubs, load }).collect();
    rows.sort_unstable_by_key(|row| row.hubs);
    rows
}

/// Keys of texts that come again and again within a batch, each computed once.
#[derive(Debug, Default)]
pub struct Keys<'a>(HashMap<&'a str, Uuid>);

impl<'a> Keys<'a> {
    /// The hub key of a business key.
    pub fn hub(&mut self, business_key: &'a str) -> Uuid {
        *self.0.entry(business_key).or_insert_with(|| hub_key(business_key))
    }
}

/// Fingerprints of attributes that come again and again within a batch, each computed once.
#[derive(Debug)]
pub struct Fingerprints<'a, const N: usize>(HashMap<[&'a str; N], Uuid>);

impl<'a, const N: usize> Default for Fingerprints<'a, N> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<'a, const N: usize> Fingerprints<'a, N> {
    /// The fingerprint of these attributes.
    pub fn of(&mut self, attributes: [&'a str; N]) -> Uuid {
        *self.0.entry(attributes).or_insert_with(|| hashdiff(&attributes))
    }
}

/// A candidate for a satellite, with the fingerprint of its attributes.
pub fn record<T>(
    parent: Uuid,
    load: &Load,
    sent: Sent,
    hashdiff: Uuid,
    value: T,
) -> SatelliteRecord<(T, Load)> {
    SatelliteRecord { parent, at: load.at, sent, hashdiff, value: (value, load.clone()) }
}
