//! `processed_data_topic` and `metrics_topic`: searches cleaned to who offers and who offers cheapest.

use serde::{Deserialize, Serialize};
use strata_events::text::check_id;
use strata_events::{Contract, Reject, parse_object};
use uuid::Uuid;

use crate::hotel_search::raw::{MAX_ADVERTISERS, MAX_EUROCENTS, check_time, micros};

/// A cleaned search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessedSearch {
    /// Who searched.
    pub user_id: Uuid,
    /// Which hotel.
    pub hotel_id: String,
    /// When, Unix seconds, whole or with a fraction.
    pub search_timestamp: serde_json::Number,
    /// Who offered, each once, in name order.
    pub advertisers: Vec<String>,
    /// The lowest offer; none where no offer was usable.
    pub min_offer: Option<MinOffer>,
}

/// The winning offer of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinOffer {
    /// Price, euro cents.
    pub price: i64,
    /// Who offers it; of several, the first in name order.
    pub advertiser: String,
}

impl ProcessedSearch {
    /// When the search happened, in whole microseconds since the epoch.
    pub fn timestamp_micros(&self) -> i64 {
        micros(&self.search_timestamp)
    }
}

impl Contract<'_> for ProcessedSearch {
    fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        let search: Self = parse_object(bytes)?;
        check_id("hotel_id", &search.hotel_id)?;
        check_time(&search.search_timestamp)?;
        if search.advertisers.len() > MAX_ADVERTISERS {
            let detail = format!("{} advertisers are more than {MAX_ADVERTISERS}", search.advertisers.len());
            return Err(Reject::new("too_many_items", detail));
        }
        search.advertisers.iter().try_for_each(|name| check_id("advertiser", name))?;
        if let Some(offer) = &search.min_offer {
            check_id("min_offer.advertiser", &offer.advertiser)?;
            if offer.price <= 0 {
                return Err(Reject::new("negative_amount", format!("min_offer.price is {}", offer.price)));
            }
            if offer.price > MAX_EUROCENTS {
                return Err(Reject::new(
                    "amount_out_of_range",
                    format!("min_offer.price is {}", offer.price),
                ));
            }
        }
        Ok(search)
    }
}
