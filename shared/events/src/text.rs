//! Text of messages, and checks that several contracts share.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use chrono::{DateTime, SubsecRound, Utc};

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use crate::{MAX_NAME_CHARS, Reject, TIMES};

/// Longest identity of an event, in characters, and longest name that is a key.
const MAX_ID_CHARS: usize = 200;

/// Text of a message, borrowed from its bytes where nothing in it is escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

/// `Cow` alone would copy, too, wherever it stands inside an `Option`.
struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(text.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(text.to_owned().into())
    }
}

/// Accepts an id of 24 hexadecimal characters, the form of users, restaurants and products.
///
/// **Errors**: `invalid_id`.
pub fn check_hex_id(field: &str, id: &str) -> Result<(), Reject> {
    if id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(Reject::new("invalid_id", format!("{field} must be 24 hexadecimal characters, not {:?}", clip(id))))
}

/// Accepts text that Postgres can store and a person can read.
///
/// **Errors**: `invalid_text`.
pub fn check_name(field: &str, text: &str) -> Result<(), Reject> {
    if text.trim().is_empty() {
        return Err(Reject::new("invalid_text", format!("{field} is empty")));
    }
    if text.contains('\0') {
        return Err(Reject::new("invalid_text", format!("{field} holds a NUL character")));
    }
    if text.chars().count() > MAX_NAME_CHARS {
        return Err(Reject::new(
            "invalid_text",
            format!("{field} is longer than {MAX_NAME_CHARS} characters"),
        ));
    }
    Ok(())
}

/// Accepts an identity that can be a key in every store.
///
/// **Errors**: `invalid_text`, `invalid_id`.
pub fn check_id(field: &str, text: &str) -> Result<(), Reject> {
    check_name(field, text)?;
    if text.chars().count() > MAX_ID_CHARS {
        return Err(Reject::new("invalid_id", format!("{field} is longer than {MAX_ID_CHARS} characters")));
    }
    Ok(())
}

/// Accepts dates of this century; others are clocks gone wrong.
///
/// **Errors**: `date_out_of_range`.
pub fn check_date(field: &str, date: DateTime<Utc>) -> Result<(), Reject> {
    if TIMES.contains(&date.timestamp()) {
        return Ok(());
    }
    Err(Reject::new("date_out_of_range", format!("{field} lies outside the years 2000 to 2099: {date}")))
}

/// Checks when a version was sent, and cuts it to the microseconds that the warehouse keeps.
///
/// Versions are ordered by it, within a batch as in the tables, so it must not be finer in one than in the other.
///
/// **Errors**: `date_out_of_range`.
pub fn check_sent(sent_dttm: DateTime<Utc>) -> Result<DateTime<Utc>, Reject> {
    check_date("sent_dttm", sent_dttm)?;
    Ok(sent_dttm.trunc_subsecs(6))
}

/// Shortens text for an error message.
fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}
