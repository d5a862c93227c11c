//! Records of orders against the raw layer and the vault.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use strata_pipeline::Record;
use strata_vault::hub_key;

use super::super::inputs::{At, Fate};
use super::super::ordered::Sorter;
use super::Excused;
use super::staged::Content;
use super::vault::Order;

/// What of an order's record says which version it is.
#[derive(Deserialize)]
struct Sent {
    object_id: i64,
    sent_dttm: DateTime<Utc>,
}

/// An order's record as far as the vault keeps it.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    user: Id<'a>,
    #[serde(borrow)]
    order_items: Vec<Id<'a>>,
    final_status: &'a str,
    #[serde(borrow)]
    cost: &'a RawValue,
    #[serde(borrow)]
    payment: &'a RawValue,
}

/// Business keys are plain: a valid one needs no escapes.
#[derive(Deserialize)]
struct Id<'a> {
    id: &'a str,
}

/// What is kept of a record until its order is looked at.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    /// Where it lies.
    pub at: At,
    id: i64,
    /// When it was sent, in microseconds, as Postgres keeps it.
    sent: i64,
    content: Option<Content>,
}

/// Keeps a record; false where it cannot be read.
pub fn keep(record: &Record, at: At, sorter: &mut Sorter) -> anyhow::Result<bool> {
    let Ok(Sent { object_id, sent_dttm }) = serde_json::from_slice(&record.payload) else {
        return Ok(false);
    };
    let content = serde_json::from_slice(&record.payload).ok().map(|Body { payload }| Content {
        user: Some(payload.user.id.to_owned()),
        products: payload.order_items.iter().map(|item| item.id.to_owned()).collect(),
        status: payload.final_status.to_owned(),
        cost: payload.cost.get().to_owned(),
        payment: payload.payment.get().to_owned(),
    });
    let kept = Kept { at, id: object_id, sent: sent_dttm.timestamp_micros(), content };
    sorter.put(hub_key(&object_id.to_string()), &kept)?;
    Ok(true)
}

impl Kept {
    /// What became of the record; `newest` is when the staged version was sent.
    pub fn fate(&self, newest: Option<i64>, excused: &Excused, order: &Order) -> Fate {
        let id = self.id;
        match newest {
            None => Fate::Missing(format!("is of order {id}, which is not staged")),
            Some(stored) if stored == self.sent => Fate::Stored,
            Some(stored) if stored < self.sent => {
                Fate::Missing(format!("is newer than order {id} in stg.order_events"))
            }
            Some(_) if excused.contains(&id) => Fate::Superseded,
            Some(_) => match self.missing(order) {
                None => Fate::Superseded,
                Some(missing) => Fate::Missing(format!("is an older version of order {id}: {missing}")),
            },
        }
    }

    /// What of an older version the vault does not have. The newest is compared as it is staged.
    fn missing(&self, order: &Order) -> Option<String> {
        let Some(content) = &self.content else { return Some("cannot be read".to_owned()) };
        let missing = content.missing(order);
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}
