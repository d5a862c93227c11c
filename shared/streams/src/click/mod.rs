//! Clicks: who opened which page, when and from where; one link each in the vault, summed up by a scheduled model.

pub mod clean;
pub mod cleaned;
pub mod generate;
pub mod golden;
pub mod raw;
pub mod rows;
pub mod schema;
pub mod staged;
pub mod vault;

use strata_events::{Contract as _, Hop, StageId, StoreKind, StreamSpec};

use crate::definition::{Message, StreamDef, Words};
use crate::source::{Form, Make};
use crate::written;

pub use cleaned::CleanedClick;
pub use raw::Click;

/// Name and path of the clicks: the aggregate is a model's, so no stage follows the vault.
pub const CLICK: StreamSpec = StreamSpec {
    name: "click",
    hops: &[
        Hop::new(StageId::Stg, StoreKind::Postgres, ("KAFKA_CLICKSTREAM_TOPIC", "clickstream"), schema::RAW),
        Hop::new(
            StageId::Dds,
            StoreKind::Postgres,
            ("KAFKA_CLICKSTREAM_DDS_TOPIC", "clickstream_dds"),
            schema::CLEANED,
        ),
    ],
};

/// Clicks on the pages of a site.
pub static DEF: StreamDef = StreamDef {
    spec: CLICK,
    words: Words { one: "click", many: "clicks" },
    messages: &[
        Message {
            records: "clicks",
            golden: &[golden::RAW, golden::RAW_ARRAY],
            rewrite: |bytes| written(&Click::decode(bytes)?),
        },
        Message {
            records: "cleaned clicks",
            golden: &[golden::CLEANED],
            rewrite: |bytes| written(&CleanedClick::decode(bytes)?),
        },
    ],
    make: Make::Alone(generate::generator),
    accept: generate::accept,
    api: include_str!("openapi.json"),
    // A line may be an array, so lines must be asked for by name.
    forms: &[Form { name: "ndjson", media_type: "application/x-ndjson", accept: generate::accept }],
    raw: staged::RAW,
    vault: &vault::MODEL,
    summary: &[vault::PAGE.table, vault::COUNTRY.table, vault::CLICK.table],
    marts: &[],
    pairs: None,
};
