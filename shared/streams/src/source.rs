//! Where events come from: how a stream's are made, and how received bytes are checked. Pure: a seed goes in, events
//! come out.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use strata_events::{Reject, Restaurant};
use uuid::{Timestamp, Uuid};

/// Most events of one push. A seed keeps a block of ids that is larger than this.
pub const MAX_EVENTS: u32 = 10_000_000;

/// When the first event of a seed happens, Unix seconds: 2025-06-01.
pub const SEEDED_EPOCH: i64 = 1_748_736_000;

/// Headers of a record in order.
pub type Headers = Vec<(Cow<'static, str>, String)>;

/// An event that is ready for Kafka, the topic aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Key that chooses the partition.
    pub key: Vec<u8>,
    /// Body.
    pub payload: Vec<u8>,
    /// Headers in order.
    pub headers: Headers,
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
    ///
    /// **Errors**: the reference data do not fit.
    fn next_event(&mut self) -> Result<Event, GenerateError>;
}

/// The reference data that events are generated from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Ids of users, sorted.
    pub users: Vec<String>,
    /// Restaurants that offer something, sorted by id.
    pub restaurants: Vec<Restaurant>,
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

/// A form other than JSON: always lines, never an array.
#[derive(Debug)]
pub struct Form {
    /// Its name, for command lines.
    pub name: &'static str,
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
        headers: Headers,
    },
    /// Events that were made of the bytes, at least one.
    Made(Vec<Event>),
}
