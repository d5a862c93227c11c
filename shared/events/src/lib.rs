//! The message contracts: one module a topic, plain types, validation without I/O.
//!
//! Every stage decodes through [`Contract::decode`], so a record that one stage accepts means the
//! same to all of them. What cannot be used is a [`Reject`]: a stable code and a sentence for people.
//! Golden messages lie in `examples/`, one a topic.

pub mod counted;
pub mod fact;
pub mod money;
pub mod order;
pub mod origin;
pub mod processed;
pub mod reference;
pub mod reject;
pub mod search;
pub mod stream;
mod text;

pub use counted::{CountedElement, CountedMessage, CountedPayload};
pub use fact::{FactMessage, FactPayload, FactProduct, NamedRef, UserRef};
pub use money::Money;
pub use order::{Order, OrderItem, OrderMessage, OrderPayload, OrderStatus};
pub use origin::Origin;
pub use processed::{MinOffer, ProcessedSearch};
pub use reference::{MenuItem, Reference, Restaurant, User};
pub use reject::Reject;
pub use search::{Offer, Search};
pub use stream::{Hop, STREAMS, StageId, StoreKind, StreamSpec, TopicSpec};
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

/// Parses a JSON object. Types that name their fields could be read from a bare list, too; contracts are not lists.
fn parse_object<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Reject> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Reject::new("invalid_structure", "a JSON object is expected, not an array"));
    }
    parse(bytes)
}

/// Parses JSON, telling text that is no JSON from JSON of another shape.
fn parse<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Reject> {
    if bytes.len() > MAX_EVENT_BYTES * 8 {
        return Err(Reject::new(
            "too_large",
            format!("{} bytes are more than a record may have", bytes.len()),
        ));
    }
    serde_json::from_slice(bytes).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => Reject::new("invalid_structure", e.to_string()),
        _ => Reject::new("malformed_json", e.to_string()),
    })
}
