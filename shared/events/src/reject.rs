//! Why an input cannot be used, and whose concern that is.

use crate::{Breach, Schema};

/// Name of the Kafka header with which a sender says that it could not use the record: `code: detail`.
///
/// The stage that reads the record refuses it for that reason, whatever its body says. A replay does not carry it.
pub const REFUSED_HEADER: &str = "refused";

/// Longest header, in characters; a reason may quote what it refuses.
const MAX_HEADER_CHARS: usize = 500;

/// The code of a refusal whose own code is not one of [`CODES`].
const OTHER: &str = "refused_by_sender";

/// Every code of a refusal. They are labels of metrics, so what comes from outside can add none.
pub const CODES: &[&str] = &[
    "amount_out_of_range",
    "date_out_of_range",
    "duplicate_hotel",
    "duplicate_product",
    "empty_message",
    "empty_order",
    "empty_search",
    "invalid_id",
    "invalid_quantity",
    "invalid_structure",
    "invalid_text",
    "malformed_array",
    "malformed_json",
    "missing_column",
    "negative_amount",
    "refused_by_store",
    "timestamp_out_of_range",
    "too_large",
    "too_many_items",
    "unknown_advertiser",
    "unknown_object_type",
    "unknown_origin",
    "unknown_product",
    "unknown_restaurant",
    "unknown_schema",
    "unknown_user",
    OTHER,
];

/// Whose concern a refusal is, and so what becomes of the stage and of the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Class {
    /// The sender's: a dead letter. No number of these stops a stage.
    #[default]
    Malformed,
    /// Nobody's: what the record names is not in the reference data yet. It waits for that and is then taken up.
    Parked {
        /// All that is missing, as [`crate::reference::Reference`] writes it.
        waits_for: Vec<String>,
    },
    /// Ours: a check let pass what the store refuses, or a layer wrote what the next cannot read. A dead letter,
    /// and too many of these stop the stage.
    Suspicious,
}

/// A reason not to apply an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Reject {
    /// Stable snake-case code, one of [`CODES`], for filters and metrics.
    pub code: &'static str,
    /// One sentence that names the field and the value.
    pub detail: String,
    /// Whose concern it is.
    pub class: Class,
    /// Where it breaks which rule of its schema, as far as a schema can say.
    pub breach: Option<Breach>,
}

impl Reject {
    /// Builds a malformed input's reason from its code and a sentence.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is not in CODES");
        Self { code, detail: detail.into(), class: Class::Malformed, breach: None }
    }

    /// The same reason with the place and the rule that the bytes break; reads them once more, so for refused ones only.
    pub fn located(self, schema: Schema, bytes: &[u8]) -> Self {
        match self.code {
            // What is no JSON, or no whole one, has no places.
            "malformed_json" | "malformed_array" | "too_large" => self,
            _ => Self { breach: schema.breach(bytes), ..self },
        }
    }

    /// The same reason for an input that waits for reference data.
    pub fn parked(self, waits_for: Vec<String>) -> Self {
        Self { class: Class::Parked { waits_for }, ..self }
    }

    /// True for an input that waits for reference data.
    pub fn is_parked(&self) -> bool {
        matches!(self.class, Class::Parked { .. })
    }

    /// The same reason where it speaks of an error of ours.
    pub fn suspicious(self) -> Self {
        Self { class: Class::Suspicious, ..self }
    }

    /// The value of the [`REFUSED_HEADER`].
    pub fn to_header(&self) -> String {
        self.to_string().chars().take(MAX_HEADER_CHARS).collect()
    }

    /// Reads the [`REFUSED_HEADER`].
    pub fn from_header(text: &str) -> Self {
        let (code, detail) = text.split_once(": ").unwrap_or((OTHER, text));
        let known = CODES.iter().find(|known| **known == code);
        known.map_or_else(|| Self::new(OTHER, text), |known| Self::new(known, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_its_header() {
        let reject = Reject::new("malformed_json", "expected value at line 1: column 1");
        assert_eq!(Reject::from_header(&reject.to_header()), reject);
    }

    #[test]
    fn a_header_adds_no_codes() {
        for text in
            ["", "a_code_of_mine: because", "malformed_json", "malformed_json:", "x: malformed_json: y"]
        {
            assert_eq!(Reject::from_header(text), Reject::new(OTHER, text), "{text:?}");
        }
    }
}
