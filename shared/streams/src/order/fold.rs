//! The law of the counters over the whole vault: what they must be at rest. Rebuild, reconcile and the tests ask this
//! statement; dds and cdm get there step by step, see [`super::countable`] and [`super::counters`].

use strata_vault::model::{Link, SCHEMA};

use super::OrderStatus;
use super::vault::{ORDER, ORDER_STATUS, ORDER_USER};
use crate::vault::USER;

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
