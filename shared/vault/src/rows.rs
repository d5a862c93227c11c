//! Rows of a batch, table by table: one row a key, sorted, the earliest load standing. Pure.
//!
//! The values of a table lie one after the other in one list, as many a row as the table has columns for them, so
//! that rows of any table have one type and cost no allocation of their own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use strata_events::Origin;
use uuid::Uuid;

use crate::model::{Hub, Link, Parent, Satellite};
use crate::{LoadPosition, SatelliteRecord, Sent, Value, fingerprint, hub_key, link_key};

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

/// Keys of rows that were not there before; see [`VaultModel::subject`](crate::model::VaultModel::subject).
pub type Fresh = HashSet<Uuid>;

/// What a batch brings to a vault beside its subjects; every list in the order of the model.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// Rows of hubs.
    pub hubs: Vec<KeyedRows<'a>>,
    /// Rows of links.
    pub links: Vec<LinkRows>,
    /// Candidates for satellites.
    pub satellites: Vec<SatelliteRows<'a>>,
}

/// All rows that events bring to a vault.
#[derive(Debug)]
pub struct Rows<'a> {
    /// The events themselves.
    pub subjects: KeyedRows<'a>,
    /// What comes with them.
    pub rest: Batch<'a>,
}

impl Rows<'_> {
    /// The rows of several events of one stream as one batch; of what many bring the earliest load stands. None of none.
    pub fn merged(events: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut all = events.into_iter().reduce(|mut all, Self { subjects, rest }| {
            all.subjects.extend(subjects);
            let batch = &mut all.rest;
            batch.hubs.iter_mut().zip(rest.hubs).for_each(|(rows, more)| rows.extend(more));
            batch.links.iter_mut().zip(rest.links).for_each(|(rows, more)| rows.extend(more));
            batch.satellites.iter_mut().zip(rest.satellites).for_each(|(rows, more)| rows.extend(more));
            all
        })?;
        all.rest.links.iter_mut().for_each(LinkRows::sort);
        Some(all)
    }
}

/// Rows of a hub or of a non-historised link by key, each with the earliest load.
#[derive(Debug)]
pub struct KeyedRows<'a> {
    /// The table.
    pub table: Parent,
    /// Values a row.
    width: usize,
    /// Index of the row's values, and its load.
    rows: BTreeMap<Uuid, (usize, Load)>,
    values: Vec<Value<'a>>,
}

impl<'a> KeyedRows<'a> {
    /// None yet, of a hub.
    pub fn hub(hub: &'static Hub) -> Self {
        Self::of(Parent::Hub(hub))
    }

    /// None yet.
    pub fn of(table: Parent) -> Self {
        Self { table, width: table.width(), rows: BTreeMap::new(), values: Vec::new() }
    }

    /// Puts a row in, the earliest load standing. `values`: what [`Parent::said`] lists.
    pub fn put<const N: usize>(&mut self, key: Uuid, values: impl FnOnce() -> [Value<'a>; N], load: &Load) {
        debug_assert_eq!(N, self.width, "{}", self.table.table());
        match self.rows.get_mut(&key) {
            // What is said beside the key is what the earliest record said, as its load_dt is.
            Some((at, known)) if load < known => {
                self.values[*at * N..][..N].copy_from_slice(&values());
                *known = load.clone();
            }
            Some(_) => {}
            None => {
                self.rows.insert(key, (self.rows.len(), load.clone()));
                self.values.extend(values());
            }
        }
    }

    fn extend(&mut self, more: Self) {
        for (key, (at, load)) in more.rows {
            let said = &more.values[at * self.width..][..self.width];
            match self.rows.get_mut(&key) {
                Some((at, known)) if load < *known => {
                    self.values[*at * self.width..][..self.width].copy_from_slice(said);
                    *known = load;
                }
                Some(_) => {}
                None => {
                    self.rows.insert(key, (self.rows.len(), load));
                    self.values.extend_from_slice(said);
                }
            }
        }
    }

    /// Key, values and load of each row, by key.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &[Value<'a>], &Load)> {
        let said = |at: usize| &self.values[at * self.width..][..self.width];
        self.rows.iter().map(move |(key, (at, load))| (*key, said(*at), load))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True without any row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = Uuid> {
        self.rows.keys().copied()
    }

    /// The loads, by key.
    pub fn loads(&self) -> impl Iterator<Item = &Load> {
        self.rows.values().map(|(_, load)| load)
    }

    /// One value of each row, by key.
    pub fn column(&self, column: usize) -> impl Iterator<Item = Value<'a>> {
        self.rows.values().map(move |(at, _)| self.values[at * self.width + column])
    }

    /// The keys that are not fresh, sorted.
    pub fn known(&self, fresh: &Fresh) -> Vec<Uuid> {
        self.keys().filter(|key| !fresh.contains(key)).collect()
    }
}

