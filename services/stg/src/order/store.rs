//! Statements of the raw layer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use strata_events::Order;
use strata_events::order::OBJECT_TYPE;
use strata_runtime::kafka::StageError;

/// Columns for `stg.order_events`, one row an order, sorted by `object_id`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OrderEventRows<'a> {
    /// Business keys.
    pub object_id: Vec<i64>,
    /// When the source sent the version.
    pub sent_dttm: Vec<DateTime<Utc>>,
    /// Payloads as received.
    pub payload: Vec<&'a str>,
}

impl<'a> OrderEventRows<'a> {
    /// Reduces a batch to the newest version of each order; of equal ones the first stands, as in the table.
    pub fn newest(orders: impl IntoIterator<Item = &'a Order>) -> Self {
        let mut newest: BTreeMap<i64, &Order> = BTreeMap::new();
        for order in orders {
            newest
                .entry(order.object_id)
                .and_modify(|known| {
                    if order.sent_dttm > known.sent_dttm {
                        *known = order;
                    }
                })
                .or_insert(order);
        }
        let mut rows = Self::default();
        for (object_id, order) in newest {
            rows.object_id.push(object_id);
            rows.sent_dttm.push(order.sent_dttm);
            rows.payload.push(order.raw_payload.get());
        }
        rows
    }
}

/// Writes the newest version of each order. **Idempotent**: an older or equal version changes nothing.
pub async fn upsert_order_events(
    connection: &mut PgConnection,
    rows: &OrderEventRows<'_>,
) -> Result<(), StageError> {
    if rows.object_id.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("../../sql/upsert_order_events.sql"))
        .bind(&rows.object_id)
        .bind(OBJECT_TYPE)
        .bind(&rows.sent_dttm)
        .bind(&rows.payload)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use strata_events::Contract;

    use super::*;

    fn version(object_id: i64, sent_dttm: &str, mark: &str) -> Order {
        let golden = include_bytes!("../../../../shared/events/examples/stg_topic.json");
        let mut order: Value = serde_json::from_slice(golden).expect("JSON");
        order["object_id"] = object_id.into();
        order["sent_dttm"] = sent_dttm.into();
        order["payload"]["mark"] = mark.into();
        Order::decode(order.to_string().as_bytes()).expect("valid")
    }

    #[test]
    fn one_row_an_order_and_the_newest_wins() {
        let orders = [
            version(2, "2025-01-01T00:00:00Z", "only"),
            version(1, "2025-01-01T00:00:02Z", "newest"),
            version(1, "2025-01-01T00:00:01Z", "late"),
            version(1, "2025-01-01T00:00:02Z", "same time"),
        ];
        let rows = OrderEventRows::newest(&orders);
        assert_eq!(rows.object_id, [1, 2]);
        assert!(rows.payload[0].contains("newest") && rows.payload[1].contains("only"));
    }
}
