//! The tables around the events of a stream, and what they hold of one.

use anyhow::Context as _;
use strata_streams::StreamDef;
use strata_vault::model::{Column, ColumnType, Hub, LOAD_DT, LOAD_SRC, Link, Parent, Satellite};
use uuid::Uuid;

use super::ordered::{Ordered, Source};
use super::tables::{Version, hashed, in_order, link_in_order, satellite_in_order};

/// The tables around the events of a stream.
pub struct Shape {
    /// The stream.
    pub stream: &'static StreamDef,
    /// The table of the events.
    pub subject: Parent,
    /// Links of the events' hub with others.
    pub links: Vec<&'static Link>,
    /// Satellites of the events.
    pub satellites: Vec<&'static Satellite>,
    /// The hubs that the events' own row joins; none where they are a hub.
    pub joined: &'static [&'static Hub],
    /// What such a row says besides.
    pub attributes: &'static [Column],
}

/// All that the vault says of an event.
#[derive(Debug, Default)]
pub struct Subject {
    /// Business key or `event_id`; none where the event is not in its table.
    pub id: Option<String>,
    /// True where its record was written to the topic of the vault by hand.
    pub by_hand: bool,
    /// Kafka time of its record, microseconds.
    pub load_dt: i64,
    /// Keys of the hubs that its link joins; none where it is a hub itself.
    pub hubs: Vec<Uuid>,
    /// What its link says besides, as it is hashed.
    pub attributes: Vec<String>,
    /// Keys of the other hubs of its links, by [`Shape::links`].
    pub links: Vec<Vec<Uuid>>,
    /// Its versions, by [`Shape::satellites`].
    pub satellites: Vec<Vec<Version>>,
}

impl Subject {
    /// What the row of its link says beside its identity.
    pub fn said(&self) -> impl Iterator<Item = String> {
        self.hubs.iter().map(Uuid::to_string).chain(self.attributes.iter().cloned())
    }
}

/// Columns of the subjects before the keys of their hubs: key, identity, `load_src`, `load_dt`.
pub const HUBS: usize = 4;

impl Shape {
    /// The tables of a stream.
    pub fn of(stream: &'static StreamDef) -> Self {
        let model = stream.vault;
        let (joined, attributes) = match model.subject {
            Parent::Hub(_) => (&[][..], &[][..]),
            Parent::Link(link) => (link.hubs, link.attributes),
        };
        Self {
            stream,
            subject: model.subject,
            links: model.subject_links().collect(),
            satellites: model.subject_satellites().collect(),
            joined,
            attributes,
        }
    }

    /// An event of which nothing is known.
    pub fn nothing(&self) -> Subject {
        Subject {
            links: vec![Vec::new(); self.links.len()],
            satellites: vec![Vec::new(); self.satellites.len()],
            ..Subject::default()
        }
    }

    /// Reads the events in the order of their keys. **Shape**: key, identity as text, `load_src`, `load_dt`, keys of the
    /// hubs, attributes as texts.
    pub fn subjects_in_order(&self, source: &Source) -> anyhow::Result<Ordered> {
        let id = match self.subject {
            Parent::Hub(hub) => hub.business_key,
            Parent::Link(link) => link.event.context("events are linked by no identity")?,
        };
        let mut columns = vec![self.subject.key().to_owned(), hashed(&id)];
        columns.extend([LOAD_SRC.name, LOAD_DT.name].map(str::to_owned));
        columns.extend(self.joined.iter().map(|hub| hub.key.to_owned()));
        columns.extend(self.attributes.iter().map(compared));
        Ok(in_order(source, self.subject.table(), &columns.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// Reads the links of the events.
    pub fn links_in_order(&self, source: &Source) -> Vec<Ordered> {
        self.links.iter().map(|link| link_in_order(source, link)).collect()
    }

    /// Reads the satellites of the events.
    pub fn satellites_in_order(&self, source: &Source) -> Vec<Ordered> {
        self.satellites.iter().map(|satellite| satellite_in_order(source, satellite)).collect()
    }
}

/// A column as `strata_vault::texts` writes its value.
fn compared(column: &Column) -> String {
    match column.kind {
        ColumnType::Timestamp => {
            format!(r#"to_char({} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#, column.name)
        }
        _ => hashed(column),
    }
}
