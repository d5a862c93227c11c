//! Statements of the raw layer for searches.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use strata_pipeline::metrics::written;
use strata_pipeline::{Input, StageError};
use uuid::Uuid;

use crate::search::identified::IdentifiedSearch;

/// Columns for `stg.hotel_search_events`, one row a search, sorted by `event_id`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SearchEventRows<'a> {
    /// Identities.
    pub event_id: Vec<&'a str>,
    /// Who searched.
    pub user_id: Vec<Uuid>,
    /// Which hotel, as received.
    pub hotel_id: Vec<&'a str>,
    /// When.
    pub search_dt: Vec<DateTime<Utc>>,
    /// Records as received.
    pub payload: Vec<&'a str>,
    /// Kafka timestamps.
    pub sent_dttm: Vec<DateTime<Utc>>,
    /// Topics of the records that the searches came with.
    pub load_src: Vec<Arc<str>>,
    /// Partitions of these records.
    pub load_partition: Vec<i32>,
    /// Offsets of these records.
    pub load_offset: Vec<i64>,
}

impl<'a> SearchEventRows<'a> {
    /// Reduces a batch to the earliest record of each search.
    pub fn earliest(inputs: &'a [Input<'_, IdentifiedSearch>]) -> Self {
        let place = |input: &Input<'_, _>| {
            let record = input.record;
            (record.timestamp_ms, record.offset, record.partition)
        };
        let mut earliest: BTreeMap<&str, &Input<'_, IdentifiedSearch>> = BTreeMap::new();
        for input in inputs {
            let known = earliest.entry(&input.event.event_id).or_insert(input);
            if place(input) < place(known) {
                *known = input;
            }
        }
        let mut rows = Self::default();
        for (event_id, input) in earliest {
            let IdentifiedSearch { search, text, .. } = &input.event;
            rows.event_id.push(event_id);
            rows.user_id.push(search.user_id);
            rows.hotel_id.push(&search.hotel_id);
            rows.search_dt
                .push(DateTime::from_timestamp_micros(search.timestamp_micros()).unwrap_or_default());
            rows.payload.push(text);
            rows.sent_dttm.push(input.record.load_dt());
            let start = input.record.start();
            rows.load_src.push(start.topic);
            rows.load_partition.push(start.partition);
            rows.load_offset.push(start.offset);
        }
        rows
    }
}

/// Stages searches. **Idempotent**: one that is there already stays as it is.
pub async fn insert_hotel_search_events(
    connection: &mut PgConnection,
    rows: &SearchEventRows<'_>,
) -> Result<(), StageError> {
    if rows.event_id.is_empty() {
        return Ok(());
    }
    let done = sqlx::query(include_str!("../../sql/insert_hotel_search_events.sql"))
        .bind(&rows.event_id)
        .bind(&rows.user_id)
        .bind(&rows.hotel_id)
        .bind(&rows.search_dt)
        .bind(&rows.payload)
        .bind(&rows.sent_dttm)
        .bind(rows.load_src.iter().map(|src| &**src).collect::<Vec<_>>())
        .bind(&rows.load_partition)
        .bind(&rows.load_offset)
        .execute(connection)
        .await?;
    written::note("stg.hotel_search_events", done.rows_affected());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::identified::tests::record;

    #[test]
    fn one_row_a_search_and_the_earliest_record_wins() {
        let records = [(3, "b"), (2, "a"), (1, "a"), (4, "a")].map(|(at, id)| record(at, Some(id)));
        let input = |record| Input { record, event: IdentifiedSearch::decode(record).expect("valid") };
        let inputs = records.each_ref().map(input);
        let rows = SearchEventRows::earliest(&inputs);
        assert_eq!(rows.event_id, ["a", "b"]);
        let at = rows.sent_dttm.iter().map(DateTime::timestamp_millis);
        assert_eq!(at.collect::<Vec<_>>(), [1, 3]);
        assert_eq!((rows.load_partition, rows.load_offset), (vec![2, 2], vec![1, 3]));
        assert_eq!(rows.search_dt[0].to_rfc3339(), "2021-05-05T14:22:08+00:00");
        assert_eq!(rows.payload[0].as_bytes(), records[0].payload);
    }
}
