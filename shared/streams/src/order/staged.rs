//! Orders as they are staged: the newest version of each, by its business key.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use strata_events::{Reference, Reject};
use strata_vault::hub_key;
use strata_vault::rows::{Keys, Load, Rows};

use super::enrich::enrich;
use super::rows::{OrderFact, bare, spread};
use super::stored::PRODUCT_CATEGORIES;
use super::{FactMessage, OBJECT_TYPE, Order};
use crate::reference::ReferenceData;
use crate::staged::{Known, RawRow, RawTable, Staged, Version};

/// The table of the orders.
pub const RAW: RawTable = RawTable {
    table: "stg.order_events",
    key: "object_id",
    load_dt: "coalesce(load_dt, sent_dttm)",
    said: &["object_type"],
    compared: "user, products, status and cost",
    read,
    version: Some(version),
    known: Some(PRODUCT_CATEGORIES),
};

fn read(row: &RawRow) -> Result<Box<dyn Staged + '_>, String> {
    if row.said != [OBJECT_TYPE] {
        return Err(format!("has the type {}", row.said.join(", ")));
    }
    let unreadable = |e: serde_json::Error| format!("holds no order: {e}");
    let order = Order {
        object_id: row.id.parse().map_err(|e| format!("has no number: {e}"))?,
        sent_dttm: row.sent,
        payload: serde_json::from_str(&row.payload).map_err(unreadable)?,
        raw_payload: serde_json::from_str(&row.payload).map_err(unreadable)?,
    };
    if order.payload.order_items.is_empty() {
        return Err("holds no products".to_owned());
    }
    Ok(Box::new(order))
}

/// A record as stg read it; what it accepted need not be valid any more.
#[derive(Deserialize)]
struct Received<'a> {
    object_id: i64,
    sent_dttm: DateTime<Utc>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

fn version(record: &[u8]) -> Option<Version<'_>> {
    let Received { object_id, sent_dttm, payload: raw_payload } = serde_json::from_slice(record).ok()?;
    let payload = serde_json::from_str(raw_payload.get()).ok()?;
    let order = Order { object_id, sent_dttm, payload, raw_payload };
    Some(Version { id: object_id.to_string(), sent: sent_dttm, event: Box::new(order) })
}

impl Staged for Order<'_> {
    fn rows<'e>(&'e self, _id: &'e str, load: &Load) -> Rows<'e> {
        bare(self, load)
    }

    fn wants(&self) -> Vec<Reference> {
        let payload = &self.payload;
        vec![
            Reference::User(payload.user.id.to_string()),
            Reference::Restaurant(payload.restaurant.id.to_string()),
        ]
    }

    /// A category that the order was linked to with a product stands for the menu's, which may have moved the dish since.
    fn enriched<'e>(
        &'e self,
        reference: &'e ReferenceData,
        known: &Known,
    ) -> Option<Result<Box<dyn Staged + 'e>, Reject>> {
        let message = enrich(self, reference).map(|mut message| {
            for product in &mut message.payload.products {
                let key = hub_key(&product.id);
                if let Some((_, category)) = known.iter().find(|(known, _)| *known == key) {
                    product.category = category.clone().into();
                }
            }
            Box::new(message) as Box<dyn Staged>
        });
        Some(message)
    }
}

impl Staged for FactMessage<'_> {
    fn rows<'e>(&'e self, _id: &'e str, load: &Load) -> Rows<'e> {
        spread(&[OrderFact::new(self, load.clone(), &mut Keys::default())])
    }
}
