//! Searches in their wire forms.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

/// Builds a valid message of `raw_data_topic`.
#[derive(Debug, Clone)]
pub struct SearchBuilder {
    user: Uuid,
    hotel: String,
    at: Value,
    offers: BTreeMap<String, Vec<Value>>,
    event_id: Option<String>,
}

/// Starts a search of this user for this hotel; it finds nothing yet.
pub fn search(user: u128, hotel: impl Into<String>) -> SearchBuilder {
    SearchBuilder {
        user: Uuid::from_u128(0x001a_dddd_6a55_4cd0_a1a1_0000_0000_0000 + user),
        hotel: hotel.into(),
        at: json!(1_620_224_528),
        offers: BTreeMap::new(),
        event_id: None,
    }
}

impl SearchBuilder {
    /// Adds an offer in euro cents; breakfast comes in every spelling that senders have.
    pub fn offer(self, advertiser: &str, eurocents: i64) -> Self {
        let spellings = [json!(true), json!(false), Value::Null, json!("true"), json!("false")];
        let breakfast =
            &spellings[usize::try_from(eurocents.unsigned_abs()).unwrap_or_default() % spellings.len()];
        self.raw_offer(advertiser, json!({"eurocents": eurocents, "breakfast": breakfast}))
    }

    /// Adds an offer of any form.
    pub fn raw_offer(mut self, advertiser: &str, offer: Value) -> Self {
        self.offers.entry(advertiser.to_owned()).or_default().push(offer);
        self
    }

    /// Lists an advertiser that offers nothing.
    pub fn nothing_from(mut self, advertiser: &str) -> Self {
        self.offers.entry(advertiser.to_owned()).or_default();
        self
    }

    /// When: Unix seconds.
    pub fn at(mut self, seconds: impl Into<Value>) -> Self {
        self.at = seconds.into();
        self
    }

    /// The sender's own identity of the search.
    pub fn event_id(mut self, event_id: impl Into<String>) -> Self {
        self.event_id = Some(event_id.into());
        self
    }

    /// The message.
    pub fn build(&self) -> Value {
        let mut message = json!({
            "user_id": self.user,
            "hotel_id": self.hotel,
            "search_timestamp": self.at,
            "hotel_advertisers": self.offers,
        });
        if let Some(event_id) = &self.event_id {
            message["event_id"] = json!(event_id);
        }
        message
    }
}

/// A line of the tab-separated log: user and time of the first search, hotel ids without quotes.
///
/// **Panics** without a search.
pub fn log_line(searches: &[SearchBuilder]) -> String {
    let found =
        |search: &SearchBuilder| format!("{}:{}", search.hotel, json!({"advertisers": search.offers}));
    let hotels: Vec<String> = searches.iter().map(found).collect();
    format!("{}\t{}\t{{{}}}\n", searches[0].user, searches[0].at, hotels.join(","))
}
