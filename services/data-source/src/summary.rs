//! The answer to a body of many events: how many were taken, and which were not.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strata_events::{Breach, Reject};
use strata_service::http::ApiError;

use crate::split::{Flaw, Piece};

/// Rejections that are listed; more are only counted.
const MAX_LISTED: usize = 1000;

/// Longest reason in an answer, in characters; a reason may quote what it refuses.
const MAX_REASON_CHARS: usize = 300;

/// What became of the events of one body.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    status: &'static str,
    /// Events that were taken.
    pub accepted: u64,
    /// Events that were not.
    pub rejected_count: u64,
    rejected: Vec<Rejection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// One event that was not taken.
#[derive(Debug, Serialize)]
struct Rejection {
    /// Its line, or its place in the array, from 1.
    line: u64,
    /// Why.
    error: String,
    /// Where it breaks which rule of its schema.
    #[serde(flatten)]
    breach: Option<Breach>,
}

impl Summary {
    /// Notes an event that was not taken; `reason` is only asked for where it is listed.
    pub fn reject(&mut self, line: u64, reason: impl FnOnce() -> Reject) {
        self.rejected_count += 1;
        if self.rejected.len() < MAX_LISTED {
            let reason = reason();
            let error = reason.to_string().chars().take(MAX_REASON_CHARS).collect();
            self.rejected.push(Rejection { line, error, breach: reason.breach });
        }
    }

    /// 200 when something was taken, 422 when nothing was, 400 when there was nothing.
    pub fn into_answer(mut self) -> Result<Response, ApiError> {
        if self.accepted == 0 && self.rejected_count == 0 {
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "the body is empty: send one JSON object a line, or an array of them",
            ));
        }
        self.status = "success";
        let mut status = StatusCode::OK;
        if self.accepted == 0 {
            self.status = "rejected";
            self.error = Some("none of the lines can be used; rejected says why");
            status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        Ok((status, axum::Json(self)).into_response())
    }
}

/// Checks a piece with the contract of its kind, flaws of the body included.
pub fn check<T>(piece: &Piece, decode: impl FnOnce(&[u8]) -> Result<T, Reject>) -> Result<T, Reject> {
    match piece.flaw {
        None => decode(&piece.bytes),
        Some(Flaw::TooLarge(length)) => {
            let detail = format!(
                "{length} bytes are more than the {} an event may have",
                strata_events::MAX_EVENT_BYTES
            );
            Err(Reject::new("too_large", detail))
        }
        Some(Flaw::Missing) => {
            Err(Reject::new("malformed_array", "an element is missing before this comma or bracket"))
        }
        Some(Flaw::Unclosed) => Err(Reject::new("malformed_array", "the body ends before the array does")),
        // What stands there may be an event all the same; then it counts, as it would in stg.
        Some(Flaw::Trailing) => decode(&piece.bytes)
            .map_err(|reason| Reject::new("malformed_array", format!("text follows the array ({reason})"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_rejections_is_bounded() {
        let mut summary = Summary::default();
        for line in 0..3000 {
            summary.reject(line, || Reject::new("malformed_json", "ы".repeat(10_000)));
        }
        assert_eq!((summary.rejected_count, summary.rejected.len()), (3000, MAX_LISTED));
        assert_eq!(summary.rejected[0].error.chars().count(), MAX_REASON_CHARS);
        assert_eq!(summary.into_answer().unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[test]
    fn a_body_without_events_is_a_bad_request() {
        assert_eq!(Summary::default().into_answer().unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
