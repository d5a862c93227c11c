//! The vault of the hotel searches.

use strata_vault::model::{Column, ColumnType, Hub, Link, Parent, Satellite, VaultModel};

use crate::vault::USER;

/// The vault of the hotel searches.
pub static MODEL: VaultModel = VaultModel {
    stream: "hotel_search",
    subject: Parent::Link(&HOTEL_SEARCH),
    hubs: &[&USER, &HOTEL, &ADVERTISER],
    links: &[&HOTEL_SEARCH],
    satellites: &[&HOTEL_SEARCH_OFFERS],
};

/// Hotels.
pub static HOTEL: Hub = Hub {
    table: "h_hotel",
    key: "h_hotel_pk",
    business_key: Column::new("hotel_id", ColumnType::Text),
    attributes: &[],
};

/// Advertisers.
pub static ADVERTISER: Hub = Hub {
    table: "h_advertiser",
    key: "h_advertiser_pk",
    business_key: Column::new("advertiser_name", ColumnType::Text),
    attributes: &[],
};

/// Searches: who looked for which hotel, and when.
pub static HOTEL_SEARCH: Link = Link {
    table: "l_hotel_search",
    key: "hk_hotel_search_pk",
    hubs: &[&USER, &HOTEL],
    event: Some(Column::new("event_id", ColumnType::Text)),
    attributes: &[Column::new("search_dt", ColumnType::Timestamp)],
};

/// What a search was offered: advertisers, each once and in name order, and the lowest price in euro cents.
pub static HOTEL_SEARCH_OFFERS: Satellite = Satellite {
    table: "s_hotel_search_offers",
    parent: Parent::Link(&HOTEL_SEARCH),
    hashdiff: "hk_hotel_search_offers_hashdiff",
    sent: false,
    attributes: &[
        Column::new("advertisers", ColumnType::TextArray).naming(&ADVERTISER),
        Column::nullable("min_price", ColumnType::BigInt),
        Column::nullable("min_advertiser", ColumnType::Text),
    ],
};