/// Combinations of hub keys that a link joins, each with the earliest load.
#[derive(Debug)]
pub struct Combinations<const N: usize> {
    link: &'static Link,
    loads: HashMap<[Uuid; N], Load>,
}

impl<const N: usize> Combinations<N> {
    /// None yet; of a link of so many hubs.
    pub fn of(link: &'static Link) -> Self {
        debug_assert_eq!(N, link.hubs.len(), "{}", link.table);
        Self { link, loads: HashMap::new() }
    }

    /// Puts one in, the earliest load standing.
    pub fn put(&mut self, hubs: [Uuid; N], load: &Load) {
        self.loads
            .entry(hubs)
            .and_modify(|known| {
                if load < known {
                    *known = load.clone();
                }
            })
            .or_insert_with(|| load.clone());
    }

    /// The rows: the key is computed once per combination, however often it came.
    pub fn rows(self) -> LinkRows {
        let mut rows: Vec<([Uuid; N], Load)> = self.loads.into_iter().collect();
        rows.sort_unstable_by_key(|(hubs, _)| *hubs);
        let hubs = rows.iter().flat_map(|(hubs, _)| *hubs).collect();
        let rows = rows.into_iter().map(|(hubs, load)| (link_key(&hubs), load)).collect();
        LinkRows { link: self.link, hubs, rows }
    }
}

/// Rows of a link, sorted by the hubs as its primary key is.
#[derive(Debug)]
pub struct LinkRows {
    /// The link.
    pub link: &'static Link,
    /// Hub keys, row after row.
    hubs: Vec<Uuid>,
    /// Key and load of each row.
    rows: Vec<(Uuid, Load)>,
}

impl LinkRows {
    /// Adds rows, whatever their order.
    fn extend(&mut self, more: Self) {
        self.hubs.extend(more.hubs);
        self.rows.extend(more.rows);
    }

    /// Brings rows into order, one for each combination of hubs.
    fn sort(&mut self) {
        let hubs = self.hubs.chunks_exact(self.link.hubs.len()).map(<[Uuid]>::to_vec);
        let mut rows: Vec<_> = hubs.zip(self.rows.drain(..)).collect();
        rows.sort_unstable_by(|(hubs, (_, load)), (others, (_, other))| (hubs, load).cmp(&(others, other)));
        rows.dedup_by(|(hubs, _), (kept, _)| hubs == kept);
        self.hubs = rows.iter().flat_map(|(hubs, _)| hubs).copied().collect();
        self.rows = rows.into_iter().map(|(_, row)| row).collect();
    }

    /// The rows: key, hub keys, load.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &[Uuid], &Load)> {
        let hubs = self.hubs.chunks_exact(self.link.hubs.len());
        self.rows.iter().zip(hubs).map(|((key, load), hubs)| (*key, hubs, load))
    }
}

/// A record that may become a row of a satellite.
pub type Candidate = SatelliteRecord<Said>;

/// Where the attributes of a candidate lie, and what it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Index of the row's values.
    at: usize,
    /// When it came, and from where.
    pub load: Load,
}

/// Candidates for a satellite.
#[derive(Debug)]
pub struct SatelliteRows<'a> {
    /// The satellite.
    pub satellite: &'static Satellite,
    /// The records; whoever knows better may drop some.
    pub records: Vec<Candidate>,
    values: Vec<Value<'a>>,
}

impl<'a> SatelliteRows<'a> {
    /// None yet.
    pub fn of(satellite: &'static Satellite) -> Self {
        Self { satellite, records: Vec::new(), values: Vec::new() }
    }

    /// Adds a record: its attributes in column order, and their fingerprint.
    pub fn push<const N: usize>(
        &mut self,
        parent: Uuid,
        load: &Load,
        sent: Sent,
        hashdiff: Uuid,
        values: [Value<'a>; N],
    ) {
        debug_assert_eq!(N, self.satellite.attributes.len(), "{}", self.satellite.table);
        let value = Said { at: self.values.len(), load: load.clone() };
        self.records.push(SatelliteRecord { parent, at: load.at, sent, hashdiff, value });
        self.values.extend(values);
    }

    fn extend(&mut self, more: Self) {
        let before = self.values.len();
        self.values.extend(more.values);
        self.records.extend(more.records.into_iter().map(|mut record| {
            record.value.at += before;
            record
        }));
    }

    /// The attributes of a record.
    pub fn said(&self, record: &Candidate) -> &[Value<'a>] {
        &self.values[record.value.at..][..self.satellite.attributes.len()]
    }

    /// The candidates, and the values that they point to.
    pub fn split(self) -> (Vec<Candidate>, Attributes<'a>) {
        (self.records, Attributes(self.values))
    }
}

/// The attributes of the candidates for a satellite.
#[derive(Debug)]
pub struct Attributes<'a>(Vec<Value<'a>>);

