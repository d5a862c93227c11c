//! The hotel-search stream in the raw layer: stage, clean, pass on.

use std::sync::Arc;

use sqlx::PgConnection;
use strata_events::event_id::{EVENT_ID_HEADER, event_id};
use strata_events::{Contract, Reject};
use strata_pipeline::{Effects, Handler, Input, Output, Record, StageError};
use strata_streams::hotel_search::Search;

use crate::search::store::{SearchEventRows, insert_hotel_search_events};
use strata_streams::hotel_search::clean::clean;

/// A valid search with its identity and its text.
#[derive(Debug)]
pub struct IdentifiedSearch {
    /// What it is known by in all layers.
    pub event_id: String,
    /// The search, decoded.
    pub search: Search,
    /// The record as received, fields unknown to us included.
    pub text: Box<str>,
}

/// Handles `raw_data_topic`.
pub struct SearchHandler {
    output_topic: Arc<str>,
}

impl SearchHandler {
    /// Writes cleaned searches to `output_topic`.
    pub fn new(output_topic: Arc<str>) -> Self {
        Self { output_topic }
    }

    fn output(&self, input: &Input<'_, IdentifiedSearch>) -> Result<Output, StageError> {
        let processed = clean(&input.event.search);
        let payload = serde_json::to_vec(&processed).map_err(|e| StageError::Data(e.into()))?;
        let key = processed.hotel_id.into_bytes();
        let mut output = Output::from_input(input.record, &self.output_topic, key, payload);
        output.headers.push((EVENT_ID_HEADER.into(), input.event.event_id.clone()));
        Ok(output)
    }
}

impl Handler for SearchHandler {
    type Event<'r> = IdentifiedSearch;
    type Prepared = ();

    /// The identity is the header's; a record that was written by hand may carry it in its body.
    fn decode(&self, record: &Record) -> Result<IdentifiedSearch, Reject> {
        let search = Search::decode(&record.payload)?;
        // The parser does not look into text that it skips.
        let text = std::str::from_utf8(&record.payload)
            .map_err(|e| Reject::new("malformed_json", format!("not UTF-8: {e}")))?;
        let given = record.event_id.as_deref().or(search.event_id.as_deref());
        let event_id = event_id(given, &record.start())?;
        Ok(IdentifiedSearch { event_id, text: text.into(), search })
    }

    /// A search that is staged already goes on all the same: the vault's unique key decides what counts.
    async fn apply<'r>(
        &mut self,
        transaction: &mut PgConnection,
        inputs: &[Input<'r, IdentifiedSearch>],
        (): (),
    ) -> Result<Effects, StageError> {
        let mut effects = Effects::default();
        for (index, input) in inputs.iter().enumerate() {
            effects.outputs.push((index, self.output(input)?));
        }
        insert_hotel_search_events(transaction, &SearchEventRows::earliest(inputs)).await?;
        Ok(effects)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;

    const RAW: &[u8] = strata_streams::hotel_search::golden::RAW.as_bytes();
    const PROCESSED: &[u8] = strata_streams::hotel_search::golden::PROCESSED.as_bytes();

    /// The golden search as a record; `offset` is its time too.
    pub(crate) fn record(offset: i64, event_id: Option<&str>) -> Record {
        Record {
            topic: "raw_data_topic".into(),
            partition: 2,
            offset,
            timestamp_ms: offset,
            payload: RAW.to_vec(),
            event_id: event_id.map(str::to_owned),
            ..Record::default()
        }
    }

    pub(crate) fn decode(record: &Record) -> Result<IdentifiedSearch, Reject> {
        SearchHandler::new("processed_data_topic".into()).decode(record)
    }

    #[test]
    fn the_golden_record_goes_on_as_the_golden_record_of_the_next_layer() {
        let record = record(7, Some("a-1"));
        let input = Input { event: decode(&record).expect("valid"), record: &record };
        let output = SearchHandler::new("processed_data_topic".into()).output(&input).expect("JSON");
        assert_eq!(&*output.topic, "processed_data_topic");
        assert_eq!(output.key.as_deref(), Some(&b"6033"[..]));
        assert_eq!(output.timestamp_ms, 7);
        let headers = [("origin", "raw_data_topic/2/7"), ("event_id", "a-1")];
        assert_eq!(output.headers, headers.map(|(name, value)| (name.into(), value.to_owned())));
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
        assert_eq!(json(&output.payload), json(PROCESSED));
    }

    #[test]
    fn the_identity_is_the_header_else_the_body_else_the_place() {
        let mut record = record(7, None);
        let placed = decode(&record).expect("valid").event_id;
        assert_eq!(placed, event_id(None, &record.coordinates()).expect("derived"));
        let mut body: Value = serde_json::from_slice(RAW).expect("JSON");
        body["event_id"] = "from the body".into();
        record.payload = body.to_string().into_bytes();
        assert_eq!(decode(&record).expect("valid").event_id, "from the body");
        record.event_id = Some("from the header".into());
        assert_eq!(decode(&record).expect("valid").event_id, "from the header");
        record.event_id = Some(String::new());
        assert_eq!(decode(&record).expect_err("empty").code, "invalid_text");
    }

    #[test]
    fn text_that_is_not_utf8_is_rejected_even_where_it_is_not_read() {
        let mut record = record(7, None);
        let end = record.payload.iter().rposition(|byte| *byte == b'}').expect("an object");
        record.payload.splice(end.., *b", \"extra\": \"\xff\"}");
        assert_eq!(decode(&record).expect_err("not UTF-8").code, "malformed_json");
    }
}
