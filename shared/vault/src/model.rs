//! What a Data Vault consists of: hubs, links and satellites as data.
//!
//! The loader, the checks, the comparison of the tests, the measurements and the documentation are made from
//! one description, so that no table or column of the vault is named in two places. The descriptions
//! themselves lie beside what else a stream means, in `shared/streams`.

use std::fmt;

/// The schema of all tables of the vault.
pub const SCHEMA: &str = "dds";

/// Kafka time of the first record that brought a row; every table has it.
pub const LOAD_DT: Column = Column::new("load_dt", ColumnType::Timestamp);
/// Topic of that record; every table has it.
pub const LOAD_SRC: Column = Column::new("load_src", ColumnType::Text);
/// Order of the records of one parent within a millisecond; satellites have it.
pub const LOAD_SEQ: Column = Column::new("load_seq", ColumnType::BigInt);
/// When the source sent a version; satellites have it whose versions say so. It comes before `load_dt` where the
/// version in force is asked for, see [`crate::satellite`].
pub const SENT: Column = Column::nullable("sent_dttm", ColumnType::Timestamp);

/// Types of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// A key or a fingerprint.
    Uuid,
    /// Text.
    Text,
    /// A list of texts.
    TextArray,
    /// A whole number.
    BigInt,
    /// An amount, with five digits after the point.
    Numeric,
    /// A point in time.
    Timestamp,
}

impl ColumnType {
    /// What Postgres calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Text => "text",
            Self::TextArray => "text[]",
            Self::BigInt => "bigint",
            Self::Numeric => "numeric(19,5)",
            Self::Timestamp => "timestamp with time zone",
        }
    }
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// True where a row may lack it.
    pub nullable: bool,
    /// The hub whose rows it names by their business keys, where it does.
    pub names: Option<&'static Hub>,
}

impl Column {
    /// A column that every row fills.
    pub const fn new(name: &'static str, kind: ColumnType) -> Self {
        Self { name, kind, nullable: false, names: None }
    }

    /// A column that a row may lack.
    pub const fn nullable(name: &'static str, kind: ColumnType) -> Self {
        Self { name, kind, nullable: true, names: None }
    }

    /// The same column, each of its texts being the business key of a row of a hub.
    pub const fn naming(self, hub: &'static Hub) -> Self {
        Self { names: Some(hub), ..self }
    }
}

/// A hub: one row per business key. Its key is the hash of the business key as text.
#[derive(Debug, PartialEq, Eq)]
pub struct Hub {
    /// Table without its schema.
    pub table: &'static str,
    /// Column of the hash key, the primary key.
    pub key: &'static str,
    /// The business key.
    pub business_key: Column,
    /// What the first record said besides.
    pub attributes: &'static [Column],
}

/// A link: one row per combination of hubs, or per event.
///
/// The key of a row is the hash of its hub keys, in their order. The primary key are the hub keys themselves:
/// rows of one hub lie together, are found by it, and need no second index.
#[derive(Debug)]
pub struct Link {
    /// Table without its schema.
    pub table: &'static str,
    /// Column of the hash key.
    pub key: &'static str,
    /// The hubs it joins.
    pub hubs: &'static [&'static Hub],
    /// Identity of an event, in a non-historised link: the key is its hash, and the primary key.
    pub event: Option<Column>,
    /// What the event said besides.
    pub attributes: &'static [Column],
}

/// A table whose rows have a hash key: what a satellite describes.
#[derive(Debug, Clone, Copy)]
pub enum Parent {
    /// A hub.
    Hub(&'static Hub),
    /// A link.
    Link(&'static Link),
}

impl Parent {
    /// Table without its schema.
    pub fn table(self) -> &'static str {
        match self {
            Self::Hub(hub) => hub.table,
            Self::Link(link) => link.table,
        }
    }

    /// Column of the hash key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Hub(hub) => hub.key,
            Self::Link(link) => link.key,
        }
    }

    /// The table, as statements name it.
    pub fn shape(self) -> Table {
        match self {
            Self::Hub(hub) => hub.shape(),
            Self::Link(link) => link.shape(),
        }
    }

    /// How many columns [`Self::said`] lists; asked for every event, so nothing is made for it.
    pub fn width(self) -> usize {
        match self {
            Self::Hub(hub) => 1 + hub.attributes.len(),
            Self::Link(link) => usize::from(link.event.is_some()) + link.hubs.len() + link.attributes.len(),
        }
    }

    /// The columns between the hash key and the load: what a row of it says.
    pub fn said(self) -> Vec<Column> {
        let mut columns = self.shape().columns;
        columns.truncate(columns.len() - 2);
        columns.split_off(1)
    }
}

