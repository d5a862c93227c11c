//! The domain: what each stream means, without I/O, one folder per stream, and the registry of them, [`STREAMS`].
//!
//! A folder has the contracts of the stream's topics and their golden messages, the generator, what enrichment or
//! cleaning means, rows of the vault, what becomes countable, and the folds. A service brings the servers: it reads and
//! writes what is decided here, and so do `strata rebuild` and `strata reconcile`.

pub mod click;
pub mod definition;
pub mod hotel_search;
pub mod mart;
pub mod order;
pub mod reference;
pub mod registry;
pub mod skew;
pub mod source;
pub mod staged;
pub mod vault;

pub use definition::{Message, Pairs, StreamDef, Words};
pub use mart::{Counters, Mart, Metrics};
pub use registry::{DEFAULT, STREAMS, find, names, topics};
pub use staged::{RawRow, RawTable, Staged};

/// A message as it is written.
///
/// **Errors**: `invalid_structure` for what has no JSON form; nothing that was decoded lacks one.
fn written(message: &impl serde::Serialize) -> Result<Vec<u8>, strata_events::Reject> {
    let unwritable = |e: serde_json::Error| strata_events::Reject::new("invalid_structure", e.to_string());
    serde_json::to_vec(message).map_err(unwritable)
}
