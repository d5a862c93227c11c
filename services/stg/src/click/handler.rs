//! The click stream in the raw layer: stage, clean, pass on.

use std::sync::Arc;

use sqlx::PgConnection;
use strata_events::event_id::{EVENT_ID_HEADER, event_id};
use strata_events::{Contract, Reject};
use strata_pipeline::{Effects, Handler, Input, Output, Record, StageError};
use strata_streams::click::Click;
use strata_streams::click::clean::clean;

use super::identified::IdentifiedClick;
use super::store::{ClickEventRows, insert_click_events};

/// Handles `clickstream`.
pub struct ClickHandler {
    output_topic: Arc<str>,
}

impl ClickHandler {
    /// Writes cleaned clicks to `output_topic`.
    pub fn new(output_topic: Arc<str>) -> Self {
        Self { output_topic }
    }
}

impl Handler for ClickHandler {
    type Event<'r> = IdentifiedClick;
    type Prepared = ();

    /// The identity is the header's; a record that was written by hand may carry it in its body.
    fn decode(&self, record: &Record) -> Result<IdentifiedClick, Reject> {
        let click = Click::decode(&record.payload)?;
        // The parser does not look into text that it skips.
        let text = std::str::from_utf8(&record.payload)
            .map_err(|e| Reject::new("malformed_json", format!("not UTF-8: {e}")))?;
        let given = record.event_id.as_deref().or(click.event_id.as_deref());
        let event_id = event_id(given, &record.start())?;
        Ok(IdentifiedClick { event_id, click: clean(&click)?, text: text.into() })
    }

    /// A click that is staged already goes on all the same: the vault's unique key decides what counts.
    async fn apply<'r>(
        &mut self,
        transaction: &mut PgConnection,
        inputs: &[Input<'r, IdentifiedClick>],
        (): (),
    ) -> Result<Effects, StageError> {
        let mut effects = Effects::default();
        for (index, Input { record, event }) in inputs.iter().enumerate() {
            let payload = effects.body(&event.click)?;
            let key = event.click.user_id.clone().into_bytes();
            let mut output = Output::from_input(record, &self.output_topic, key, payload);
            output.headers.push((EVENT_ID_HEADER.into(), event.event_id.clone()));
            effects.outputs.push((index, output));
        }
        insert_click_events(transaction, &ClickEventRows::earliest(inputs)).await?;
        Ok(effects)
    }
}

#[cfg(test)]
mod tests {
    use strata_streams::click::golden::{RAW, RAW_ARRAY};

    use super::*;

    fn decode(payload: &str, event_id: Option<&str>) -> Result<IdentifiedClick, Reject> {
        let record = Record {
            topic: "clickstream".into(),
            payload: payload.as_bytes().to_vec(),
            event_id: event_id.map(str::to_owned),
            ..Record::default()
        };
        ClickHandler::new("clickstream_dds".into()).decode(&record)
    }

    #[test]
    fn both_forms_are_the_same_click() {
        let [object, array] = [RAW, RAW_ARRAY].map(|raw| decode(raw, Some("c-1")).expect("a click"));
        assert_eq!((object.event_id, object.click), (array.event_id, array.click));
        assert_eq!(&*array.text, RAW_ARRAY);
    }

    #[test]
    fn an_array_of_another_length_is_refused() {
        assert_eq!(decode(r#"["a"]"#, Some("c-1")).expect_err("too short").code, "invalid_structure");
    }
}
