//! What crosses a process border and every stream shares: refusals, origins, identities, amounts, text, stages and
//! topics, schemas. Plain types, validation without I/O.
//!
//! The contracts of the topics themselves lie in `shared/streams`, each in the folder of its stream. Every stage decodes
//! through [`Contract::decode`], so a record that one stage accepts means the same to all of them. What cannot be used
//! is a [`Reject`]: a stable code and a sentence for people.

pub mod event_id;
pub mod money;
mod objects;
pub mod origin;
pub mod reference;
pub mod reject;
pub mod schema;
pub mod schema_id;
pub mod stream;
pub mod text;

pub use money::Money;
pub use origin::Origin;
pub use reference::{MenuItem, Reference, Restaurant, User};
pub use reject::Reject;
pub use schema::{Breach, Schema};
pub use schema_id::SchemaId;
pub use stream::{Hop, StageId, StoreKind, StreamSpec, TopicSpec};
pub use text::Text;

/// Largest event that is accepted, in bytes; larger ones are dead letters.
///
/// The fleet's topics allow eight times as much, so that what a stage makes of an event always fits.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// Most products one order may hold; bounds what a single record can grow into downstream.
pub const MAX_ORDER_ITEMS: usize = 1000;

/// Longest name or category, in characters.
pub const MAX_NAME_CHARS: usize = 500;

/// Unix seconds that an event or a record may have: the years 2000 to 2099. Others are clocks gone wrong.
pub const TIMES: std::ops::Range<i64> = 946_684_800..4_102_444_800;

/// A message type that can be read from the bytes of a Kafka record or an HTTP line.
pub trait Contract<'a>: Sized {
    /// Reads and validates one message; it may keep to `bytes` for its text.
    ///
    /// **Errors**: a [`Reject`] that says why these bytes can never be used; never panics.
    fn decode(bytes: &'a [u8]) -> Result<Self, Reject>;
}

/// Parses a JSON object, for contracts of which an array is no form.
///
/// **Errors**: as [`parse`], and `invalid_structure` for an array.
pub fn parse_object<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Reject> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Reject::new("invalid_structure", "a JSON object is expected, not an array"));
    }
    parse(bytes)
}

/// Parses JSON, telling text that is no JSON from JSON of another shape. Structs are objects and variants are strings,
/// at every depth.
///
/// **Errors**: `malformed_json`, `invalid_structure`, `too_large`.
pub fn parse<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Reject> {
    if bytes.len() > MAX_EVENT_BYTES * 8 {
        return Err(Reject::new(
            "too_large",
            format!("{} bytes are more than a record may have", bytes.len()),
        ));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = T::deserialize(objects::Objects(&mut json));
    read.and_then(|message| json.end().map(|()| message)).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => Reject::new("invalid_structure", e.to_string()),
        _ => Reject::new("malformed_json", e.to_string()),
    })
}
