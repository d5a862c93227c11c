//! JSON Schemas (2020-12) of topics: what a message is, for people, OpenAPI and a schema registry, and which rule a
//! refused one breaks.
//!
//! The decoder of a topic decides what is accepted; a message is never validated twice. Only one that was refused is
//! held against the schema, to name the place and the rule.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use serde::Serialize;
use serde_json::Value;

/// What schemas are written in.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a registry is told that they are written in: the newest that Apicurio 2 compares, and Confluent's own default.
const REGISTERED_DIALECT: &str = "http://json-schema.org/draft-07/schema#";

/// Longest pointer and longest rule, in characters; both may quote what the sender wrote.
const MAX_CHARS: usize = 300;

/// The text of a JSON Schema.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Schema(&'static str);

/// Where a message breaks its schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// JSON pointer (RFC 6901) to the value; empty for the message itself.
    pub pointer: String,
    /// The rule that does not hold, as `keyword: value`.
    pub rule: String,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({} bytes)", self.0.len())
    }
}

/// Schemas that were asked already, by the address of their text: few, and only those of refused messages.
static COMPILED: Mutex<BTreeMap<usize, Arc<Validator>>> = Mutex::new(BTreeMap::new());

impl Schema {
    /// The schema with this text; a test of the streams holds all of them to be schemas.
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// The text, as it is served and registered.
    pub const fn text(self) -> &'static str {
        self.0
    }

    /// The text, as a registry is given it: as draft-07, by which registries compare versions. No keyword of ours means
    /// another thing there.
    pub fn registered(self) -> String {
        self.0.replacen(DIALECT, REGISTERED_DIALECT, 1)
    }

    /// The schema as JSON.
    ///
    /// **Errors**: the text is no JSON.
    pub fn json(self) -> serde_json::Result<Value> {
        serde_json::from_str(self.0)
    }

    /// The first rule that a message breaks; none where it breaks none, or is no JSON.
    pub fn breach(self, bytes: &[u8]) -> Option<Breach> {
        let message: Value = serde_json::from_slice(bytes).ok()?;
        let compiled = self.compiled().ok()?;
        let error = compiled.validate(&message).err()?;
        Some(Breach { pointer: short(error.instance_path().as_str()), rule: short(&self.rule(&error)) })
    }

    /// The validator, made once.
    ///
    /// **Errors**: the text is no schema.
    pub fn compiled(self) -> Result<Arc<Validator>, String> {
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        let address = self.0.as_ptr().addr();
        if let Some(known) = compiled.get(&address) {
            return Ok(Arc::clone(known));
        }
        let json = self.json().map_err(|e| e.to_string())?;
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        let made = Arc::new(options.build(&json).map_err(|e| e.to_string())?);
        compiled.insert(address, Arc::clone(&made));
        Ok(made)
    }

    /// The rule of an error: the keyword and its value, for a missing field the field.
    fn rule(self, error: &ValidationError<'_>) -> String {
        let keyword = error.kind().keyword();
        match error.kind() {
            ValidationErrorKind::Required { property } => format!("{keyword}: {property}"),
            _ => {
                let json = self.json().unwrap_or_default();
                let value = json.pointer(error.schema_path().as_str()).unwrap_or_default();
                format!("{keyword}: {value}")
            }
        }
    }
}

/// Text that Postgres and a Kafka header can hold.
fn short(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: Schema = Schema::new(
        r#"{"type": "object", "required": ["a/b"], "properties": {"a/b": {"type": "array",
            "items": {"type": ["string", "null"], "maxLength": 2, "pattern": "^[a-z]*$"}}}}"#,
    );

    #[test]
    fn a_message_is_told_where_it_breaks_which_rule() {
        for (message, pointer, rule) in [
            ("7", "", r#"type: "object""#),
            ("{}", "", r#"required: "a/b""#),
            (r#"{"a/b": {}}"#, "/a~1b", r#"type: "array""#),
            (r#"{"a/b": ["x", 1]}"#, "/a~1b/1", r#"type: ["string","null"]"#),
            (r#"{"a/b": ["x", "xyz"]}"#, "/a~1b/1", "maxLength: 2"),
            (r#"{"a/b": ["X"]}"#, "/a~1b/0", r#"pattern: "^[a-z]*$""#),
        ] {
            let expected = Breach { pointer: pointer.to_owned(), rule: rule.to_owned() };
            assert_eq!(SCHEMA.breach(message.as_bytes()), Some(expected), "{message}");
        }
        assert_eq!(SCHEMA.breach(br#"{"a/b": [null]}"#), None);
        assert_eq!(SCHEMA.breach(b"{"), None, "no JSON has no pointer");
    }
}
