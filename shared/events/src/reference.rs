//! Users and restaurants, the reference data that staging enriches orders from.

use serde::{Deserialize, Serialize};

use crate::text::{check_hex_id, check_name};
use crate::{Contract, MAX_EVENT_BYTES, MAX_ORDER_ITEMS, Money, Reject, parse_object};

/// A person who orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// 24 hexadecimal characters.
    #[serde(rename = "_id")]
    pub id: String,
    /// Full name.
    pub name: String,
    /// Login.
    pub login: String,
    /// When the source changed it last, as the source writes it.
    #[serde(default)]
    pub update_ts_utc: String,
}

/// A restaurant and what it offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restaurant {
    /// 24 hexadecimal characters.
    #[serde(rename = "_id")]
    pub id: String,
    /// Name.
    pub name: String,
    /// The dishes, each once.
    pub menu: Vec<MenuItem>,
    /// When the source changed it last, as the source writes it.
    #[serde(default)]
    pub update_ts_utc: String,
}

/// One dish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MenuItem {
    /// 24 hexadecimal characters.
    #[serde(rename = "_id")]
    pub id: String,
    /// Name.
    pub name: String,
    /// Price of one piece.
    pub price: Money,
    /// Category, for example `Супы`.
    pub category: String,
}

impl Contract<'_> for User {
    fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        check_size(bytes)?;
        let user: Self = parse_object(bytes)?;
        check_hex_id("_id", &user.id)?;
        check_name("name", &user.name)?;
        check_name("login", &user.login)?;
        Ok(user)
    }
}

impl Contract<'_> for Restaurant {
    fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        check_size(bytes)?;
        let restaurant: Self = parse_object(bytes)?;
        check_hex_id("_id", &restaurant.id)?;
        check_name("name", &restaurant.name)?;
        let mut seen = std::collections::HashSet::new();
        if restaurant.menu.len() > MAX_ORDER_ITEMS {
            let detail = format!("{} dishes are more than {MAX_ORDER_ITEMS}", restaurant.menu.len());
            return Err(Reject::new("too_many_items", detail));
        }
        for dish in &restaurant.menu {
            check_hex_id("menu._id", &dish.id)?;
            check_name("menu.name", &dish.name)?;
            check_name("menu.category", &dish.category)?;
            dish.price.check_not_negative("menu.price")?;
            if !seen.insert(&dish.id) {
                return Err(Reject::new("duplicate_product", format!("dish {} stands twice", dish.id)));
            }
        }
        Ok(restaurant)
    }
}

fn check_size(bytes: &[u8]) -> Result<(), Reject> {
    if bytes.len() <= MAX_EVENT_BYTES {
        return Ok(());
    }
    Err(Reject::new(
        "too_large",
        format!("a line may have {MAX_EVENT_BYTES} bytes, this has {}", bytes.len()),
    ))
}
