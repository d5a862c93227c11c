//! Hubs, links and satellites of any stream, as their models describe them: keys against what they are the hash of,
//! fingerprints against attributes, and rows against the records that they came with.
//!
//! A key that fits its business key and is unique, as the primary key sees to, means that no business key
//! stands twice; a fingerprint that fits means that no attribute was changed. Keys are computed as the
//! services do.

use std::collections::BTreeMap;

use anyhow::Context as _;
use strata_vault::model::{self, ColumnType, LOAD_DT, LOAD_SEQ, LOAD_SRC, SCHEMA, SENT};
use strata_vault::{LoadPosition, hashdiff, hub_key, link_key};
use uuid::Uuid;

use super::copy::Row;
use super::keys::{Keys, Marks};
use super::ordered::{Ordered, Source};
use super::report::Check;
use super::snapshot::Snapshot;

/// Reads columns of a table of the vault.
pub fn select(table: &str, columns: &[&str]) -> String {
    format!("select {} from {SCHEMA}.{table}", columns.join(", "))
}

/// Reads the same in the order of one of its columns, which comes first.
pub fn in_order(source: &Source, table: &str, columns: &[&str]) -> Ordered {
    source.ordered(format!("{} order by {}", select(table, columns), columns[0]))
}

/// A column as it is hashed.
pub fn hashed(column: &model::Column) -> String {
    match column.kind {
        ColumnType::Text | ColumnType::TextArray => column.name.to_owned(),
        ColumnType::Numeric => format!("trim_scale({})::text", column.name),
        _ => format!("{}::text", column.name),
    }
}

/// What is checked of every table of a stream while it is read.
pub struct VaultChecks {
    /// Keys of hubs.
    pub hubs: Check,
    /// Keys of links.
    pub links: Check,
    /// Fingerprints of satellites.
    pub fingerprints: Check,
    /// Rows whose parent is missing.
    pub orphans: Check,
    /// Rows that nothing belongs to.
    pub childless: Check,
    /// Rows that came from records which their source had not reached.
    pub positions: Check,
    places: Places,
}

impl VaultChecks {
    /// Starts the checks of a stream; `childless` is what they say of hubs.
    pub fn new(stream: &str, childless: &str, places: Places) -> Self {
        let check = |what: &str| Check::new(format!("dds {stream}: {what}"));
        Self {
            hubs: check("keys of hubs are those of their business keys"),
            links: check("keys of links are those of their hubs"),
            fingerprints: check("fingerprints are those of the attributes"),
            orphans: check("links and satellites have their hubs"),
            childless: check(childless),
            positions: check("rows came from records below the offsets"),
            places,
        }
    }

    /// All of them, in the order of a report.
    pub fn all(self) -> [Check; 6] {
        let Self { hubs, links, fingerprints, orphans, childless, positions, .. } = self;
        [hubs, links, fingerprints, orphans, childless, positions]
    }

    /// Checks the key of a hub.
    pub fn hub(&mut self, hub: &model::Hub, key: Uuid, name: &str) {
        self.hubs.compared += 1;
        let expected = hub_key(name);
        if key != expected {
            self.hubs.differs(|| {
                let column = hub.business_key;
                let named = match column.kind {
                    ColumnType::Text => format!("{} {name:?}", column.name),
                    _ => format!("{} {name}", column.name.trim_end_matches("_id")),
                };
                format!("{}: {named} has the key {key}, not {expected}", hub.table)
            });
        }
    }

    /// Notes that so many rows of `table` point to a row of `parent`, and whether it is there.
    pub fn parent(&mut self, is_there: bool, parent: &str, table: &str, key: Uuid, rows: i64) {
        self.orphans.compared += rows;
        for _ in 0..if is_there { 0 } else { rows } {
            self.orphans.differs(|| format!("{table}: {key} is not in {parent}"));
        }
    }

    /// Checks the key of a link between two hubs and gives the other hub's. **Shape**: [`link_in_order`].
    pub fn link(&mut self, link: &model::Link, row: &Row<'_>) -> anyhow::Result<Uuid> {
        let (hubs, key) = ([row.uuid(0)?, row.uuid(1)?], row.uuid(2)?);
        self.links.compared += 1;
        if key != link_key(&hubs) {
            self.links.differs(|| {
                let ([first, second], table) = (hubs, link.table);
                format!("{table}: {first} and {second} have the key {key}, not {}", link_key(&hubs))
            });
        }
        Ok(hubs[1])
    }

    /// Checks the key of a link of events.
    pub fn event(&mut self, link: &model::Link, key: Uuid, event_id: &str) {
        let expected = hub_key(event_id);
        self.links.compared += 1;
        if key != expected {
            let table = link.table;
            self.links.differs(|| format!("{table}: {event_id:?} has the key {key}, not {expected}"));
        }
    }

