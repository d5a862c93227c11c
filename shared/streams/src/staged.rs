//! How what is staged of a stream is read again, to be compared with the vault and to rebuild it.

use chrono::{DateTime, Utc};
use strata_events::{Reference, Reject};
use strata_vault::rows::{Load, Rows};
use uuid::Uuid;

use crate::reference::ReferenceData;

/// A table of the raw layer: one row per event.
///
/// Every one has the columns `sent_dttm`, `payload`, `load_src`, `load_partition` and `load_offset`; the last three may
/// be null in rows that are older than they.
#[derive(Debug, Clone, Copy)]
pub struct RawTable {
    /// Table with its schema.
    pub table: &'static str,
    /// Column of the event's identity, which is unique. A body that carries the identity has it in a field of this name.
    pub key: &'static str,
    /// When the record of a row reached Kafka, in SQL.
    pub load_dt: &'static str,
    /// What a row says beside its payload, each as an expression of SQL whose value is a text.
    pub said: &'static [&'static str],
    /// What of it the vault must have as well, for people.
    pub compared: &'static str,
    /// Reads a row.
    ///
    /// **Errors**: what is wrong with the row by itself, as the end of a sentence.
    pub read: for<'r> fn(&'r RawRow) -> Result<Box<dyn Staged + 'r>, String>,
    /// Where a newer version takes the place of an older one: reads a record of the first topic, which may be either.
    /// None where the first record of an event stays.
    pub version: Option<ReadVersion>,
    /// What the vault knows better than the reference data of today, of those streams that are enriched: a statement.
    /// `$1` keys of subjects uuid[]. **Columns**: subject, what is meant by its key, name.
    pub known: Option<&'static str>,
}

/// Reads a record; none where it cannot be read.
pub type ReadVersion = for<'r> fn(&'r [u8]) -> Option<Version<'r>>;

impl RawTable {
    /// The columns of a [`RawRow`] and, before its payload, where it came from.
    ///
    /// **Shape**: identity, `sent_dttm`, time of the record, its topic, partition (bigint) and offset, payload, what the
    /// row says besides (text[]).
    pub fn columns(&self) -> String {
        let Self { key, load_dt, .. } = self;
        let said = self.said.join(", ");
        format!(
            "{key}::text, sent_dttm, {load_dt}, load_src, load_partition::bigint, load_offset, payload::text, \
             array[{said}]::text[]"
        )
    }
}

/// A row of the raw layer.
#[derive(Debug, Clone)]
pub struct RawRow {
    /// Identity of the event as text.
    pub id: String,
    /// The row's time of sending.
    pub sent: DateTime<Utc>,
    /// What was staged, JSON.
    pub payload: String,
    /// What it says besides, as [`RawTable::said`] asks.
    pub said: Vec<String>,
}

/// A record of an event that may come in several versions.
pub struct Version<'r> {
    /// Identity of the event as text.
    pub id: String,
    /// When this version was sent.
    pub sent: DateTime<Utc>,
    /// What it says.
    pub event: Box<dyn Staged + 'r>,
}

/// What the vault knows of an event: what is meant, by its key, and its name.
pub type Known = [(Uuid, String)];

/// An event as the vault is to take it.
pub trait Staged: Send + Sync {
    /// The rows that it brings to the vault, as far as they follow from it alone.
    fn rows<'e>(&'e self, id: &'e str, load: &Load) -> Rows<'e>;

    /// The reference data that its names come from.
    fn wants(&self) -> Vec<Reference> {
        Vec::new()
    }

    /// The event with names, of which `known` stand before today's; none where it is complete by itself.
    ///
    /// **Errors**: something that it wants is not in the reference data.
    fn enriched<'e>(
        &'e self,
        _reference: &'e ReferenceData,
        _known: &Known,
    ) -> Option<Result<Box<dyn Staged + 'e>, Reject>> {
        None
    }
}
