//! `stg_topic`: orders as the shop sends them.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use strata_events::text::{check_date, check_hex_id, check_name, check_sent};
use strata_events::{Contract, MAX_EVENT_BYTES, MAX_ORDER_ITEMS, Money, Reject, Text, parse_object};

/// The only `object_type` of the order stream.
pub const OBJECT_TYPE: &str = "order";

/// A message of `stg_topic`, as it is written.
#[derive(Debug, Clone, Serialize)]
pub struct OrderMessage<'a> {
    /// Business key of the order.
    pub object_id: i64,
    /// Always `order`.
    pub object_type: &'static str,
    /// When the source sent this version of the order.
    pub sent_dttm: DateTime<Utc>,
    /// The order.
    pub payload: OrderPayload<'a>,
}

/// A valid message of `stg_topic`, as it is read.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// Business key of the order.
    pub object_id: i64,
    /// When the source sent this version, in microseconds; the newest is in force in all layers.
    pub sent_dttm: DateTime<Utc>,
    /// The order, decoded.
    pub payload: OrderPayload<'a>,
    /// The payload as received, fields unknown to us included.
    pub raw_payload: &'a RawValue,
}

/// What was ordered, by whom, where, and how far it got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderPayload<'a> {
    /// Where it was ordered.
    #[serde(borrow)]
    pub restaurant: IdRef<'a>,
    /// When it was ordered.
    pub date: DateTime<Utc>,
    /// Who ordered.
    #[serde(borrow)]
    pub user: IdRef<'a>,
    /// The products, each once.
    #[serde(borrow)]
    pub order_items: Vec<OrderItem<'a>>,
    /// Part paid with bonus points.
    #[serde(default)]
    pub bonus_payment: Money,
    /// Sum of the order.
    pub cost: Money,
    /// Sum paid.
    pub payment: Money,
    /// Bonus points granted.
    #[serde(default)]
    pub bonus_grant: Money,
    /// The way so far.
    #[serde(default)]
    pub statuses: Vec<StatusChange>,
    /// Where the order stands with this message.
    pub final_status: OrderStatus,
    /// When the source changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_ts: Option<DateTime<Utc>>,
}

/// A reference by business key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdRef<'a> {
    /// 24 hexadecimal characters.
    #[serde(borrow)]
    pub id: Text<'a>,
}

/// One product of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderItem<'a> {
    /// Name as the shop knew it; the menu's name is what counts downstream.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// Price of one piece; the menu's price where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// Category as the shop knew it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Text<'a>>,
    /// 24 hexadecimal characters.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// Pieces ordered, at least one.
    pub quantity: u32,
}

/// One step of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusChange {
    /// The status reached.
    pub status: OrderStatus,
    /// When.
    pub dttm: DateTime<Utc>,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OrderStatus {
    /// Accepted.
    Open,
    /// In the kitchen.
    Cooking,
    /// On its way.
    Delivering,
    /// Delivered and paid: the order counts.
    Closed,
    /// Called off.
    Cancelled,
}

impl OrderStatus {
    /// The status as the topics and the warehouse spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Cooking => "COOKING",
            Self::Delivering => "DELIVERING",
            Self::Closed => "CLOSED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    object_id: i64,
    #[serde(borrow)]
    object_type: Text<'a>,
    sent_dttm: DateTime<Utc>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

impl<'a> Contract<'a> for Order<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Reject> {
        if bytes.len() > MAX_EVENT_BYTES {
            return Err(Reject::new(
                "too_large",
                format!("an order may have {MAX_EVENT_BYTES} bytes, this has {}", bytes.len()),
            ));
        }
        let envelope: Envelope<'a> = parse_object(bytes)?;
        if &*envelope.object_type != OBJECT_TYPE {
            return Err(unknown_type(OBJECT_TYPE, &envelope.object_type));
        }
        let sent_dttm = check_sent(envelope.sent_dttm)?;
        let payload: OrderPayload<'a> = parse_object(envelope.payload.get().as_bytes())?;
        payload.check()?;
        Ok(Self { object_id: envelope.object_id, sent_dttm, payload, raw_payload: envelope.payload })
    }
}

/// The rejection of a message that belongs to another stream.
pub(crate) fn unknown_type(expected: &str, found: &str) -> Reject {
    let found: String = found.chars().take(60).collect();
    Reject::new("unknown_object_type", format!("object_type must be {expected:?}, not {found:?}"))
}

impl OrderPayload<'_> {
    fn check(&self) -> Result<(), Reject> {
        check_date("payload.date", self.date)?;
        check_hex_id("payload.restaurant.id", &self.restaurant.id)?;
        check_hex_id("payload.user.id", &self.user.id)?;
        let amounts = [
            ("cost", self.cost),
            ("payment", self.payment),
            ("bonus_payment", self.bonus_payment),
            ("bonus_grant", self.bonus_grant),
        ];
        for (field, amount) in amounts {
            amount.check_not_negative(field)?;
        }
        for change in &self.statuses {
            check_date("payload.statuses.dttm", change.dttm)?;
        }
        if let Some(update_ts) = self.update_ts {
            check_date("payload.update_ts", update_ts)?;
        }
        check_products(self.order_items.iter().map(|item| &*item.id))?;
        self.order_items.iter().try_for_each(OrderItem::check)
    }
}

impl OrderItem<'_> {
    fn check(&self) -> Result<(), Reject> {
        if self.quantity == 0 {
            return Err(Reject::new("invalid_quantity", format!("product {} has quantity 0", self.id)));
        }
        if let Some(price) = self.price {
            price.check_not_negative("price")?;
        }
        for (field, text) in [("name", &self.name), ("category", &self.category)] {
            if let Some(text) = text {
                check_name(field, text)?;
            }
        }
        Ok(())
    }
}

/// Checks the products of an order as a list: some, not too many, each once.
pub(crate) fn check_products<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Reject> {
    match ids.len() {
        0 => return Err(Reject::new("empty_order", "an order needs at least one product")),
        n if n > MAX_ORDER_ITEMS => {
            return Err(Reject::new(
                "too_many_items",
                format!("{n} products are more than the {MAX_ORDER_ITEMS} allowed"),
            ));
        }
        _ => {}
    }
    let mut seen = HashSet::with_capacity(ids.len());
    for id in ids {
        check_hex_id("product id", id)?;
        if !seen.insert(id) {
            return Err(Reject::new("duplicate_product", format!("product {id} stands twice in the order")));
        }
    }
    Ok(())
}
