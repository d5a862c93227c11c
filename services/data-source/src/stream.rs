//! The registry of streams: how an event of each kind is made and how received bytes are checked.
//!
//! A new stream is one more entry in [`STREAMS`], paired by name with [`strata_events::STREAMS`].

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use strata_events::stream::{HOTEL_SEARCH, ORDER};
use strata_events::{Reject, StreamSpec};
use strata_pipeline::OutputHeaders;
use uuid::{Timestamp, Uuid};

use crate::reference::Snapshot;
use crate::{order, search, search_log};

/// When the first event of a seed happens, Unix seconds: 2025-06-01.
pub const SEEDED_EPOCH: i64 = 1_748_736_000;

/// An event that is ready for Kafka, the topic aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Key that chooses the partition.
    pub key: Vec<u8>,
    /// Body.
    pub payload: Vec<u8>,
    /// Headers in order.
    pub headers: OutputHeaders,
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
    /// The same events again for the same push: dated from its beginning on, one gap after the other.
    Again {
        /// First id of the block that belongs to the push.
        first_id: i64,
        /// Identity of the push, a UUID of version 7.
        id: Uuid,
        /// Time between two events.
        gap: Duration,
    },
}

impl Start {
    /// What the random numbers begin with.
    pub fn seed(self) -> u64 {
        match self {
            Self::Fresh { .. } => rand::random(),
            Self::Seed(seed) => seed,
            Self::Again { id, .. } => id.as_u64_pair().1,
        }
    }

    /// When the first event happens, where that is not now.
    pub fn clock(self) -> Option<DateTime<Utc>> {
        let epoch = DateTime::from_timestamp(SEEDED_EPOCH, 0);
        match self {
            Self::Fresh { .. } => None,
            Self::Seed(_) => epoch,
            Self::Again { id, .. } => {
                let (seconds, nanos) =
                    id.get_timestamp().unwrap_or(Timestamp::from_unix_time(0, 0, 0, 0)).to_unix();
                let began = i64::try_from(seconds).ok().and_then(|at| DateTime::from_timestamp(at, nanos));
                // Whoever makes up an id may have a clock that is wrong.
                Some(began.max(epoch).unwrap_or_default().min(Utc::now()))
            }
        }
    }
}

/// How events of a kind are generated.
#[derive(Debug, Clone, Copy)]
pub enum Make {
    /// Out of the users and restaurants in Redis.
    FromReference(fn(Arc<Snapshot>, Start) -> Box<dyn Generator>),
    /// Out of nothing but the start.
    Alone(fn(Start) -> Box<dyn Generator>),
}

/// Checks received bytes and says which events they are.
pub type Accept = fn(&[u8]) -> Result<Accepted, Reject>;

/// One kind of event.
#[derive(Debug)]
pub struct Stream {
    /// Its topics and its name.
    pub spec: StreamSpec,
    /// Makes a generator of its events.
    pub make: Make,
    /// Checks its JSON, as stg will.
    pub accept: Accept,
    /// What it takes besides JSON.
    pub forms: &'static [Form],
}

impl Stream {
    /// The form that a `Content-Type` names, parameters aside; none means JSON.
    pub fn form(&self, content_type: &str) -> Option<&'static Form> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        self.forms.iter().find(|form| form.media_type.eq_ignore_ascii_case(media_type))
    }
}

/// A form other than JSON: always lines, never an array.
#[derive(Debug)]
pub struct Form {
    /// The `Content-Type` that asks for it.
    pub media_type: &'static str,
    /// Checks a line.
    pub accept: Accept,
}

/// What received bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// One event whose body stays as it was received.
    AsReceived {
        /// Key that chooses the partition.
        key: Vec<u8>,
        /// Headers in order.
        headers: OutputHeaders,
    },
    /// Events that were made of the bytes, at least one.
    Made(Vec<Event>),
}

/// Every stream that this service can feed.
pub const STREAMS: &[Stream] = &[
    Stream { spec: ORDER, make: Make::FromReference(order::generator), accept: order::accept, forms: &[] },
    Stream {
        spec: HOTEL_SEARCH,
        make: Make::Alone(search::generator),
        accept: search::accept,
        forms: &[Form { media_type: "text/tab-separated-values", accept: search_log::accept }],
    },
];

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

    #[test]
    fn a_form_is_found_by_its_media_type_whatever_the_parameters() {
        let searches = find("hotel_search").unwrap();
        for (content_type, found) in [
            ("text/tab-separated-values", true),
            ("text/tab-separated-values; charset=utf-8", true),
            ("Text/Tab-Separated-Values ;charset=\"UTF-8\";header=absent", true),
            ("text/tab-separated-values-2", false),
            ("application/json", false),
            ("text/plain;text/tab-separated-values", false),
            ("", false),
        ] {
            assert_eq!(searches.form(content_type).is_some(), found, "{content_type}");
            assert!(find("order").unwrap().form(content_type).is_none(), "{content_type}");
        }
    }
}
