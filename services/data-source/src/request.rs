//! The body of `POST /push`.

use std::time::Duration;

use serde_json::Value;
use strata_streams::source::MAX_EVENTS;
use strata_streams::{DEFAULT, StreamDef, find, names};
use uuid::Uuid;

/// Longest gap between two events that a rate may mean.
const MAX_GAP: Duration = Duration::from_secs(24 * 3600);

/// What a caller asks for.
#[derive(Debug, Clone, Copy)]
pub struct PushRequest {
    /// Number of events.
    pub count: u32,
    /// Kind of events.
    pub stream: &'static StreamDef,
    /// Time between two events, where a rate was given.
    pub gap: Option<Duration>,
    /// Seed, where the same events are wanted again.
    pub seed: Option<u64>,
    /// Identity of the push, where the caller may send it again; what has a seed needs none.
    pub id: Option<Uuid>,
}

impl PushRequest {
    /// Reads the body; an empty one asks for one event of the default stream.
    ///
    /// **Errors**: what is wrong with it, for the caller.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
        let value: Value = serde_json::from_slice(body).map_err(|e| format!("the body is no JSON: {e}"))?;
        let Value::Object(fields) = value else {
            return Err("the body must be a JSON object like {\"N\": 10000}".to_owned());
        };
        Ok(Self {
            count: fields.get("N").map_or(Ok(1), count)?,
            stream: fields.get("stream").map_or(Ok(DEFAULT), stream)?,
            gap: fields.get("rate").map(gap).transpose()?,
            seed: fields.get("seed").map(seed).transpose()?,
            id: fields.get("id").map(id).transpose()?,
        })
    }
}

/// Reads `N`.
fn count(value: &Value) -> Result<u32, String> {
    let count = whole(value).and_then(|count| u32::try_from(count).ok());
    count
        .filter(|count| (1..=MAX_EVENTS).contains(count))
        .ok_or_else(|| format!("N must be a whole number from 1 to {MAX_EVENTS}, not {}", shown(value)))
}

/// Reads `stream`.
fn stream(value: &Value) -> Result<&'static StreamDef, String> {
    let found = value.as_str().and_then(|name| find(name).ok());
    found.ok_or_else(|| format!("stream must be one of: {}", names()))
}

/// Reads `rate` as the time between two events.
fn gap(value: &Value) -> Result<Duration, String> {
    let rate = value.as_f64().filter(|rate| *rate > 0.0);
    rate.and_then(|rate| Duration::try_from_secs_f64(rate.recip()).ok())
        .filter(|gap| *gap <= MAX_GAP)
        .ok_or_else(|| {
            format!(
                "rate must be a number of events a second above 0 (at least one a day), not {}",
                shown(value)
            )
        })
}

/// Reads `seed`.
fn seed(value: &Value) -> Result<u64, String> {
    whole(value)
        .ok_or_else(|| format!("seed must be a whole number from 0 to 2^64 - 1, not {}", shown(value)))
}

/// Reads `id`.
fn id(value: &Value) -> Result<Uuid, String> {
    let id = value.as_str().and_then(|text| Uuid::parse_str(text).ok());
    id.filter(|id| id.get_version_num() == 7)
        .ok_or_else(|| format!("id must be a UUID of version 7, not {}", shown(value)))
}

/// Reads a whole number however it is written: to JSON, 5 and 5.0 are the same.
fn whole(value: &Value) -> Option<u64> {
    /// From here on not every whole number has a float of its own.
    const LIMIT: f64 = (1_u64 << 53) as f64;
    let float = || value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..LIMIT).contains(n));
    value.as_u64().or_else(|| float().map(|n| n as u64))
}

/// A value as an error message quotes it.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_ask_for_something() {
        for (body, count, gap_ms, seed) in [
            ("", 1, None, None),
            (" \n", 1, None, None),
            ("{}", 1, None, None),
            (r#"{"N":10000}"#, 10_000, None, None),
            (r#"{"N":10000000,"stream":"order","other":1}"#, MAX_EVENTS, None, None),
            (r#"{"N":2,"rate":50,"seed":18446744073709551615}"#, 2, Some(20), Some(u64::MAX)),
            (r#"{"rate":0.5,"seed":0}"#, 1, Some(2000), Some(0)),
            (r#"{"N":7.0,"seed":1e3}"#, 7, None, Some(1000)),
        ] {
            let request = PushRequest::parse(body.as_bytes()).unwrap();
            assert_eq!((request.count, request.seed), (count, seed), "{body}");
            assert_eq!(request.gap.map(|gap| gap.as_millis()), gap_ms, "{body}");
            assert_eq!(request.stream.spec.name, "order");
        }
    }

    #[test]
    fn bodies_that_are_refused_name_the_field() {
        for (body, named) in [
            (r#"{"N":0}"#, "N "),
            (r#"{"N":-5}"#, "N "),
            (r#"{"N":1.5}"#, "N "),
            (r#"{"N":"10"}"#, "N "),
            (r#"{"N":null}"#, "N "),
            (r#"{"N":true}"#, "N "),
            (r#"{"N":[1]}"#, "N "),
            (r#"{"N":10000001}"#, "N "),
            (r#"{"N":1e30}"#, "N "),
            (r#"{"N":99999999999999999999999}"#, "N "),
            (r#"{"stream":"cats"}"#, "stream "),
            (r#"{"stream":1}"#, "stream "),
            (r#"{"rate":0}"#, "rate "),
            (r#"{"rate":-1}"#, "rate "),
            (r#"{"rate":"fast"}"#, "rate "),
            (r#"{"rate":1e-300}"#, "rate "),
            (r#"{"rate":0.000001}"#, "rate "),
            (r#"{"seed":-1}"#, "seed "),
            (r#"{"seed":1.5}"#, "seed "),
            (r#"{"seed":"a"}"#, "seed "),
            (r#"{"seed":1e19}"#, "seed "),
            (r#"{"seed":18446744073709551616}"#, "seed "),
            (r#"{"id":"again"}"#, "id "),
            (r#"{"id":7}"#, "id "),
            (r#"{"id":"3f0c7a52-6a0e-4f0e-9d5b-3a3e7d1c2b10"}"#, "id "),
            ("[]", "object"),
            ("7", "object"),
            ("null", "object"),
            ("{\"N\":", "JSON"),
            ("N=5", "JSON"),
            ("\u{1}", "JSON"),
        ] {
            let error = PushRequest::parse(body.as_bytes()).map(|_| ()).unwrap_err();
            assert!(error.contains(named), "{body}: {error}");
            assert!(error.len() < 200, "{body}: {error}");
        }
        assert!(PushRequest::parse(b"{\"N\":\"\xff\"}").is_err());
    }
}
