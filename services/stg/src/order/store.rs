//! Statements of the raw layer.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use strata_pipeline::metrics::written;
use strata_pipeline::{Input, Record, StageError};
use strata_streams::order::OBJECT_TYPE;
use strata_streams::order::Order;

/// Columns for `stg.order_events`, one row an order, sorted by `object_id`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OrderEventRows<'a> {
    /// Business keys.
    pub object_id: Vec<i64>,
    /// When the source sent the version.
    pub sent_dttm: Vec<DateTime<Utc>>,
    /// Payloads as received.
    pub payload: Vec<&'a str>,
    /// Kafka timestamps.
    pub load_dt: Vec<DateTime<Utc>>,
    /// Topics of the records that the versions came with.
    pub load_src: Vec<Arc<str>>,
    /// Partitions of these records.
    pub load_partition: Vec<i32>,
    /// Offsets of these records.
    pub load_offset: Vec<i64>,
}

impl<'a> OrderEventRows<'a> {
    /// Reduces a batch to the newest version of each order, as the table does.
    pub fn newest(inputs: impl IntoIterator<Item = &'a Input<'a, Order<'a>>>) -> Self {
        let mut newest: BTreeMap<i64, &Input<'_, Order<'_>>> = BTreeMap::new();
        for input in inputs {
            newest
                .entry(input.event.object_id)
                .and_modify(|known| {
                    if replaces(input, known) {
                        *known = input;
                    }
                })
                .or_insert(input);
        }
        let mut rows = Self::default();
        for (object_id, Input { record, event }) in newest {
            let start = record.start();
            rows.object_id.push(object_id);
            rows.sent_dttm.push(event.sent_dttm);
            rows.payload.push(event.raw_payload.get());
            rows.load_dt.push(record.load_dt());
            rows.load_src.push(start.topic);
            rows.load_partition.push(start.partition);
            rows.load_offset.push(start.offset);
        }
        rows
    }
}

/// True where a version takes the place of the known one, as in the statement: it was sent later, or at the same time
/// and was loaded later. A copy of the known version does not.
fn replaces(input: &Input<'_, Order<'_>>, known: &Input<'_, Order<'_>>) -> bool {
    let (new, old) = (&input.event, &known.event);
    let place = |record: &Record| {
        let start = record.start();
        (record.load_dt(), start.offset, start.partition)
    };
    new.sent_dttm > old.sent_dttm
        || (new.sent_dttm == old.sent_dttm
            && new.raw_payload.get() != old.raw_payload.get()
            && place(input.record) > place(known.record))
}

/// Writes the newest version of each order. **Idempotent**: an older or equal version changes nothing.
pub async fn upsert_order_events(
    connection: &mut PgConnection,
    rows: &OrderEventRows<'_>,
) -> Result<(), StageError> {
    if rows.object_id.is_empty() {
        return Ok(());
    }
    let done = sqlx::query(include_str!("../../sql/upsert_order_events.sql"))
        .bind(&rows.object_id)
        .bind(OBJECT_TYPE)
        .bind(&rows.sent_dttm)
        .bind(&rows.payload)
        .bind(&rows.load_dt)
        .bind(rows.load_src.iter().map(|src| &**src).collect::<Vec<_>>())
        .bind(&rows.load_partition)
        .bind(&rows.load_offset)
        .execute(connection)
        .await?;
    written::note("stg.order_events", done.rows_affected());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use strata_events::Contract;

    fn version(object_id: i64, sent_dttm: &str, mark: &str) -> Order<'static> {
        let golden = strata_streams::order::golden::RAW.as_bytes();
        let mut order: Value = serde_json::from_slice(golden).expect("JSON");
        order["object_id"] = object_id.into();
        order["sent_dttm"] = sent_dttm.into();
        order["payload"]["mark"] = mark.into();
        Order::decode(order.to_string().into_bytes().leak()).expect("valid")
    }

    fn record(offset: i64) -> Record {
        Record { topic: "stg_topic".into(), offset, timestamp_ms: offset, ..Record::default() }
    }

    #[test]
    fn one_row_an_order_and_the_newest_wins() {
        let orders = [
            version(2, "2025-01-01T00:00:00Z", "only"),
            version(1, "2025-01-01T00:00:02Z", "newest"),
            version(1, "2025-01-01T00:00:01Z", "late"),
            version(1, "2025-01-01T00:00:02Z", "newest"),
            version(3, "2025-01-01T00:00:02Z", "loaded first"),
            version(3, "2025-01-01T00:00:02Z", "loaded last"),
        ];
        let records: Vec<Record> = (0..6).map(record).collect();
        let inputs: Vec<Input<'_, Order<'_>>> =
            records.iter().zip(orders).map(|(record, event)| Input { record, event }).collect();
        let rows = OrderEventRows::newest(&inputs);
        assert_eq!(rows.object_id, [1, 2, 3]);
        for (payload, mark) in rows.payload.iter().zip(["newest", "only", "loaded last"]) {
            assert!(payload.contains(mark), "{payload}");
        }
        assert_eq!(rows.load_offset, [1, 0, 5]);
    }
}
