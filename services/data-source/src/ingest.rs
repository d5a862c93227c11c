//! `POST /ingest/{stream}`: real events, published as they are.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use strata_runtime::http::ApiError;

use crate::app::Context;
use crate::body::{self, Sink};
use crate::metrics;
use crate::publish::Publisher;
use crate::split::Piece;
use crate::stream::{self, Stream};
use crate::summary::{self, Summary};

/// Publishes the good events of the body and keeps the bad ones as dead letters; answers when Kafka
/// has acknowledged both.
pub async fn ingest(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let stream = stream::find(&name).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, format!("no such stream; there are: {}", stream::names()))
    })?;
    let publisher = Publisher::new(context.producer.clone(), context.topic(stream));
    let mut ingest = Ingest { stream, publisher, summary: Summary::default() };
    let mut outcome = body::feed(request.into_body(), &context.stop, &mut ingest).await;
    if !matches!(&outcome, Err(error) if error.status == StatusCode::SERVICE_UNAVAILABLE) {
        // What came before a break is published, so it is waited for too.
        outcome = ingest.publisher.finish().await.and(outcome);
    }
    let Summary { accepted, rejected_count, .. } = ingest.summary;
    metrics::count(stream.spec.name, "accepted", accepted);
    metrics::count(stream.spec.name, "rejected", rejected_count);
    match outcome {
        Ok(()) => ingest.summary.into_answer(),
        Err(ApiError { status, message }) => {
            let read = format!("{accepted} good and {rejected_count} bad events were read before");
            Err(ApiError::new(status, format!("{message}; {read}")))
        }
    }
}

/// One request.
struct Ingest {
    stream: &'static Stream,
    publisher: Publisher,
    summary: Summary,
}

impl Sink for Ingest {
    async fn take(&mut self, piece: Piece) -> Result<(), ApiError> {
        match summary::check(&piece, self.stream.accept) {
            Ok(accepted) => {
                self.publisher.send(Some(accepted.key), piece.bytes, accepted.headers).await?;
                self.summary.accepted += 1;
            }
            Err(reason) => {
                self.summary.reject(piece.number, &reason);
                let letter = dead_letter(self.stream, piece.bytes);
                if !letter.is_empty() {
                    self.publisher.send(None, letter, Vec::new()).await?;
                }
            }
        }
        Ok(())
    }
}

/// The bytes of a bad event as stg gets them: it must find them bad, too.
///
/// The head of a piece that was too large can be an event by itself, followed by white space; then
/// it loses its last byte.
fn dead_letter(stream: &Stream, mut bytes: Vec<u8>) -> Vec<u8> {
    if (stream.accept)(&bytes).is_ok() {
        let end = bytes.trim_ascii_end().len();
        bytes.truncate(end.saturating_sub(1));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_bad_for_stg_too() {
        let stream = stream::find("order").unwrap();
        let order = include_bytes!("../../../shared/events/examples/stg_topic.json");
        let mut padded = order.trim_ascii().to_vec();
        assert!((stream.accept)(&padded).is_ok());
        padded.extend_from_slice(b"   \t");
        assert!((stream.accept)(&dead_letter(stream, padded)).is_err());
        assert_eq!(dead_letter(stream, b"{}".to_vec()), b"{}");
        assert_eq!(dead_letter(stream, Vec::new()), b"");
    }
}
