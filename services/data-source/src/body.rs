//! Reading request bodies: in chunks, with patience for slow callers, but not for those that hardly send.

use std::future::Future;
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::StatusCode;
use futures::StreamExt;
use strata_service::http::ApiError;
use tokio_util::sync::CancellationToken;

use crate::split::{Piece, Splitter};

/// A caller that sends less than this within its patience is given up: a line now and then is enough.
const FEW_BYTES: usize = 1024;

/// Events between two chances for other requests: each may cost a few microseconds.
pub const TURN: u32 = 64;

/// What takes the pieces of a body.
pub trait Sink: Send {
    /// Takes one piece; an error ends the request.
    fn take(&mut self, piece: Piece) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// 503: the service was told to stop while the request ran.
pub fn stopping() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the service is stopping; try again")
}

/// A body that is being read.
pub struct BodyReader {
    chunks: BodyDataStream,
    stop: CancellationToken,
    /// How long the service waits for [`FEW_BYTES`].
    patience: Duration,
    /// How long it has waited since it had them last; its own work does not count.
    waited: Duration,
    /// What has arrived since.
    arrived: usize,
}

impl BodyReader {
    /// Starts to read.
    pub fn new(body: Body, stop: CancellationToken, patience: Duration) -> Self {
        Self { chunks: body.into_data_stream(), stop, patience, waited: Duration::ZERO, arrived: 0 }
    }

    /// Reads a body of any length and hands its pieces to `sink`, one at a time.
    pub async fn feed<S: Sink>(mut self, mut splitter: Splitter, sink: &mut S) -> Result<(), ApiError> {
        let mut turn = 0;
        while let Some(chunk) = self.next_chunk().await? {
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
    pub async fn read(mut self, limit: usize) -> Result<Vec<u8>, ApiError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next_chunk().await? {
            if bytes.len() + chunk.len() > limit {
                let message = format!("the body may have {limit} bytes");
                return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The next bytes; none at the end of the body.
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        let (since, left) = (Instant::now(), self.patience.saturating_sub(self.waited));
        let next = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(stopping()),
            next = tokio::time::timeout(left, self.chunks.next()) => next,
        };
        let Ok(next) = next else {
            let message = format!("less than {FEW_BYTES} bytes arrived within {} s", self.patience.as_secs());
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message));
        };
        let next =
            next.transpose().map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "the body broke off"))?;
        self.waited += since.elapsed();
        self.arrived += next.as_ref().map_or(0, Bytes::len);
        if self.arrived >= FEW_BYTES {
            (self.waited, self.arrived) = (Duration::ZERO, 0);
        }
        Ok(next)
    }
}
