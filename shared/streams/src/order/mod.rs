//! Orders: enriched from the reference data, spread over the vault, counted by user, product and category.

pub mod catalog;
pub mod countable;
pub mod counted;
pub mod counters;
pub mod enrich;
pub mod fact;
pub mod fold;
pub mod generate;
pub mod golden;
pub mod raw;
pub mod rows;
pub mod schema;
pub mod staged;
pub mod stored;
pub mod vault;

use strata_events::{Contract as _, Hop, StageId, StoreKind, StreamSpec};

use crate::definition::{Message, StreamDef, Words};
use crate::mart::Mart;
use crate::source::Make;
use crate::{vault::USER, written};

pub use counted::{CountedElement, CountedMessage, CountedPayload};
pub use fact::{FactMessage, FactPayload, FactProduct, NamedRef, UserRef};
pub use raw::{IdRef, OBJECT_TYPE, Order, OrderItem, OrderMessage, OrderPayload, OrderStatus, StatusChange};

/// Name and path of the orders.
pub const ORDER: StreamSpec = StreamSpec {
    name: "order",
    hops: &[
        Hop::new(StageId::Stg, StoreKind::Postgres, ("KAFKA_STG_TOPIC", "stg_topic"), schema::RAW),
        Hop::new(StageId::Dds, StoreKind::Postgres, ("KAFKA_DDS_TOPIC", "dds_topic"), schema::FACT),
        Hop::new(StageId::Cdm, StoreKind::Postgres, ("KAFKA_CDM_TOPIC", "cdm_topic"), schema::COUNTED),
    ],
};

/// Orders of a shop.
pub static DEF: StreamDef = StreamDef {
    spec: ORDER,
    words: Words { one: "order", many: "orders" },
    messages: &[
        Message {
            records: "orders",
            golden: &[golden::RAW],
            rewrite: |bytes| {
                let Order { object_id, sent_dttm, payload, .. } = Order::decode(bytes)?;
                written(&OrderMessage { object_id, object_type: OBJECT_TYPE, sent_dttm, payload })
            },
        },
        Message {
            records: "enriched orders",
            golden: &[golden::FACT],
            rewrite: |bytes| written(&FactMessage::decode(bytes)?),
        },
        Message {
            records: "orders that became countable",
            golden: &[golden::COUNTED],
            rewrite: |bytes| written(&CountedMessage::decode(bytes)?),
        },
    ],
    make: Make::FromReference(generate::generator),
    accept: generate::accept,
    api: include_str!("openapi.json"),
    forms: &[],
    raw: staged::RAW,
    vault: &vault::MODEL,
    summary: &[
        vault::ORDER.table,
        USER.table,
        vault::PRODUCT.table,
        vault::ORDER_PRODUCT.table,
        vault::ORDER_STATUS.table,
    ],
    marts: &[Mart::Counters(&fold::PRODUCTS), Mart::Counters(&fold::CATEGORIES)],
    pairs: Some(&fold::PAIRS),
};
