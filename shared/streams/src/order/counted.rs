//! `cdm_topic`: what became countable with one order message.
//!
//! A message is an array; each element pairs a product with a category. Either half may have been
//! counted by an earlier message of the same order: then `product_counted` or `category_counted` is
//! true and only the other half adds to its counter. Within a message every (order, user, product)
//! and every (order, user, category) counts once, however many elements name it.

use serde::{Deserialize, Serialize};
use strata_events::text::check_name;
use strata_events::{Contract, Reject, Text, parse};
use uuid::Uuid;

use crate::order::raw::unknown_type;

/// The `object_type` of every element.
pub const OBJECT_TYPE: &str = "cdm_order_event";

/// A message of `cdm_topic`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CountedMessage<'a>(#[serde(borrow)] pub Vec<CountedElement<'a>>);

/// One product that became countable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedElement<'a> {
    /// Identity of this element.
    pub object_id: Uuid,
    /// Always `cdm_order_event`.
    #[serde(borrow)]
    pub object_type: Text<'a>,
    /// What counts for whom.
    #[serde(borrow)]
    pub payload: CountedPayload<'a>,
}

/// The vault keys and names of a countable product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedPayload<'a> {
    /// `h_order_pk`.
    pub order_id: Uuid,
    /// `h_user_pk`.
    pub user_id: Uuid,
    /// `h_product_pk`.
    pub product_id: Uuid,
    /// Name of the product.
    #[serde(borrow)]
    pub product_name: Text<'a>,
    /// `h_category_pk`.
    pub category_id: Uuid,
    /// Name of the category.
    #[serde(borrow)]
    pub category_name: Text<'a>,
    /// True when the product was counted for this order by an earlier message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub product_counted: bool,
    /// True when the category was counted for this order by an earlier message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub category_counted: bool,
}

impl<'a> Contract<'a> for CountedMessage<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Reject> {
        let message: Self = parse(bytes)?;
        if message.0.is_empty() {
            return Err(Reject::new("empty_message", "nothing became countable: the array is empty"));
        }
        for element in &message.0 {
            if &*element.object_type != OBJECT_TYPE {
                return Err(unknown_type(OBJECT_TYPE, &element.object_type));
            }
            check_name("product_name", &element.payload.product_name)?;
            check_name("category_name", &element.payload.category_name)?;
        }
        Ok(message)
    }
}
