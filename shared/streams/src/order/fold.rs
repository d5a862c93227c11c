//! The law of the counters over the whole vault: what they must be at rest. Rebuild, reconcile and the tests ask this
//! statement; dds and cdm get there step by step, see [`super::countable`] and [`super::counters`].

use strata_events::Contract as _;
use strata_vault::model::{Link, SCHEMA};

use super::counters::Counted;
use super::vault::{
    ORDER, ORDER_CATEGORY, ORDER_PRODUCT, ORDER_STATUS, ORDER_USER, PRODUCT_CATEGORY, PRODUCT_NAMES,
};
use super::{CountedMessage, OrderStatus};
use crate::definition::Pairs;
use crate::mart::Counters;
use crate::vault::USER;

/// Orders of users by product.
pub static PRODUCTS: Counters = Counters {
    table: "cdm.user_product_counters",
    key: "user_id, product_id",
    by: "product",
    link: &ORDER_PRODUCT,
    names: Some(&PRODUCT_NAMES),
    law: counters,
    adds: |message| Some(counted(message)?.products),
};

/// Orders of users by category.
pub static CATEGORIES: Counters = Counters {
    table: "cdm.user_category_counters",
    key: "user_id, category_id",
    by: "category",
    link: &ORDER_CATEGORY,
    names: None,
    law: counters,
    adds: |message| Some(counted(message)?.categories),
};

/// An order is linked to the categories that its products had, and to no others.
pub static PAIRS: Pairs = Pairs {
    names: "products and categories of an order",
    links: [&ORDER_PRODUCT, &ORDER_CATEGORY],
    by: &PRODUCT_CATEGORY,
};

/// What a message adds to the counters; none where it cannot be read.
fn counted(message: &[u8]) -> Option<Counted> {
    let mut counted = Counted::default();
    counted.add(&CountedMessage::decode(message).ok()?);
    Some(counted)
}

/// Distinct orders that were ever closed, of each user by what a link joins orders with.
///
/// **Shape**: key of the user, key of the thing, number of orders.
pub fn counters(link: &Link) -> String {
    let (order, user, thing) = (ORDER.key, USER.key, link.hubs[1].key);
    let (statuses, closed) = (ORDER_STATUS.table, OrderStatus::Closed.as_str());
    let (users, things) = (ORDER_USER.table, link.table);
    format!(
        "select {user}, {thing}, count(*) \
         from (select distinct {order} from {SCHEMA}.{statuses} where status = '{closed}') as closed \
         join {SCHEMA}.{users} using ({order}) join {SCHEMA}.{things} using ({order}) \
         group by {user}, {thing}"
    )
}
