//! The hotel-search stream in the raw layer: stage, clean, pass on.

use std::sync::Arc;

use sqlx::PgConnection;
use strata_events::Reject;
use strata_events::event_id::EVENT_ID_HEADER;
use strata_pipeline::{Effects, Handler, Input, Output, Record, StageError};
use strata_streams::hotel_search::clean::clean;

use crate::search::identified::IdentifiedSearch;
use crate::search::store::{SearchEventRows, insert_hotel_search_events};

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

    fn decode(&self, record: &Record) -> Result<IdentifiedSearch, Reject> {
        IdentifiedSearch::decode(record)
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
mod tests {
    use serde_json::Value;
    use strata_streams::hotel_search::golden;

    use super::*;
    use crate::search::identified::tests::record;

    #[test]
    fn the_golden_record_goes_on_as_the_golden_record_of_the_next_layer() {
        let record = record(7, Some("a-1"));
        let input = Input { event: IdentifiedSearch::decode(&record).expect("valid"), record: &record };
        let output = SearchHandler::new("processed_data_topic".into()).output(&input).expect("JSON");
        assert_eq!(&*output.topic, "processed_data_topic");
        assert_eq!(output.key.as_deref(), Some(&b"6033"[..]));
        assert_eq!(output.timestamp_ms, 7);
        let headers = [("origin", "raw_data_topic/2/7"), ("event_id", "a-1")];
        assert_eq!(output.headers, headers.map(|(name, value)| (name.into(), value.to_owned())));
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
        assert_eq!(json(&output.payload), json(golden::PROCESSED.as_bytes()));
    }
}
