//! Hotel searches: cleaned to who offers and who offers cheapest, one link each in the vault, counted by user, hotel and
//! advertiser.

pub mod clean;
pub mod delta;
pub mod fold;
pub mod generate;
pub mod golden;
pub mod log;
pub mod processed;
pub mod raw;
pub mod rows;
pub mod schema;
pub mod staged;
pub mod vault;

use strata_events::{Contract as _, Hop, StageId, StoreKind, StreamSpec};

use crate::definition::{Message, StreamDef, Words};
use crate::mart::Mart;
use crate::source::{Form, Make};
use crate::written;

pub use processed::{MinOffer, ProcessedSearch};
pub use raw::{Offer, Search};

/// Name and path of the hotel searches.
pub const HOTEL_SEARCH: StreamSpec = StreamSpec {
    name: "hotel_search",
    hops: &[
        Hop::new(StageId::Stg, StoreKind::Postgres, ("KAFKA_RAW_DATA_TOPIC", "raw_data_topic"), schema::RAW),
        Hop::new(
            StageId::Dds,
            StoreKind::Postgres,
            ("KAFKA_PROCESSED_DATA_TOPIC", "processed_data_topic"),
            schema::PROCESSED,
        ),
        Hop::new(StageId::Cdm, StoreKind::Redis, ("KAFKA_METRICS_TOPIC", "metrics_topic"), schema::PROCESSED),
    ],
};

/// Hotel searches of a travel site.
pub static DEF: StreamDef = StreamDef {
    spec: HOTEL_SEARCH,
    words: Words { one: "search", many: "searches" },
    messages: &[
        Message {
            records: "searches",
            golden: &[golden::RAW],
            rewrite: |bytes| written(&Search::decode(bytes)?),
        },
        Message {
            records: "cleaned searches",
            golden: &[golden::PROCESSED],
            rewrite: |bytes| written(&ProcessedSearch::decode(bytes)?),
        },
        Message {
            records: "searches that the vault had not seen",
            golden: &[golden::PROCESSED],
            rewrite: |bytes| written(&ProcessedSearch::decode(bytes)?),
        },
    ],
    make: Make::Alone(generate::generator),
    accept: generate::accept,
    api: include_str!("openapi.json"),
    forms: &[Form { name: "tsv", media_type: "text/tab-separated-values", accept: log::accept }],
    raw: staged::RAW,
    vault: &vault::MODEL,
    summary: &[vault::HOTEL.table, vault::HOTEL_SEARCH.table],
    marts: &[Mart::Metrics(&fold::METRICS)],
    pairs: None,
};
