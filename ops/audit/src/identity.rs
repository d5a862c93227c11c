//! Which event a record is about: the business key where the vault has a hub of its events, else the `event_id`.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;
use strata_events::event_id::event_id;
use strata_events::{Origin, StageId};
use strata_streams::StreamDef;
use strata_vault::model::{ColumnType, Parent};

/// The identity as text, as the stage that reads the record finds it; none where it does not.
///
/// A body may carry an `event_id` only on its way to stg; from there on that is a header.
pub fn identity(
    stream: &StreamDef,
    reader: StageId,
    header: Option<&str>,
    body: &[u8],
    start: &Origin,
) -> Option<String> {
    let in_body = || field(body, stream.raw.key);
    match stream.vault.subject {
        Parent::Hub(_) => in_body(),
        Parent::Link(_) => {
            let given = header.map(str::to_owned);
            let given = given.or_else(|| (reader == StageId::Stg).then(in_body).flatten());
            event_id(given.as_deref(), start).ok()
        }
    }
}

/// A field of a body as text.
fn field(body: &[u8], name: &str) -> Option<String> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    match serde_json::from_str(fields.get(name)?.get()).ok()? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An event for people.
pub fn describe(stream: &StreamDef, id: &str) -> String {
    match stream.vault.subject {
        Parent::Hub(hub) if hub.business_key.kind != ColumnType::Text => {
            format!("{} {id}", stream.words.one)
        }
        _ => format!("{id:?}"),
    }
}

#[cfg(test)]
mod tests {
    use strata_streams::find;

    use super::*;

    #[test]
    fn an_event_is_known_by_its_business_key_or_by_what_it_was_given() {
        let start = Origin { topic: "raw_data_topic".into(), partition: 3, offset: 42 };
        let of = |stream: &str, reader, header, body: &str| {
            identity(find(stream).expect("a stream"), reader, header, body.as_bytes(), &start)
        };
        let placed = event_id(None, &start).ok();
        assert_eq!(of("order", StageId::Dds, None, r#"{"object_id": 7, "x": []}"#).as_deref(), Some("7"));
        assert_eq!(of("order", StageId::Stg, Some("a"), "{1"), None);
        let body = r#"{"event_id": "\u0062"}"#;
        assert_eq!(of("hotel_search", StageId::Stg, Some("a"), body).as_deref(), Some("a"));
        assert_eq!(of("hotel_search", StageId::Stg, None, body).as_deref(), Some("b"));
        assert_eq!(of("hotel_search", StageId::Dds, None, body), placed);
        assert_eq!(of("hotel_search", StageId::Stg, None, "[]"), placed);
        assert_eq!(of("hotel_search", StageId::Stg, Some(" "), body), None);
    }
}
