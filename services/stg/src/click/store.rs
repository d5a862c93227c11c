//! Statements of the raw layer for clicks.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use strata_pipeline::metrics::written;
use strata_pipeline::{Input, StageError};

use super::identified::IdentifiedClick;

/// Columns for `stg.click_events`, one row a click, sorted by `event_id`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ClickEventRows<'a> {
    /// Identities.
    pub event_id: Vec<&'a str>,
    /// When.
    pub click_dt: Vec<DateTime<Utc>>,
    /// Records as received.
    pub payload: Vec<&'a str>,
    /// Kafka timestamps.
    pub sent_dttm: Vec<DateTime<Utc>>,
    /// Topics of the records that the clicks came with.
    pub load_src: Vec<Arc<str>>,
    /// Partitions of these records.
    pub load_partition: Vec<i32>,
    /// Offsets of these records.
    pub load_offset: Vec<i64>,
}

impl<'a> ClickEventRows<'a> {
    /// Reduces a batch to the earliest record of each click.
    pub fn earliest(inputs: &'a [Input<'_, IdentifiedClick>]) -> Self {
        let place = |input: &Input<'_, _>| {
            let record = input.record;
            (record.timestamp_ms, record.offset, record.partition)
        };
        let mut earliest: BTreeMap<&str, &Input<'_, IdentifiedClick>> = BTreeMap::new();
        for input in inputs {
            let known = earliest.entry(&input.event.event_id).or_insert(input);
            if place(input) < place(known) {
                *known = input;
            }
        }
        let mut rows = Self::default();
        for (event_id, Input { record, event }) in earliest {
            rows.event_id.push(event_id);
            rows.click_dt.push(event.click.timestamp);
            rows.payload.push(&event.text);
            rows.sent_dttm.push(record.load_dt());
            let start = record.start();
            rows.load_src.push(start.topic);
            rows.load_partition.push(start.partition);
            rows.load_offset.push(start.offset);
        }
        rows
    }
}

/// Stages clicks. **Idempotent**: one that is there already stays as it is.
pub async fn insert_click_events(
    connection: &mut PgConnection,
    rows: &ClickEventRows<'_>,
) -> Result<(), StageError> {
    if rows.event_id.is_empty() {
        return Ok(());
    }
    let done = sqlx::query(include_str!("../../sql/insert_click_events.sql"))
        .bind(&rows.event_id)
        .bind(&rows.click_dt)
        .bind(&rows.payload)
        .bind(&rows.sent_dttm)
        .bind(rows.load_src.iter().map(|src| &**src).collect::<Vec<_>>())
        .bind(&rows.load_partition)
        .bind(&rows.load_offset)
        .execute(connection)
        .await?;
    written::note("stg.click_events", done.rows_affected());
    Ok(())
}
