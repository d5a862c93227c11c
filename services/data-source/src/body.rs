//! Reading request bodies: in chunks, with patience for slow callers, but not for silent ones.

use std::future::Future;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::StatusCode;
use futures::StreamExt;
use strata_runtime::http::ApiError;
use tokio_util::sync::CancellationToken;

use crate::split::{Piece, Splitter};

/// A caller that sends nothing for this long is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Events between two chances for other requests: each may cost a few microseconds.
pub const TURN: u32 = 64;

/// What takes the pieces of a body.
pub trait Sink: Send {
    /// Takes one piece; an error ends the request.
    fn take(&mut self, piece: Piece) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// Reads a body of any length and hands its pieces to `sink`, one at a time.
pub async fn feed<S: Sink>(
    body: Body,
    mut splitter: Splitter,
    stop: &CancellationToken,
    sink: &mut S,
) -> Result<(), ApiError> {
    let mut chunks = body.into_data_stream();
    let mut turn = 0;
    while let Some(chunk) = next_chunk(&mut chunks, stop).await? {
        let mut input = &chunk[..];
        while let Some(piece) = splitter.next_piece(&mut input) {
            sink.take(piece).await?;
            turn += 1;
            if turn % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
    while let Some(piece) = splitter.finish() {
        sink.take(piece).await?;
    }
    Ok(())
}

/// Reads a body of at most `limit` bytes.
pub async fn read(body: Body, limit: usize, stop: &CancellationToken) -> Result<Vec<u8>, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(&mut chunks, stop).await? {
        if bytes.len() + chunk.len() > limit {
            let message = format!("the body may have {limit} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// 503: the service was told to stop while the request ran.
pub fn stopping() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the service is stopping; try again")
}

/// The next bytes; none at the end of the body.
async fn next_chunk(
    chunks: &mut BodyDataStream,
    stop: &CancellationToken,
) -> Result<Option<Bytes>, ApiError> {
    let next = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(stopping()),
        next = tokio::time::timeout(SILENCE, chunks.next()) => next,
    };
    match next {
        Ok(chunk) => {
            chunk.transpose().map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "the body broke off"))
        }
        Err(_) => {
            let message = format!("nothing arrived for {} s", SILENCE.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}