/// A satellite: one row per change of its parent's attributes.
///
/// The fingerprint is the hash of the attributes as text, in their order. A list brings each of its
/// items, what is missing brings an empty text.
#[derive(Debug)]
pub struct Satellite {
    /// Table without its schema.
    pub table: &'static str,
    /// What it describes.
    pub parent: Parent,
    /// Column of the fingerprint.
    pub hashdiff: &'static str,
    /// True where versions say when they were sent, which decides the one in force and is not hashed.
    pub sent: bool,
    /// Attributes; a change of any makes a row.
    pub attributes: &'static [Column],
}

/// The vault of one stream.
#[derive(Debug)]
pub struct VaultModel {
    /// Name of the stream.
    pub stream: &'static str,
    /// What an event is about: the hub of it, or the non-historised link where the event is one itself. Its row comes
    /// before all others of the event, and decides between writers that bring the same.
    pub subject: Parent,
    /// Hubs, in the order in which writers lock them.
    pub hubs: &'static [&'static Hub],
    /// Links, in that order.
    pub links: &'static [&'static Link],
    /// Satellites, in that order.
    pub satellites: &'static [&'static Satellite],
}

impl VaultModel {
    /// Links of an event's hub with others; none where the event is a link itself.
    pub fn subject_links(&self) -> impl Iterator<Item = &'static Link> {
        let subject = self.subject.table();
        self.links.iter().copied().filter(move |link| link.hubs[0].table == subject)
    }

    /// Satellites of the events themselves.
    pub fn subject_satellites(&self) -> impl Iterator<Item = &'static Satellite> {
        let subject = self.subject.table();
        self.satellites.iter().copied().filter(move |satellite| satellite.parent.table() == subject)
    }

    /// All tables: hubs, links, satellites.
    pub fn tables(&self) -> Vec<Table> {
        let hubs = self.hubs.iter().map(|hub| hub.shape());
        let links = self.links.iter().map(|link| link.shape());
        hubs.chain(links).chain(self.satellites.iter().map(|satellite| satellite.shape())).collect()
    }
}

/// A table of any kind, as statements name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Table without its schema.
    pub name: &'static str,
    /// Columns in the order in which the loader fills them.
    pub columns: Vec<Column>,
    /// Columns of the primary key.
    pub primary_key: Vec<&'static str>,
}

impl fmt::Display for Table {
    /// The table with its schema.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEMA}.{}", self.name)
    }
}

/// A column that holds a key.
const fn key(name: &'static str) -> Column {
    Column::new(name, ColumnType::Uuid)
}

impl Hub {
    /// **Shape**: key, business key, attributes, `load_dt`, `load_src`.
    pub fn shape(&self) -> Table {
        let mut columns = vec![key(self.key), self.business_key];
        columns.extend(self.attributes);
        columns.extend([LOAD_DT, LOAD_SRC]);
        Table { name: self.table, columns, primary_key: vec![self.key] }
    }
}

impl Link {
    /// **Shape**: key, identity of the event, hub keys, attributes, `load_dt`, `load_src`.
    pub fn shape(&self) -> Table {
        let hubs = self.hubs.iter().map(|hub| hub.key);
        let mut columns = vec![key(self.key)];
        columns.extend(self.event);
        columns.extend(hubs.clone().map(key));
        columns.extend(self.attributes);
        columns.extend([LOAD_DT, LOAD_SRC]);
        let primary_key = if self.event.is_some() { vec![self.key] } else { hubs.collect() };
        Table { name: self.table, columns, primary_key }
    }
}

impl Satellite {
    /// **Shape**: key of the parent, `load_dt`, `load_seq`, `load_src`, fingerprint, attributes, `sent_dttm` where
    /// versions have it.
    pub fn shape(&self) -> Table {
        let parent = self.parent.key();
        let mut columns = vec![key(parent), LOAD_DT, LOAD_SEQ, LOAD_SRC, key(self.hashdiff)];
        columns.extend(self.attributes);
        columns.extend(self.sent.then_some(SENT));
        Table { name: self.table, columns, primary_key: vec![parent, LOAD_DT.name, LOAD_SEQ.name] }
    }
}
