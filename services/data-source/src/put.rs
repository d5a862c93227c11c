//! `PUT /reference/users` and `/reference/restaurants`: the data that orders are enriched from.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use strata_events::MAX_EVENT_BYTES;
use strata_service::http::ApiError;

use crate::body::Sink;
use crate::context::Context;
use crate::reference::{ReferenceStore, Referenced};
use crate::split::{Piece, Splitter};
use crate::summary::{self, Summary};

/// Entries that are written together.
const BATCH: usize = 500;

/// Bytes that are written together.
const BATCH_BYTES: usize = 1 << 20;

/// Writes the good entries of the body into Redis; bad ones are only reported.
pub async fn put<R: Referenced>(
    State(context): State<Arc<Context>>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut put = Put::<R> {
        store: context.reference.clone(),
        batch: Vec::new(),
        bytes: 0,
        summary: Summary::default(),
    };
    let splitter = Splitter::new(MAX_EVENT_BYTES);
    let outcome = match context.reader(request.into_body()).feed(splitter, &mut put).await {
        Ok(()) => put.write().await,
        failed => failed,
    };
    match outcome {
        Ok(()) => put.summary.into_answer(),
        Err(ApiError { status, message }) => {
            let written = format!("{} entries were written before", put.summary.accepted);
            Err(ApiError::new(status, format!("{message}; {written}")))
        }
    }
}

/// One request.
struct Put<R> {
    store: ReferenceStore,
    batch: Vec<(R, String)>,
    bytes: usize,
    summary: Summary,
}

impl<R: Referenced> Put<R> {
    /// Writes what is in hand.
    async fn write(&mut self) -> Result<(), ApiError> {
        self.store.upsert(&self.batch).await.map_err(|e| ApiError::unavailable("Redis", &e))?;
        self.summary.accepted += self.batch.len() as u64;
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }
}

impl<R: Referenced> Sink for Put<R> {
    async fn take(&mut self, piece: Piece) -> Result<(), ApiError> {
        let checked = summary::check(&piece, |line| R::decode(line))
            .and_then(|item| Ok((serde_json::to_string(&item).map_err(unwritable)?, item)));
        match checked {
            Ok((json, item)) => {
                self.bytes += json.len();
                self.batch.push((item, json));
            }
            Err(reason) => self.summary.reject(piece.number, || reason),
        }
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.write().await?;
        }
        Ok(())
    }
}

/// An entry without a JSON form; no such value passes its contract.
fn unwritable(error: serde_json::Error) -> strata_events::Reject {
    strata_events::Reject::new("invalid_structure", error.to_string())
}