    /// Checks fingerprint and source of a version. **Shape**: [`satellite_in_order`].
    pub fn version(&mut self, satellite: &model::Satellite, row: &Row<'_>) -> anyhow::Result<Version> {
        let model::Satellite { table, attributes, .. } = satellite;
        let version = Version {
            fingerprint: row.uuid(1)?,
            load_src: row.text(2)?.to_owned(),
            load_seq: row.bigint(3)?,
            load_dt: row.micros(4)?,
            sent: row.optional_micros(5)?.unwrap_or(i64::MIN),
        };
        let mut values = Vec::with_capacity(attributes.len());
        for (attribute, column) in attributes.iter().zip(ATTRIBUTES..) {
            match attribute.kind {
                ColumnType::TextArray => values.extend(row.texts(column)?),
                _ => values.push(row.optional_text(column)?.unwrap_or_default()),
            }
        }
        let (key, stored) = (row.uuid(0)?, version.fingerprint);
        self.fingerprints.compared += 1;
        if stored != hashdiff(&values) {
            self.fingerprints
                .differs(|| format!("{table}: {key} says {values:?}, but its hashdiff {stored} does not"));
        }
        let place = LoadPosition::source(version.load_seq);
        let named = || format!("{table}: {key}");
        self.places.check(&mut self.positions, &version.load_src, place, version.load_dt, named);
        Ok(version)
    }
}

/// Reads a hub in the order of its keys. **Shape**: key, business key as text, `load_src`.
pub fn hub_in_order(source: &Source, hub: &model::Hub) -> Ordered {
    in_order(source, hub.table, &[hub.key, &hashed(&hub.business_key), LOAD_SRC.name])
}

/// Reads a link between two hubs in the order of the first. **Shape**: keys of both hubs, key.
pub fn link_in_order(source: &Source, link: &model::Link) -> Ordered {
    in_order(source, link.table, &link_columns(link))
}

fn link_columns(link: &model::Link) -> [&'static str; 3] {
    [link.hubs[0].key, link.hubs[1].key, link.key]
}

/// Reads a satellite in the order of its parents. **Shape**: key of the parent, fingerprint, `load_src`,
/// `load_seq`, `load_dt`, when it was sent, attributes from column [`ATTRIBUTES`] on.
pub fn satellite_in_order(source: &Source, satellite: &model::Satellite) -> Ordered {
    let columns = satellite_columns(satellite);
    in_order(source, satellite.table, &columns.iter().map(String::as_str).collect::<Vec<_>>())
}

fn satellite_columns(satellite: &model::Satellite) -> Vec<String> {
    let sent = if satellite.sent { SENT.name } else { "null::timestamptz" };
    let columns =
        [satellite.parent.key(), satellite.hashdiff, LOAD_SRC.name, LOAD_SEQ.name, LOAD_DT.name, sent];
    columns.into_iter().map(str::to_owned).chain(satellite.attributes.iter().map(hashed)).collect()
}

/// Column of the first attribute of a satellite.
pub const ATTRIBUTES: usize = 6;

/// What orders the versions of a parent: when it was sent, or before all times where it does not say, its load_dt, both
/// in microseconds, and its load_seq. The greatest is in force.
pub type Place = (i64, i64, i64);

/// A version that a satellite holds; times in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Fingerprint of the attributes.
    pub fingerprint: Uuid,
    /// Topic of the record that it came with.
    pub load_src: String,
    /// Place of that record.
    pub load_seq: i64,
    /// Kafka time of that record.
    pub load_dt: i64,
    /// When it was sent; before all times where it does not say.
    pub sent: i64,
}

impl Version {
    /// Its place among the versions of the parent.
    pub fn place(&self) -> Place {
        (self.sent, self.load_dt, self.load_seq)
    }
}

/// A hub that is small enough to be held in memory: what events are about, not who sends them.
pub struct Hub {
    /// What it is.
    pub model: &'static model::Hub,
    /// Vault keys.
    keys: Keys,
    /// Business keys by number.
    pub names: Vec<Box<str>>,
}

impl Hub {
    /// Reads a hub and checks its keys.
    pub fn read(
        source: &Source,
        checks: &mut VaultChecks,
        model: &'static model::Hub,
    ) -> anyhow::Result<Self> {
        let mut hub = Self { model, keys: Keys::default(), names: Vec::new() };
        source.all(&select(model.table, &[model.key, &hashed(&model.business_key)]), |row| {
            let (key, name) = (row.uuid(0)?, row.text(1)?);
            checks.hub(model, key, name);
            hub.keys.insert(key);
            hub.names.push(name.into());
            Ok(())
        })?;
        Ok(hub)
    }

    /// The number of a key.
    pub fn find(&self, key: Uuid) -> Option<u32> {
        self.keys.find(&key)
    }

    /// The number of the row that a row of `table` points to.
    pub fn parent(&self, checks: &mut VaultChecks, table: &str, key: Uuid) -> Option<u32> {
        let found = self.find(key);
        checks.parent(found.is_some(), self.model.table, table, key, 1);
        found
    }

