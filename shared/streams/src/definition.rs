//! What a stream is: all that the rest of the repository asks one for.
//!
//! A stream is data: a plain struct, with functions where it behaves.

use std::fmt;

use strata_events::{Reject, StageId, StreamSpec};
use strata_vault::model::{Link, VaultModel};

use crate::mart::{Counters, Mart, Metrics};
use crate::source::{Accept, Form, Make};
use crate::staged::RawTable;

/// One stream: its path through the layers, its words, and what it means.
#[derive(Debug)]
pub struct StreamDef {
    /// Name and hops.
    pub spec: StreamSpec,
    /// What people call its events.
    pub words: Words,
    /// What each hop's topic carries, in the order of the hops.
    pub messages: &'static [Message],
    /// Makes a generator of its events.
    pub make: Make,
    /// Checks its JSON, as the raw layer will.
    pub accept: Accept,
    /// How `POST /ingest/<name>` is described in OpenAPI: `operation`. The schema of the first topic it finds under its
    /// title.
    pub api: &'static str,
    /// What it takes besides JSON.
    pub forms: &'static [Form],
    /// Its table of the raw layer.
    pub raw: RawTable,
    /// Its part of the vault.
    pub vault: &'static VaultModel,
    /// Tables of the vault whose rows tell people most, in the order of a summary.
    pub summary: &'static [&'static str],
    /// Its data marts; none where a scheduled model makes them.
    pub marts: &'static [Mart],
    /// What must belong together in each of its events, where that is so.
    pub pairs: Option<&'static Pairs>,
}

/// What people call the events of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// One of them.
    pub one: &'static str,
    /// Several.
    pub many: &'static str,
}

/// What a topic carries.
#[derive(Debug)]
pub struct Message {
    /// What its records are, for people: several.
    pub records: &'static str,
    /// Golden messages: valid ones, one for each form.
    pub golden: &'static [&'static str],
    /// Decodes a message and writes what was read.
    ///
    /// **Errors**: those of its contract.
    pub rewrite: fn(&[u8]) -> Result<Vec<u8>, Reject>,
}

/// Two kinds of things that events have and that belong together: each of an event has one of the other kind in the same
/// event that a third link joins it with.
#[derive(Debug)]
pub struct Pairs {
    /// Both kinds and what has them, for people.
    pub names: &'static str,
    /// Links of events with each.
    pub links: [&'static Link; 2],
    /// The link of the first kind with the second.
    pub by: &'static Link,
}

impl StreamDef {
    /// So many of its events, for people; `count` is a number as it is shown.
    pub fn named(&self, count: impl fmt::Display) -> String {
        let count = count.to_string();
        let word = if count == "1" { self.words.one } else { self.words.many };
        format!("{count} {word}")
    }

    /// What the topic carries that a stage reads; none where the stream does not pass it.
    pub fn message(&self, stage: StageId) -> Option<&'static Message> {
        let at = self.spec.hops.iter().position(|hop| hop.stage == stage)?;
        self.messages.get(at)
    }

    /// The form that a `Content-Type` names, parameters aside; none means JSON.
    pub fn form(&self, content_type: &str) -> Option<&'static Form> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        self.forms.iter().find(|form| form.media_type.eq_ignore_ascii_case(media_type))
    }

    /// Its counters.
    pub fn counters(&self) -> impl Iterator<Item = &'static Counters> + use<> {
        self.marts.iter().filter_map(|mart| match *mart {
            Mart::Counters(counters) => Some(counters),
            Mart::Metrics(_) => None,
        })
    }

    /// Its metrics, where it has some.
    pub fn metrics(&self) -> Option<&'static Metrics> {
        self.marts.iter().find_map(|mart| match *mart {
            Mart::Metrics(metrics) => Some(metrics),
            Mart::Counters(_) => None,
        })
    }
}
