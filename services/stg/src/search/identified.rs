//! A search as it was received.

use strata_events::event_id::event_id;
use strata_events::{Contract as _, Reject};
use strata_pipeline::Record;
use strata_streams::hotel_search::Search;

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

impl IdentifiedSearch {
    /// Reads a record. The identity is the header's; a record that was written by hand may carry it in its body.
    ///
    /// **Errors**: those of the contract, also for text that nobody reads.
    pub fn decode(record: &Record) -> Result<Self, Reject> {
        let search = Search::decode(&record.payload)?;
        // The parser does not look into text that it skips.
        let text = std::str::from_utf8(&record.payload)
            .map_err(|e| Reject::new("malformed_json", format!("not UTF-8: {e}")))?;
        let given = record.event_id.as_deref().or(search.event_id.as_deref());
        let event_id = event_id(given, &record.start())?;
        Ok(Self { event_id, text: text.into(), search })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;
    use strata_streams::hotel_search::golden::RAW;

    use super::*;

    /// The golden search as a record; `offset` is its time too.
    pub(crate) fn record(offset: i64, event_id: Option<&str>) -> Record {
        Record {
            topic: "raw_data_topic".into(),
            partition: 2,
            offset,
            timestamp_ms: offset,
            payload: RAW.as_bytes().to_vec(),
            event_id: event_id.map(str::to_owned),
            ..Record::default()
        }
    }

    #[test]
    fn the_identity_is_the_header_else_the_body_else_the_place() {
        let mut record = record(7, None);
        let placed = IdentifiedSearch::decode(&record).expect("valid").event_id;
        assert_eq!(placed, event_id(None, &record.coordinates()).expect("derived"));
        let mut body: Value = serde_json::from_str(RAW).expect("JSON");
        body["event_id"] = "from the body".into();
        record.payload = body.to_string().into_bytes();
        assert_eq!(IdentifiedSearch::decode(&record).expect("valid").event_id, "from the body");
        record.event_id = Some("from the header".into());
        assert_eq!(IdentifiedSearch::decode(&record).expect("valid").event_id, "from the header");
        record.event_id = Some(String::new());
        assert_eq!(IdentifiedSearch::decode(&record).expect_err("empty").code, "invalid_text");
    }

    #[test]
    fn text_that_is_not_utf8_is_rejected_even_where_it_is_not_read() {
        let mut record = record(7, None);
        let end = record.payload.iter().rposition(|byte| *byte == b'}').expect("an object");
        record.payload.splice(end.., *b", \"extra\": \"\xff\"}");
        assert_eq!(IdentifiedSearch::decode(&record).expect_err("not UTF-8").code, "malformed_json");
    }
}
