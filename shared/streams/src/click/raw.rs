//! `clickstream`: clicks as the site sends them, an object or an array of eight strings.
//!
//! A click has no business key. Its identity is the `event_id` header, which stays with it through all layers; see
//! [`strata_events::event_id`].

use chrono::{DateTime, NaiveDateTime, SubsecRound as _, Utc};
use serde::{Deserialize, Serialize};
use strata_events::text::{check_date, check_id, check_name};
use strata_events::{Contract, MAX_EVENT_BYTES, MAX_NAME_CHARS, Reject, parse};

/// Longest address of a page, in characters.
pub(crate) const MAX_URL_CHARS: usize = 2000;

/// Fields of the array form, in its order.
const FIELDS: usize = 8;

/// A click as it is written and read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Click {
    /// Who clicked.
    pub user_id: String,
    /// When: RFC 3339; without a zone it is UTC.
    pub timestamp: String,
    /// Which page.
    pub url: String,
    /// From which country.
    pub country: String,
    /// From which city; empty where nobody knows, as are those below.
    pub city: String,
    /// By which browser.
    pub browser: String,
    /// On which operating system.
    pub os: String,
    /// On what: desktop, mobile, tablet.
    pub device: String,
    /// The sender's own identity of the click; becomes the header. The array form has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

impl Click {
    /// When the click happened, in the microseconds that the warehouse keeps.
    ///
    /// **Errors**: `invalid_structure`, `date_out_of_range`.
    pub fn time(&self) -> Result<DateTime<Utc>, Reject> {
        let text = self.timestamp.trim();
        let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
        let time =
            zoned.or_else(|_| text.parse::<NaiveDateTime>().map(|time| time.and_utc())).map_err(|_| {
                Reject::new("invalid_structure", format!("timestamp must be RFC 3339, not {:?}", clip(text)))
            })?;
        check_date("timestamp", time)?;
        Ok(time.trunc_subsecs(6))
    }
}

impl Contract<'_> for Click {
    fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        if bytes.len() > MAX_EVENT_BYTES {
            let detail = format!("a click may have {MAX_EVENT_BYTES} bytes, this has {}", bytes.len());
            return Err(Reject::new("too_large", detail));
        }
        let click = match bytes.trim_ascii_start().first() {
            Some(b'[') => from_array(parse(bytes)?)?,
            _ => parse(bytes)?,
        };
        check_id("user_id", &click.user_id)?;
        click.time()?;
        check_url(&click.url)?;
        check_id("country", &click.country)?;
        for (field, text) in
            [("city", &click.city), ("browser", &click.browser), ("os", &click.os), ("device", &click.device)]
        {
            check_detail(field, text)?;
        }
        if let Some(event_id) = &click.event_id {
            check_id("event_id", event_id)?;
        }
        Ok(click)
    }
}

fn from_array(fields: Vec<String>) -> Result<Click, Reject> {
    let count = fields.len();
    let [user_id, timestamp, url, country, city, browser, os, device]: [String; FIELDS] =
        fields.try_into().map_err(|_| {
            Reject::new(
                "invalid_structure",
                format!("a click as an array has {FIELDS} strings, this has {count}"),
            )
        })?;
    Ok(Click { user_id, timestamp, url, country, city, browser, os, device, event_id: None })
}

/// Accepts the address of a page.
pub(crate) fn check_url(url: &str) -> Result<(), Reject> {
    if url.chars().count() > MAX_URL_CHARS {
        return Err(Reject::new("invalid_text", format!("url is longer than {MAX_URL_CHARS} characters")));
    }
    let start: String = url.trim().chars().take(MAX_NAME_CHARS).collect();
    check_name("url", &start)?;
    match url.contains('\0') {
        true => Err(Reject::new("invalid_text", "url holds a NUL character")),
        false => Ok(()),
    }
}

/// Accepts what may be unknown.
pub(crate) fn check_detail(field: &str, text: &str) -> Result<(), Reject> {
    if text.trim().is_empty() && !text.contains('\0') {
        return Ok(());
    }
    check_name(field, text)
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}
