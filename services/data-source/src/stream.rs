//! The registry of streams: how an event of each kind is made and how a received one is checked.
//!
//! A new stream is one more entry in [`STREAMS`], paired by name with [`strata_events::STREAMS`].

use std::sync::Arc;

use strata_events::stream::ORDER;
use strata_events::{Reject, StreamSpec};

use crate::order;
use crate::reference::Snapshot;

/// An event that is ready for Kafka, the topic aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Key that chooses the partition.
    pub key: Vec<u8>,
    /// Body.
    pub payload: Vec<u8>,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
}

/// An event that cannot be generated from the reference data there is.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The sum of an order is larger than the warehouse can hold.
    #[error("the dishes of restaurant {0} cost more than an order can hold")]
    Cost(String),
    /// The event has no JSON form.
    #[error("an event cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// An endless source of events.
pub trait Generator: Send {
    /// Makes the next event.
    fn next_event(&mut self) -> Result<Event, GenerateError>;
}

/// Where a generator starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Fresh events: these ids upwards, dated now.
    Fresh {
        /// First id of the block that belongs to this request.
        first_id: i64,
    },
    /// The same events each time for the same number and reference data.
    Seed(u64),
}

/// One kind of event.
#[derive(Debug)]
pub struct Stream {
    /// Its topics and its name.
    pub spec: StreamSpec,
    /// Makes a generator of its events.
    pub generator: fn(Arc<Snapshot>, Start) -> Box<dyn Generator>,
    /// Checks received bytes and chooses key and headers; the body stays as it was received.
    pub accept: fn(&[u8]) -> Result<Accepted, Reject>,
}

/// What a received event needs besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Key that chooses the partition.
    pub key: Vec<u8>,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
}

/// Every stream that this service can feed.
pub const STREAMS: &[Stream] = &[Stream { spec: ORDER, generator: order::generator, accept: order::accept }];

/// The stream of that name.
pub fn find(name: &str) -> Option<&'static Stream> {
    STREAMS.iter().find(|stream| stream.spec.name == name)
}

/// The names that [`find`] knows, for error messages.
pub fn names() -> String {
    STREAMS.iter().map(|stream| stream.spec.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_of_the_fleet_can_be_fed() {
        for spec in strata_events::STREAMS {
            assert_eq!(find(spec.name).map(|stream| stream.spec), Some(*spec), "{}", spec.name);
        }
        assert_eq!(STREAMS.len(), strata_events::STREAMS.len());
    }
}
