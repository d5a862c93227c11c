//! What the last layer keeps of a stream, and the laws that it follows.

use std::collections::BTreeMap;

use strata_vault::model::{Hub, Link, Satellite};
use uuid::Uuid;

/// What the last layer keeps of a stream.
#[derive(Debug, Clone, Copy)]
pub enum Mart {
    /// A table in Postgres.
    Counters(&'static Counters),
    /// Values in Redis.
    Metrics(&'static Metrics),
}

/// A table of counters: how many events of each user had what is counted.
///
/// Its columns are `user_id`, `<by>_id`, `<by>_name` and `order_cnt`, the ids being keys of the vault.
#[derive(Debug)]
pub struct Counters {
    /// Table with its schema.
    pub table: &'static str,
    /// Columns that a counter is unique by.
    pub key: &'static str,
    /// By what it counts orders, for people, and in its columns.
    pub by: &'static str,
    /// The link of events with what is counted.
    pub link: &'static Link,
    /// The satellite whose first attribute names what is counted; none where its business key does.
    pub names: Option<&'static Satellite>,
    /// What the counters must be at rest, as a statement. **Shape**: user, what is counted, number.
    pub law: fn(&Link) -> String,
    /// What a message of the last topic adds; none where it cannot be read.
    pub adds: fn(&[u8]) -> Option<Increments>,
}

impl Counters {
    /// What is counted.
    pub fn counted(&self) -> &'static Hub {
        self.link.hubs[1]
    }
}

/// Increments of one counter table: (user, counted thing) → (name, orders).
pub type Increments = BTreeMap<(Uuid, Uuid), (String, i64)>;

/// Frequencies and lowest values in Redis.
#[derive(Debug)]
pub struct Metrics {
    /// How often events name rows of hubs.
    pub frequencies: &'static [Frequency],
    /// The lowest value of each pair.
    pub lowest: Lowest,
    /// What a message of the last topic names, by frequency; none where it cannot be read.
    pub names: fn(&[u8]) -> Option<Vec<Vec<String>>>,
}

/// How often events name each row of a hub: a sorted set of business keys.
#[derive(Debug)]
pub struct Frequency {
    /// Its name, for people and below the metrics of Redis.
    pub name: &'static str,
    /// The hub. An event names a row of it by its link or by an attribute that does.
    pub hub: &'static Hub,
    /// What it must be at rest, as a statement. **Shape**: business key, number of events.
    pub law: &'static str,
}

/// The lowest value that events give to each pair of a hub of theirs and what an attribute names: a hash for each row of
/// the hub.
#[derive(Debug)]
pub struct Lowest {
    /// Its name, for people.
    pub name: &'static str,
    /// What the keys of the hashes begin with, below the metrics of Redis.
    pub prefix: &'static str,
    /// The frequency of the hub: it lists the hashes.
    pub owners: &'static Frequency,
    /// The frequency of what the attribute names.
    pub others: &'static Frequency,
    /// The satellite that has value and name.
    pub satellite: &'static Satellite,
    /// Attribute of the value.
    pub value: &'static str,
    /// Attribute of the name.
    pub named: &'static str,
    /// What it must be at rest, as a statement. **Shape**: owner, other, value.
    pub law: &'static str,
}
