//! `raw_data_topic`: hotel searches as the travel site sends them.
//!
//! A search has no business key. Its identity is the `event_id` header, which stays with it through all
//! layers; see [`strata_events::event_id`].

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use strata_events::text::check_id;
use strata_events::{Contract, MAX_EVENT_BYTES, Reject, TIMES, parse_object};
use uuid::Uuid;

/// Most advertisers one search may hold.
pub(crate) const MAX_ADVERTISERS: usize = 1000;

/// Highest price that is taken for one, in euro cents: ten million euros.
pub(crate) const MAX_EUROCENTS: i64 = 1_000_000_000;

/// A search as it is written and read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Who searched.
    pub user_id: Uuid,
    /// Which hotel.
    pub hotel_id: String,
    /// When, Unix seconds, whole or with a fraction.
    pub search_timestamp: serde_json::Number,
    /// What each advertiser offered.
    pub hotel_advertisers: BTreeMap<String, Vec<Offer>>,
    /// The sender's own identity of the search; becomes the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// One offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Price, euro cents. An offer without a price above zero is not usable, but no error.
    pub eurocents: Option<i64>,
    /// With breakfast; also sent as the strings "true" and "false".
    #[serde(default, deserialize_with = "lenient_bool")]
    pub breakfast: Option<bool>,
}

impl Offer {
    /// The price, where it is one.
    pub fn price(&self) -> Option<i64> {
        self.eurocents.filter(|cents| (1..=MAX_EUROCENTS).contains(cents))
    }
}

impl Search {
    /// When the search happened, in whole microseconds since the epoch.
    pub fn timestamp_micros(&self) -> i64 {
        micros(&self.search_timestamp)
    }
}

/// Unix seconds, whole or with a fraction, as microseconds.
pub(crate) fn micros(seconds: &serde_json::Number) -> i64 {
    match seconds.as_i64() {
        Some(whole) => whole.saturating_mul(1_000_000),
        None => (seconds.as_f64().unwrap_or_default() * 1e6).round() as i64,
    }
}

impl Contract<'_> for Search {
    fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        if bytes.len() > MAX_EVENT_BYTES {
            let detail = format!("a search may have {MAX_EVENT_BYTES} bytes, this has {}", bytes.len());
            return Err(Reject::new("too_large", detail));
        }
        let search: Self = parse_object(bytes)?;
        check_id("hotel_id", &search.hotel_id)?;
        check_time(&search.search_timestamp)?;
        if let Some(event_id) = &search.event_id {
            check_id("event_id", event_id)?;
        }
        if search.hotel_advertisers.len() > MAX_ADVERTISERS {
            let detail =
                format!("{} advertisers are more than {MAX_ADVERTISERS}", search.hotel_advertisers.len());
            return Err(Reject::new("too_many_items", detail));
        }
        // A nameless advertiser spoils nothing but itself: cleaning leaves it out.
        let mut names = search.hotel_advertisers.keys().filter(|name| !name.trim().is_empty());
        names.try_for_each(|name| check_id("advertiser", name))?;
        Ok(search)
    }
}

/// Accepts Unix seconds of this century.
pub(crate) fn check_time(seconds: &serde_json::Number) -> Result<(), Reject> {
    if seconds.as_f64().is_some_and(|seconds| TIMES.contains(&(seconds.floor() as i64))) {
        return Ok(());
    }
    Err(Reject::new(
        "date_out_of_range",
        format!("search_timestamp lies outside the years 2000 to 2099: {seconds}"),
    ))
}

fn lenient_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Lenient {
        Bool(bool),
        Text(String),
    }
    match Option::<Lenient>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Lenient::Bool(value)) => Ok(Some(value)),
        Some(Lenient::Text(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            "" | "null" => Ok(None),
            _ => Err(serde::de::Error::custom("breakfast must be true, false or null")),
        },
    }
}
