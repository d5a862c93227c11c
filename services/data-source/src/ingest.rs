//! `POST /ingest/{stream}`: real events, published as they are, or as what a log line says.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use strata_events::reject::REFUSED_HEADER;
use strata_events::{MAX_EVENT_BYTES, Schema};
use strata_service::http::{ApiError, Checked};
use strata_streams::source::{Accept, Accepted, Event};
use strata_streams::{find, names};

use crate::body::{Sink, TURN};
use crate::context::Context;
use crate::metrics;
use crate::publish::Publisher;
use crate::split::{Piece, Splitter};
use crate::summary::{self, Summary};

/// Publishes the good events of the body and keeps the bad ones as dead letters; answers when Kafka
/// has acknowledged both.
pub async fn ingest(
    State(context): State<Arc<Context>>,
    Checked(Path(name)): Checked<Path<String>>,
    request: Request,
) -> Result<Response, ApiError> {
    let stream = find(&name).map_err(|_| {
        ApiError::new(StatusCode::NOT_FOUND, format!("no such stream; there are: {}", names()))
    })?;
    context.check_schemas()?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let (accept, splitter) = match content_type.and_then(|content_type| stream.form(content_type)) {
        Some(form) => (form.accept, Splitter::lines(MAX_EVENT_BYTES)),
        None => (stream.accept, Splitter::new(MAX_EVENT_BYTES)),
    };
    let at = request.extensions().get().copied();
    let (publisher, schema) = (context.publisher(stream, at), stream.spec.hops[0].schema);
    let mut ingest = Ingest { accept, schema, publisher, summary: Summary::default() };
    let mut outcome = context.reader(request.into_body()).feed(splitter, &mut ingest).await;
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
    /// Checks a piece in the form that the body has.
    accept: Accept,
    /// What its events are.
    schema: Schema,
    publisher: Publisher,
    summary: Summary,
}

impl Sink for Ingest {
    async fn take(&mut self, piece: Piece) -> Result<(), ApiError> {
        match summary::check(&piece, self.accept) {
            Ok(Accepted::AsReceived { key, headers }) => {
                self.publisher.send(Some(key), piece.bytes, headers).await?;
                self.summary.accepted += 1;
            }
            Ok(Accepted::Made(events)) => self.send_made(events).await?,
            Err(reason) => {
                let refused = vec![(REFUSED_HEADER.into(), reason.to_header())];
                self.summary.reject(piece.number, || reason.located(self.schema, &piece.bytes));
                if !piece.bytes.is_empty() {
                    self.publisher.send(None, piece.bytes, refused).await?;
                }
            }
        }
        Ok(())
    }
}

impl Ingest {
    /// Sends the events of one line; other requests have their turn in between.
    async fn send_made(&mut self, events: Vec<Event>) -> Result<(), ApiError> {
        for (sent, event) in (1..).zip(events) {
            self.publisher.send(Some(event.key), event.payload, event.headers).await?;
            self.summary.accepted += 1;
            if sent % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}
