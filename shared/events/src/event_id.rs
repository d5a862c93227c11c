//! The `event_id` header: the identity of an event that has no business key.
//!
//! It stays with the event through all layers and is its key there.

use uuid::Uuid;

use crate::text::check_id;
use crate::{Origin, Reject};

/// Kafka header that carries the identity.
pub const EVENT_ID_HEADER: &str = "event_id";

/// The identity of an event: the one it was given, else one that follows from where it was written first.
///
/// **Errors**: `invalid_text`, `invalid_id` where the given one cannot be a key.
pub fn event_id(given: Option<&str>, source: &Origin) -> Result<String, Reject> {
    let Some(given) = given else {
        return Ok(Uuid::new_v3(&Uuid::NAMESPACE_X500, source.to_string().as_bytes()).to_string());
    };
    check_id("event_id", given)?;
    Ok(given.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_identified_by_what_it_was_given_else_by_where_it_was_written() {
        let source = Origin { topic: "raw_data_topic".into(), partition: 3, offset: 42 };
        assert_eq!(event_id(Some("a-1"), &source), Ok("a-1".to_owned()));
        assert_eq!(event_id(None, &source), Ok("a5f087e7-f6b5-32a5-bbdf-23cfd5ebc2a7".to_owned()));
        for (code, unusable) in [
            ("invalid_text", " ".to_owned()),
            ("invalid_text", "a\0".to_owned()),
            ("invalid_id", "x".repeat(201)),
        ] {
            assert_eq!(event_id(Some(&unusable), &source).expect_err("unusable").code, code);
        }
    }
}
