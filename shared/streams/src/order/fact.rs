//! `dds_topic`: orders with the names that staging looked up.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use strata_events::text::{check_date, check_hex_id, check_name, check_sent};
use strata_events::{Contract, Money, Reject, Text, parse_object};

use crate::order::raw::{OBJECT_TYPE, OrderStatus, check_products, unknown_type};

/// A message of `dds_topic`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FactMessage<'a> {
    /// Business key of the order.
    pub object_id: i64,
    /// Always `order`.
    #[serde(borrow)]
    pub object_type: Text<'a>,
    /// When the source sent this version, in microseconds; messages of older stages and by hand may not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_dttm: Option<DateTime<Utc>>,
    /// The enriched order.
    #[serde(borrow)]
    pub payload: FactPayload<'a>,
}

/// An order as the vault stores it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FactPayload<'a> {
    /// Business key of the order, as in the envelope.
    pub id: i64,
    /// When it was ordered.
    pub date: DateTime<Utc>,
    /// Sum of the order.
    pub cost: Money,
    /// Sum paid.
    pub payment: Money,
    /// Where the order stands with this message.
    pub status: OrderStatus,
    /// Where it was ordered.
    #[serde(borrow)]
    pub restaurant: NamedRef<'a>,
    /// Who ordered.
    #[serde(borrow)]
    pub user: UserRef<'a>,
    /// The products, each once.
    #[serde(borrow)]
    pub products: Vec<FactProduct<'a>>,
}

/// A business key with its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NamedRef<'a> {
    /// 24 hexadecimal characters.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// Name from the reference data.
    #[serde(borrow)]
    pub name: Text<'a>,
}

/// A user with the names at the time of the event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserRef<'a> {
    /// 24 hexadecimal characters.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// Full name.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// Login.
    #[serde(borrow)]
    pub login: Text<'a>,
}

/// One product with its menu entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FactProduct<'a> {
    /// 24 hexadecimal characters.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// Price of one piece: the order's, else the menu's.
    pub price: Money,
    /// Pieces ordered.
    pub quantity: u32,
    /// Name from the menu.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// Category from the menu.
    #[serde(borrow)]
    pub category: Text<'a>,
}

impl<'a> Contract<'a> for FactMessage<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut message: Self = parse_object(bytes)?;
        if &*message.object_type != OBJECT_TYPE {
            return Err(unknown_type(OBJECT_TYPE, &message.object_type));
        }
        message.sent_dttm = message.sent_dttm.map(check_sent).transpose()?;
        message.payload.check(message.object_id)?;
        Ok(message)
    }
}

impl FactPayload<'_> {
    fn check(&self, object_id: i64) -> Result<(), Reject> {
        if self.id != object_id {
            let detail = format!("object_id is {object_id}, payload.id is {}", self.id);
            return Err(Reject::new("invalid_id", detail));
        }
        check_date("payload.date", self.date)?;
        self.cost.check_not_negative("cost")?;
        self.payment.check_not_negative("payment")?;
        check_hex_id("payload.restaurant.id", &self.restaurant.id)?;
        check_name("payload.restaurant.name", &self.restaurant.name)?;
        check_hex_id("payload.user.id", &self.user.id)?;
        check_name("payload.user.name", &self.user.name)?;
        check_name("payload.user.login", &self.user.login)?;
        check_products(self.products.iter().map(|product| &*product.id))?;
        for product in &self.products {
            product.price.check_not_negative("price")?;
            check_name("product name", &product.name)?;
            check_name("product category", &product.category)?;
        }
        Ok(())
    }
}
