//! The tab-separated log of searches: user, Unix seconds, and an object of hotels whose keys need no quotes.
//!
//! ```text
//! 001adddd-6a55-4cd0-a1a1-9ca20e20d488<TAB>1620224528<TAB>{6032:{"advertisers":{"Amoma":[{"eurocents":17558,"breakfast":false}]}}}
//! ```
//!
//! A line is one search per hotel and is taken as a whole or not at all. What an advertiser offers goes
//! on byte for byte. Each event is checked as stg will check it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;
use strata_events::{Contract, Reject};
use uuid::Uuid;

use crate::hotel_search::Search;
use crate::hotel_search::generate::{headers, key};
use crate::source::{Accepted, Event};

/// Most hotels of one line: what a line becomes is held in memory.
const MAX_HOTELS: usize = 1000;

/// Makes the searches of a line, in its order, each with a new identity.
///
/// **Errors**: a [`Reject`] that names the column or the hotel; then nothing of the line is used.
pub fn accept(line: &[u8]) -> Result<Accepted, Reject> {
    let mut columns = line.splitn(3, |byte| *byte == b'\t');
    let (Some(user), Some(time), Some(hotels)) = (columns.next(), columns.next(), columns.next()) else {
        let detail = "a line has three columns, separated by tabs: user_id, Unix seconds, hotels";
        return Err(Reject::new("missing_column", detail));
    };
    let user_id = parse_user(user)?;
    let search_timestamp = parse_time(time)?;
    let quoted = quote_keys(hotels);
    let Hotels(hotels) = serde_json::from_slice(&quoted).map_err(|e| malformed(&e))?;
    check_hotels(&hotels)?;
    let make = |(hotel_id, found): &(String, &RawValue)| {
        search(user_id, hotel_id, &search_timestamp, found).map_err(|Reject { code, detail, .. }| {
            Reject::new(code, format!("hotel {}: {detail}", clip(hotel_id)))
        })
    };
    hotels.iter().map(make).collect::<Result<_, _>>().map(Accepted::Made)
}

/// What was found for one hotel; other fields are ignored.
#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    advertisers: &'a RawValue,
}

/// A search as it is published.
#[derive(Serialize)]
struct Published<'a> {
    user_id: Uuid,
    hotel_id: &'a str,
    search_timestamp: &'a Number,
    hotel_advertisers: &'a RawValue,
}

/// The event of one hotel, if stg will find it good.
fn search(user_id: Uuid, hotel_id: &str, time: &Number, found: &RawValue) -> Result<Event, Reject> {
    // Serde would take an array for an object without names.
    if !found.get().starts_with('{') {
        return Err(Reject::new("invalid_structure", "an object with the field `advertisers` is wanted"));
    }
    let Found { advertisers } = serde_json::from_str(found.get()).map_err(|e| malformed(&e))?;
    let published = Published { user_id, hotel_id, search_timestamp: time, hotel_advertisers: advertisers };
    let payload = serde_json::to_vec(&published).map_err(|e| malformed(&e))?;
    Search::decode(&payload)?;
    Ok(Event { key: key(hotel_id), payload, headers: headers(Uuid::now_v7().to_string()) })
}

/// The hotels of a line in its order, those that come twice included; at most one too many.
struct Hotels<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Hotels<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Hotels<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of hotels")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut hotels = Vec::new();
                while hotels.len() <= MAX_HOTELS {
                    match map.next_entry()? {
                        Some(entry) => hotels.push(entry),
                        None => return Ok(Hotels(hotels)),
                    }
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Hotels(hotels))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Wants at least one hotel, and each once: which of two would be the search nobody can tell.
fn check_hotels(hotels: &[(String, &RawValue)]) -> Result<(), Reject> {
    if hotels.is_empty() {
        return Err(Reject::new("empty_search", "the line has no hotel, so no search"));
    }
    if hotels.len() > MAX_HOTELS {
        return Err(Reject::new("too_many_items", format!("a line may have {MAX_HOTELS} hotels")));
    }
    let mut known = HashSet::with_capacity(hotels.len());
    match hotels.iter().find(|(id, _)| !known.insert(id.trim())) {
        None => Ok(()),
        Some((id, _)) => Err(Reject::new("duplicate_hotel", format!("hotel {} comes twice", clip(id)))),
    }
}

/// The first column.
fn parse_user(column: &[u8]) -> Result<Uuid, Reject> {
    let user = column.trim_ascii();
    Uuid::try_parse_ascii(user)
        .map_err(|_| Reject::new("invalid_id", format!("user_id must be a UUID, not {}", shown(user))))
}

/// The second column.
fn parse_time(column: &[u8]) -> Result<Number, Reject> {
    let time = column.trim_ascii();
    serde_json::from_slice(time).map_err(|_| {
        Reject::new("invalid_structure", format!("the time must be Unix seconds, not {}", shown(time)))
    })
}

/// Why the third column cannot be read.
fn malformed(error: &serde_json::Error) -> Reject {
    let code = if error.is_data() { "invalid_structure" } else { "malformed_json" };
    Reject::new(code, error.to_string())
}

/// Input as an error message quotes it.
fn shown(bytes: &[u8]) -> String {
    format!("{:?}", clip(&String::from_utf8_lossy(bytes)))
}

/// Shortens text for an error message.
fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Puts quotes around the bare keys of an object: letters, digits, `_` and `-`.
///
/// Only where a key of the outermost object is due; whatever else is wrong stays wrong. An object
/// whose keys have their quotes stays as it is.
fn quote_keys(object: &[u8]) -> Cow<'_, [u8]> {
    if !object.trim_ascii_start().starts_with(b"{") {
        return Cow::Borrowed(object);
    }
    let mut quoted = Vec::new();
    // What stands before `copied` is in `quoted` already.
    let (mut at, mut copied) = (0, 0);
    let (mut depth, mut key_due, mut in_string) = (0_u64, false, false);
    while let Some(&byte) = object.get(at) {
        let start = at;
        at += 1;
        match byte {
            // The next byte is escaped, whatever it is.
            b'\\' if in_string => at += 1,
            b'"' => (in_string, key_due) = (!in_string, false),
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                key_due = depth == 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => key_due = depth == 1,
            _ if key_due && is_bare(byte) => {
                at += object[at..].iter().take_while(|byte| is_bare(**byte)).count();
                quoted.extend_from_slice(&object[copied..start]);
                quoted.push(b'"');
                quoted.extend_from_slice(&object[start..at]);
                quoted.push(b'"');
                (copied, key_due) = (at, false);
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => key_due = false,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(object);
    }
    quoted.extend_from_slice(&object[copied..]);
    Cow::Owned(quoted)
}

/// True for what a bare key may consist of.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

#[cfg(test)]
mod tests;
