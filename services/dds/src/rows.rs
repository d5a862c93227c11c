//! Rows as all streams build them: one row a key, sorted, the earliest load standing. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use strata_events::Origin;
use strata_vault::{LoadPosition, SatelliteRecord, hashdiff, link_key};
use uuid::Uuid;

/// `load_dt` and `load_src` of a row: the Kafka time and the topic of the record it came with first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    /// Place in time.
    pub at: LoadPosition,
    /// Topic at the source.
    pub src: String,
}

impl Load {
    /// Takes time and place from the record that started the event's way.
    pub fn new(load_dt: DateTime<Utc>, source: &Origin) -> Self {
        Self { at: LoadPosition::new(load_dt, source.partition, source.offset), src: source.topic.clone() }
    }
}

/// Rows of a hub by key, each with the business key and the earliest load.
pub type HubRows<K> = BTreeMap<Uuid, (K, Load)>;

/// Rows of a link by key: both hub keys and the earliest load.
pub type LinkRows = BTreeMap<Uuid, ([Uuid; 2], Load)>;

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
pub fn put_link(rows: &mut LinkRows, hubs: [Uuid; 2], load: &Load) {
    match rows.get_mut(&link_key(&hubs)) {
        Some(row) if *load < row.1 => row.1 = load.clone(),
        Some(_) => {}
        None => drop(rows.insert(link_key(&hubs), (hubs, load.clone()))),
    }
}

/// A candidate for a satellite, with the fingerprint of its attributes.
pub fn record<T>(parent: Uuid, load: &Load, attributes: &[&str], value: T) -> SatelliteRecord<(T, Load)> {
    SatelliteRecord { parent, at: load.at, hashdiff: hashdiff(attributes), value: (value, load.clone()) }
}
