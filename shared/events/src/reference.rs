//! Users and restaurants, the reference data that staging enriches orders from.

use std::fmt;
use std::str::FromStr;

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

/// What an order names, written `user/<id>`, `restaurant/<id>` or `product/<restaurant id>/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// A user.
    User(String),
    /// A restaurant.
    Restaurant(String),
    /// A dish on the menu of a restaurant.
    Product {
        /// Id of the restaurant.
        restaurant: String,
        /// Id of the dish.
        product: String,
    },
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user/{id}"),
            Self::Restaurant(id) => write!(f, "restaurant/{id}"),
            Self::Product { restaurant, product } => write!(f, "product/{restaurant}/{product}"),
        }
    }
}

/// The text does not have the form of a [`Reference`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reference has the form user/<id>, restaurant/<id> or product/<restaurant id>/<id>")]
pub struct InvalidReference;

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            ["user", id] => Ok(Self::User(id.to_owned())),
            ["restaurant", id] => Ok(Self::Restaurant(id.to_owned())),
            ["product", restaurant, product] => {
                Ok(Self::Product { restaurant: restaurant.to_owned(), product: product.to_owned() })
            }
            _ => Err(InvalidReference),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_survives_its_text() {
        let product = Reference::Product { restaurant: "b1".into(), product: "c1".into() };
        for (reference, text) in [
            (Reference::User("a1".into()), "user/a1"),
            (Reference::Restaurant("b1".into()), "restaurant/b1"),
            (product, "product/b1/c1"),
        ] {
            assert_eq!(reference.to_string(), text);
            assert_eq!(text.parse(), Ok(reference));
        }
        for text in ["", "user", "user/a/b", "product/a", "dish/a"] {
            assert_eq!(text.parse::<Reference>(), Err(InvalidReference), "{text}");
        }
    }
}
