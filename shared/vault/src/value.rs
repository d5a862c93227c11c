//! Values of the columns that a stream fills, and the fingerprint of several. Pure.

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::key::Fingerprint;

/// A value of a business key, an identity or an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// It is missing; for columns that may be null.
    Null,
    /// The key of a hub.
    Uuid(Uuid),
    /// Text.
    Text(&'a str),
    /// A list of texts.
    Texts(&'a [String]),
    /// A whole number.
    BigInt(i64),
    /// An amount.
    Numeric(Decimal),
    /// A point in time.
    Timestamp(DateTime<Utc>),
}

/// The fingerprint of attributes, in column order: the hash of each as text. A list brings each of its items, what is
/// missing an empty text.
pub fn fingerprint<'a>(values: impl IntoIterator<Item = Value<'a>>) -> Uuid {
    let mut parts = Fingerprint::new();
    values.into_iter().for_each(|value| value.each_text(|text| parts.push(text)));
    parts.finish()
}

/// The texts of which [`fingerprint`] is the hash.
pub fn texts<'a>(values: impl IntoIterator<Item = Value<'a>>) -> Vec<String> {
    let mut texts = Vec::new();
    values.into_iter().for_each(|value| value.each_text(|text| texts.push(text.to_owned())));
    texts
}

impl Value<'_> {
    /// Gives each text of a value to `each`.
    fn each_text(self, mut each: impl FnMut(&str)) {
        match self {
            Self::Null => each(""),
            Self::Uuid(key) => each(&key.to_string()),
            Self::Text(text) => each(text),
            Self::Texts(texts) => texts.iter().for_each(|text| each(text)),
            Self::BigInt(number) => each(&number.to_string()),
            Self::Numeric(amount) => each(&amount.to_string()),
            Self::Timestamp(time) => each(&time.to_rfc3339_opts(SecondsFormat::Micros, true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashdiff;

    #[test]
    fn values_are_hashed_as_text_and_lists_item_by_item() {
        let names = ["a".to_owned(), "b".to_owned()];
        let values =
            [Value::Texts(&names), Value::BigInt(-7), Value::Null, Value::Numeric(Decimal::new(15, 1))];
        assert_eq!(fingerprint(values), hashdiff(&["a", "b", "-7", "", "1.5"]));
        assert_eq!(texts(values), ["a", "b", "-7", "", "1.5"]);
    }
}
