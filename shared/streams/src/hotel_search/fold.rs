//! The law of the metrics over the whole vault: what they must be at rest. Rebuild and the tests ask these statements;
//! cdm gets there step by step, see [`super::delta`].

/// How often each user searched. **Shape**: user, number of searches.
pub const USERS: &str = "select u.user_id, count(*) from dds.l_hotel_search as l \
     join dds.h_user as u using (h_user_pk) group by u.user_id";

/// How often each hotel was searched. **Shape**: hotel, number of searches.
pub const HOTELS: &str = "select h.hotel_id, count(*) from dds.l_hotel_search as l \
     join dds.h_hotel as h using (h_hotel_pk) group by h.hotel_id";

/// How often each advertiser was listed. **Shape**: advertiser, number of searches.
pub const ADVERTISERS: &str = "select a.name, count(*) from dds.s_hotel_search_offers as s, \
     unnest(s.advertisers) as a (name) group by a.name";

/// Lowest winning price. **Shape**: hotel, advertiser, euro cents.
pub const OFFERS: &str = "select h.hotel_id, s.min_advertiser, min(s.min_price) from dds.l_hotel_search as l \
     join dds.s_hotel_search_offers as s using (hk_hotel_search_pk) join dds.h_hotel as h using (h_hotel_pk) \
     where s.min_advertiser is not null group by h.hotel_id, s.min_advertiser";