    /// The business key of a row.
    pub fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("?", |name| name)
    }

    /// Reports the rows that no row of `child` belongs to.
    pub fn childless(&self, check: &mut Check, seen: &Marks, child: &str) {
        check.compared += self.names.len() as i64;
        for number in (0..self.names.len()).filter_map(|n| u32::try_from(n).ok()) {
            if !seen.has(number) {
                let table = self.model.table;
                check.differs(|| format!("{table}: {:?} has no row in {child}", self.name(number)));
            }
        }
    }
}

/// Small hubs of a stream.
pub struct Hubs(pub Vec<Hub>);

impl Hubs {
    /// Reads these hubs.
    pub fn read(
        source: &Source,
        checks: &mut VaultChecks,
        models: &[&'static model::Hub],
    ) -> anyhow::Result<Self> {
        models.iter().map(|model| Hub::read(source, checks, model)).collect::<anyhow::Result<_>>().map(Self)
    }

    /// The rows of a hub, where it is one of them.
    pub fn get(&self, model: &model::Hub) -> Option<&Hub> {
        self.0.iter().find(|hub| hub.model.table == model.table)
    }

    /// One of them.
    pub fn of(&self, model: &model::Hub) -> anyhow::Result<&Hub> {
        self.get(model).with_context(|| format!("{} is not held in memory", model.table))
    }

    /// Reads a link between two of them and gives the numbers of both to `each`; every row of both must be in it.
    pub fn read_link(
        &self,
        source: &Source,
        checks: &mut VaultChecks,
        link: &model::Link,
        mut each: impl FnMut(u32, u32),
    ) -> anyhow::Result<()> {
        let hubs = [self.of(link.hubs[0])?, self.of(link.hubs[1])?];
        let mut seen = [Marks::default(), Marks::default()];
        source.all(&select(link.table, &link_columns(link)), |row| {
            let keys = [row.uuid(0)?, checks.link(link, row)?];
            let found = [0, 1].map(|at: usize| hubs[at].parent(checks, link.table, keys[at]));
            if let [Some(first), Some(second)] = found {
                seen[0].set(first);
                seen[1].set(second);
                each(first, second);
            }
            Ok(())
        })?;
        for (hub, seen) in hubs.into_iter().zip(&seen) {
            hub.childless(&mut checks.childless, seen, link.table);
        }
        Ok(())
    }

    /// Reads a satellite of one of them and gives the parent and the row to `each`; every parent must be in it.
    pub fn read_satellite(
        &self,
        source: &Source,
        checks: &mut VaultChecks,
        satellite: &model::Satellite,
        mut each: impl FnMut(u32, &Row<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let model::Parent::Hub(parent) = satellite.parent else { return Ok(()) };
        let (hub, mut seen) = (self.of(parent)?, Marks::default());
        let columns = satellite_columns(satellite);
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        source.all(&select(satellite.table, &columns), |row| {
            checks.version(satellite, row)?;
            if let Some(number) = hub.parent(checks, satellite.table, row.uuid(0)?) {
                seen.set(number);
                each(number, row)?;
            }
            Ok(())
        })?;
        hub.childless(&mut checks.childless, &seen, satellite.table);
        Ok(())
    }
}

/// A topic's partitions: next offset, and Kafka time of the first record in milliseconds.
type Partitions = BTreeMap<i32, (i64, i64)>;

/// How far the sources of rows had been read, by topic.
pub struct Places(Vec<(String, Partitions)>);

impl Places {
    /// Takes the offsets of stages: each reads its topic.
    pub fn new(snapshot: &Snapshot<'_>, read: &[(&str, &str)]) -> Self {
        let topics = read.iter().map(|(stage, topic)| {
            let edges = snapshot.edges.get(*topic);
            let begins = |partition: i32| edges?.get(&partition)?.begins;
            let offsets = snapshot.offsets_of(stage, topic);
            // A partition that is empty, or that was recreated, says nothing about older rows.
            let known = offsets.into_iter().filter_map(|(p, next)| Some((p, (next, begins(p)?))));
            ((*topic).to_owned(), known.collect())
        });
        Self(topics.collect())
    }

    /// Checks a source: the record at it, of that time in microseconds, must have been read.
    pub fn check(
        &self,
        check: &mut Check,
        topic: &str,
        (partition, offset): (i32, i64),
        micros: i64,
        name: impl FnOnce() -> String,
    ) {
        let Some((_, partitions)) = self.0.iter().find(|(known, _)| known == topic) else { return };
        let Some((next, begins)) = partitions.get(&partition) else { return };
        if micros / 1000 < *begins {
            return;
        }
        check.compared += 1;
        if offset >= *next {
            check.differs(|| format!("{} came with {topic}/{partition}/{offset}, next is {next}", name()));
        }
    }
}