impl<'a> Attributes<'a> {
    /// One attribute of a record.
    pub fn of(&self, record: &Candidate, column: usize) -> Value<'a> {
        self.0[record.value.at + column]
    }
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
pub struct Fingerprints<'a, const N: usize>(HashMap<[Value<'a>; N], Uuid>);

impl<const N: usize> Default for Fingerprints<'_, N> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<'a, const N: usize> Fingerprints<'a, N> {
    /// The fingerprint of these attributes.
    pub fn of(&mut self, attributes: [Value<'a>; N]) -> Uuid {
        *self.0.entry(attributes).or_insert_with(|| fingerprint(attributes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType};

    static HUB: Hub = Hub {
        table: "h_thing",
        key: "h_thing_pk",
        business_key: Column::new("thing_id", ColumnType::BigInt),
        attributes: &[Column::new("name", ColumnType::Text)],
    };
    static LINK: Link = Link {
        table: "l_thing",
        key: "hk_thing_pk",
        hubs: &[&HUB, &HUB, &HUB],
        event: None,
        attributes: &[],
    };

    fn load(offset: i64) -> Load {
        Load::new(DateTime::UNIX_EPOCH, &Origin { topic: "t".into(), partition: 0, offset })
    }

    #[test]
    fn a_key_has_one_row_which_says_what_the_earliest_record_said() {
        let mut rows = KeyedRows::hub(&HUB);
        for (id, offset, name) in [(2, 5, "late"), (1, 3, "one"), (2, 4, "early"), (2, 6, "last")] {
            rows.put(Uuid::from_u128(id), || [Value::BigInt(0), Value::Text(name)], &load(offset));
        }
        assert_eq!(rows.column(1).collect::<Vec<_>>(), [Value::Text("one"), Value::Text("early")]);
        assert_eq!(rows.loads().collect::<Vec<_>>(), [&load(3), &load(4)]);
        assert_eq!(rows.known(&[Uuid::from_u128(1)].into()), [Uuid::from_u128(2)]);
    }

    #[test]
    fn a_link_of_three_hubs_has_one_row_a_combination_sorted_by_hubs() {
        let hubs = |last| [1, 2, last].map(Uuid::from_u128);
        let mut combinations = Combinations::of(&LINK);
        for (last, offset) in [(9, 5), (3, 6), (9, 4), (9, 7)] {
            combinations.put(hubs(last), &load(offset));
        }
        let rows = combinations.rows();
        let expected =
            [(3, 6), (9, 4)].map(|(last, offset)| (link_key(&hubs(last)), hubs(last), load(offset)));
        let found: Vec<_> = rows.iter().map(|(key, hubs, load)| (key, hubs.to_vec(), load.clone())).collect();
        assert_eq!(found, expected.map(|(key, hubs, load)| (key, hubs.to_vec(), load)));
    }

    #[test]
    fn rows_of_several_events_are_those_of_one_batch() {
        static SATELLITE: Satellite = Satellite {
            table: "s_thing",
            parent: Parent::Hub(&HUB),
            hashdiff: "hk_thing_hashdiff",
            sent: false,
            attributes: &[Column::new("size", ColumnType::BigInt)],
        };
        let events = [(2, 5), (1, 3), (2, 4), (2, 6)];
        let spread = |events: &[(u128, i64)]| {
            let (mut subjects, mut links) = (KeyedRows::hub(&HUB), Combinations::of(&LINK));
            let (mut hub, mut satellite) = (KeyedRows::hub(&HUB), SatelliteRows::of(&SATELLITE));
            for (id, offset) in events {
                let (key, load) = (Uuid::from_u128(*id), load(*offset));
                let said = [Value::BigInt(*offset)];
                subjects.put(key, || [said[0], Value::Text("")], &load);
                hub.put(key, || [said[0], Value::Text("")], &load);
                links.put([key; 3], &load);
                satellite.push(key, &load, None, fingerprint(said), said);
            }
            let rest = Batch { hubs: vec![hub], links: vec![links.rows()], satellites: vec![satellite] };
            Rows { subjects, rest }
        };
        let shown = |Rows { subjects, rest }: Rows<'_>| {
            let keyed = |rows: &KeyedRows<'_>| format!("{:?}", rows.iter().collect::<Vec<_>>());
            let said: Vec<_> =
                rest.satellites[0].records.iter().map(|r| rest.satellites[0].said(r)).collect();
            let links: Vec<_> = rest.links[0].iter().collect();
            [keyed(&subjects), keyed(&rest.hubs[0]), format!("{links:?}"), format!("{said:?}")]
        };
        let one_by_one = Rows::merged(events.iter().map(|event| spread(std::slice::from_ref(event))));
        assert_eq!(shown(one_by_one.expect("some")), shown(spread(&events)));
        assert!(Rows::merged([]).is_none());
    }
}
