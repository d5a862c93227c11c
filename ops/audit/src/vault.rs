//! Hubs, links and satellites of any stream, streamed: keys against what they are the hash of, and rows
//! against the rows they belong to.
//!
//! A key that fits its business key and is unique, as the primary key sees to, means that no business key
//! stands twice; a fingerprint that fits means that no attribute was changed. Keys are computed as the
//! services do.

use std::collections::BTreeMap;

use anyhow::bail;
use strata_vault::model::{self, SCHEMA};
use strata_vault::{LoadPosition, hashdiff, hub_key, link_key};
use uuid::Uuid;

use super::copy::Row;
use super::keys::{Keys, Marks};
use super::reader::Reader;
use super::report::Check;
use super::snapshot::Snapshot;

/// Reads columns of a table of the vault.
pub fn select(table: &str, columns: &[&str]) -> String {
    format!("select {} from {SCHEMA}.{table}", columns.join(", "))
}

/// The hub of a business key.
pub struct Hub {
    /// What it is.
    pub model: &'static model::Hub,
    /// Vault keys.
    pub keys: Keys,
    /// Business keys by number.
    pub names: Vec<Box<str>>,
}

impl Hub {
    /// Reads a hub and checks its keys.
    pub fn read(reader: &mut Reader, check: &mut Check, model: &'static model::Hub) -> anyhow::Result<Self> {
        let mut hub = Self { model, keys: Keys::default(), names: Vec::new() };
        reader.copy_out(&select(model.table, &[model.key, model.business_key.name]), |row| {
            let (key, name) = (row.uuid(0)?, row.text(1)?);
            check.compared += 1;
            if key != hub_key(name) {
                check.differs(|| {
                    let model::Hub { table, business_key, .. } = model;
                    let expected = hub_key(name);
                    format!("{table}: {} {name:?} has the key {key}, not {expected}", business_key.name)
                });
            }
            hub.keys.insert(key);
            hub.names.push(name.into());
            Ok(())
        })?;
        Ok(hub)
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

/// What is checked of links and satellites while they are read.
pub struct RowChecks {
    /// Keys of links.
    pub links: Check,
    /// Fingerprints of satellites.
    pub fingerprints: Check,
    /// Rows whose hub is missing.
    pub orphans: Check,
    /// Rows that came from records which their source had not reached.
    pub positions: Check,
}

impl RowChecks {
    /// Starts the checks of a stream.
    pub fn new(stream: &str) -> Self {
        Self {
            links: Check::new(format!("dds {stream}: keys of links are those of their hubs")),
            fingerprints: Check::new(format!("dds {stream}: fingerprints are those of the attributes")),
            orphans: Check::new(format!("dds {stream}: links and satellites have their hubs")),
            positions: Check::new(format!("dds {stream}: rows came from records below the offsets")),
        }
    }

    /// Finds the row that a column points to.
    pub fn parent(&mut self, keys: &Keys, hub: &str, table: &str, key: Uuid) -> Option<u32> {
        self.orphans.compared += 1;
        let found = keys.find(&key);
        if found.is_none() {
            self.orphans.differs(|| format!("{table}: {key} is not in {hub}"));
        }
        found
    }

    /// Compares a fingerprint with the attributes.
    pub fn fingerprint(&mut self, table: &str, parent: Uuid, stored: Uuid, attributes: &[&str]) {
        self.fingerprints.compared += 1;
        if stored != hashdiff(attributes) {
            self.fingerprints.differs(|| {
                format!("{table}: {parent} says {attributes:?}, but its hashdiff {stored} does not")
            });
        }
    }
}

/// Reads a link between two hubs, whose keys are given, and gives the numbers of both to `each`.
pub fn read_link(
    link: &model::Link,
    hubs: [&Keys; 2],
    reader: &mut Reader,
    checks: &mut RowChecks,
    mut each: impl FnMut(u32, u32),
) -> anyhow::Result<()> {
    let model::Link { table, hubs: [first, second], .. } = link else {
        bail!("{} joins other than two hubs", link.table)
    };
    reader.copy_out(&select(table, &[link.key, first.key, second.key]), |row| {
        let (key, keys) = (row.uuid(0)?, [row.uuid(1)?, row.uuid(2)?]);
        checks.links.compared += 1;
        if key != link_key(&keys) {
            checks.links.differs(|| {
                let [first, second] = keys;
                format!("{table}: {first} and {second} have the key {key}, not {}", link_key(&keys))
            });
        }
        let first = checks.parent(hubs[0], first.table, table, keys[0]);
        let second = checks.parent(hubs[1], second.table, table, keys[1]);
        if let (Some(first), Some(second)) = (first, second) {
            each(first, second);
        }
        Ok(())
    })
}

/// What orders the versions of a parent: when it was sent, or before all times where it does not say, its load_dt, both
/// in microseconds, and its load_seq. The greatest is in force.
pub type Place = (i64, i64, i64);

/// A version that a satellite holds.
pub struct Version<'a> {
    /// Number of the parent.
    pub parent: u32,
    /// Its place among the versions of the parent.
    pub place: Place,
    /// Fingerprint of the attributes.
    pub fingerprint: Uuid,
    /// The attributes.
    pub attributes: &'a [&'a str],
}

/// A satellite.
pub struct Satellite<'a> {
    /// Table without its schema.
    pub table: &'static str,
    /// Keys and table of the parent.
    pub parent: (&'a Keys, &'static str),
    /// Column of the parent's key.
    pub key: &'static str,
    /// Column of the fingerprint.
    pub hashdiff: &'static str,
    /// When a version was sent: a column, or a null.
    pub sent: &'static str,
    /// Attributes as text, as they are hashed.
    pub attributes: &'static [&'static str],
}

impl Satellite<'_> {
    /// Reads the satellite and gives every version to `each`.
    pub fn read(
        &self,
        reader: &mut Reader,
        checks: &mut RowChecks,
        places: &Places,
        mut each: impl FnMut(Version<'_>),
    ) -> anyhow::Result<()> {
        let Self { table, parent, key, hashdiff, sent, attributes } = self;
        let select = format!(
            "select {key}, {hashdiff}, load_src, load_seq, load_dt, {sent}, {} from dds.{table}",
            attributes.join(", ")
        );
        reader.copy_out(&select, |row| {
            let (key, fingerprint) = (row.uuid(0)?, row.uuid(1)?);
            let values: Vec<&str> =
                (0..attributes.len()).map(|column| row.text(6 + column)).collect::<Result<_, _>>()?;
            checks.fingerprint(table, key, fingerprint, &values);
            places.check(&mut checks.positions, row, [2, 3, 4], || format!("{table}: {key}"))?;
            if let Some(parent) = checks.parent(parent.0, parent.1, table, key) {
                let sent = row.optional_micros(5)?.unwrap_or(i64::MIN);
                let place = (sent, row.micros(4)?, row.bigint(3)?);
                each(Version { parent, place, fingerprint, attributes: &values });
            }
            Ok(())
        })
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

    /// Checks a row's source; `columns` are load_src, load_seq and load_dt.
    pub fn check(
        &self,
        check: &mut Check,
        row: &Row<'_>,
        [src, seq, time]: [usize; 3],
        name: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let (partition, offset) = LoadPosition::source(row.bigint(seq)?);
        self.check_offset(check, row.text(src)?, (partition, offset), row.micros(time)?, name);
        Ok(())
    }

    /// Checks a source: the record at it, of that time in microseconds, must have been read.
    pub fn check_offset(
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
