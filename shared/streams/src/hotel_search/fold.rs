//! The law of the metrics over the whole vault: what they must be at rest. Rebuild and the tests ask these statements,
//! reconcile folds search by search; cdm gets there step by step, see [`super::delta`].

use strata_events::Contract as _;

use super::ProcessedSearch;
use super::vault::{ADVERTISER, HOTEL, HOTEL_SEARCH_OFFERS};
use crate::mart::{Frequency, Lowest, Metrics};
use crate::vault::USER;

/// The metrics of the searches.
pub static METRICS: Metrics = Metrics {
    frequencies: FREQUENCIES,
    lowest: Lowest {
        name: "prices",
        prefix: "offers:",
        owners: &FREQUENCIES[1],
        others: &FREQUENCIES[2],
        satellite: &HOTEL_SEARCH_OFFERS,
        value: "min_price",
        named: "min_advertiser",
        law: OFFERS,
    },
    names: |message| {
        let ProcessedSearch { user_id, hotel_id, advertisers, .. } = ProcessedSearch::decode(message).ok()?;
        Some(vec![vec![user_id.to_string()], vec![hotel_id], advertisers])
    },
};

static FREQUENCIES: &[Frequency] = &[
    Frequency { name: "users", hub: &USER, law: USERS },
    Frequency { name: "hotels", hub: &HOTEL, law: HOTELS },
    Frequency { name: "advertisers", hub: &ADVERTISER, law: ADVERTISERS },
];

/// How often each user searched. **Shape**: user, number of searches.
const USERS: &str = "select u.user_id, count(*) from dds.l_hotel_search as l \
     join dds.h_user as u using (h_user_pk) group by u.user_id";

/// How often each hotel was searched. **Shape**: hotel, number of searches.
const HOTELS: &str = "select h.hotel_id, count(*) from dds.l_hotel_search as l \
     join dds.h_hotel as h using (h_hotel_pk) group by h.hotel_id";

/// How often each advertiser was listed. **Shape**: advertiser, number of searches.
const ADVERTISERS: &str = "select a.name, count(*) from dds.s_hotel_search_offers as s, \
     unnest(s.advertisers) as a (name) group by a.name";

/// Lowest winning price. **Shape**: hotel, advertiser, euro cents.
const OFFERS: &str = "select h.hotel_id, s.min_advertiser, min(s.min_price) from dds.l_hotel_search as l \
     join dds.s_hotel_search_offers as s using (hk_hotel_search_pk) join dds.h_hotel as h using (h_hotel_pk) \
     where s.min_advertiser is not null group by h.hotel_id, s.min_advertiser";
