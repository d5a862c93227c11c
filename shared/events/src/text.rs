//! Checks that several contracts share.

use chrono::{DateTime, Datelike, Utc};

use crate::{MAX_NAME_CHARS, Reject};

/// Accepts an id of 24 hexadecimal characters, the form of users, restaurants and products.
pub(crate) fn check_hex_id(field: &str, id: &str) -> Result<(), Reject> {
    if id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(Reject::new("invalid_id", format!("{field} must be 24 hexadecimal characters, not {:?}", clip(id))))
}

/// Accepts text that Postgres can store and a person can read.
pub(crate) fn check_name(field: &str, text: &str) -> Result<(), Reject> {
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

/// Accepts dates of this century; others are clocks gone wrong.
pub(crate) fn check_date(field: &str, date: DateTime<Utc>) -> Result<(), Reject> {
    if (2000..2100).contains(&date.year()) {
        return Ok(());
    }
    Err(Reject::new("absurd_date", format!("{field} lies outside the years 2000 to 2099: {date}")))
}

/// Shortens text for an error message.
fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}
