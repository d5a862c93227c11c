//! The registry: every stream of the fleet. Its order here is the order on pages.

use strata_events::TopicSpec;

use crate::definition::StreamDef;
use crate::{click, hotel_search, order};

/// Every stream of the fleet; a new one is one more line.
pub static STREAMS: &[&StreamDef] = &[&order::DEF, &hotel_search::DEF, &click::DEF];

/// The stream that is meant where none is named.
pub static DEFAULT: &StreamDef = &order::DEF;

/// The stream of this name.
///
/// **Errors**: a sentence that lists the names.
pub fn find(name: &str) -> Result<&'static StreamDef, String> {
    let found = STREAMS.iter().find(|stream| stream.spec.name == name);
    found.copied().ok_or_else(|| format!("no stream {name:?}; there are: {}", names()))
}

/// The names that [`find`] knows, for people.
pub fn names() -> String {
    STREAMS.iter().map(|stream| stream.spec.name).collect::<Vec<_>>().join(", ")
}

/// Every topic that an event passes, the dead letters aside.
pub fn topics() -> impl Iterator<Item = TopicSpec> {
    STREAMS.iter().flat_map(|stream| stream.spec.hops).map(|hop| hop.topic)
}
