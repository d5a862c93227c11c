//! `POST /push`: generates events and publishes them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strata_service::http::ApiError;
use strata_service::trace::TraceParent;
use strata_streams::source::{Event, GenerateError, Generator, Make, Snapshot, Start};
use tokio::sync::mpsc;

use crate::context::Context;
use crate::pace::Pace;
use crate::request::PushRequest;
use crate::{body, metrics};

/// Largest body of the request.
const MAX_BODY_BYTES: usize = 64 << 10;

/// Events that are handed over together.
const CHUNK: u32 = 200;

/// Chunks that are ready before they can be sent; with a chunk that bounds what is held in memory.
const CHUNKS_AHEAD: usize = 3;

/// Events that are ready, or why there are none.
type Chunk = Result<Vec<Event>, GenerateError>;

/// What a successful request is answered.
#[derive(Serialize)]
struct Pushed {
    status: &'static str,
    messages_pushed: u32,
}

/// Answers when Kafka has acknowledged every event. A caller that leaves ends the work: this future
/// is dropped then, and with it the channel that the generating thread writes to.
pub async fn push(State(context): State<Arc<Context>>, request: Request) -> Result<Response, ApiError> {
    context.check_schemas()?;
    let at = request.extensions().get().copied();
    let body = context.reader(request.into_body()).read(MAX_BODY_BYTES).await?;
    let wanted = PushRequest::parse(&body).map_err(|e| ApiError::new(StatusCode::BAD_REQUEST, e))?;
    tokio::select! {
        biased;
        () = context.stop.cancelled() => return Err(body::stopping()),
        done = publish(&context, wanted, at) => done?,
    }
    metrics::count(wanted.stream.spec.name, "pushed", u64::from(wanted.count));
    Ok(axum::Json(Pushed { status: "success", messages_pushed: wanted.count }).into_response())
}

/// Generates and sends until all of it is acknowledged.
async fn publish(context: &Context, wanted: PushRequest, at: Option<TraceParent>) -> Result<(), ApiError> {
    let mut chunks = generate(context, wanted).await?;
    let mut publisher = context.publisher(wanted.stream, at);
    let mut pace = wanted.gap.map(Pace::new);
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk.map_err(|e| {
            tracing::error!(error = %e, "events cannot be generated");
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the reference data do not fit: {e}"))
        })?;
        for event in chunk {
            if let Some(pace) = &mut pace {
                pace.wait().await;
            }
            publisher.send(Some(event.key), event.payload, event.headers).await?;
        }
        // Sending alone never waits while there is room; other requests have their turn here.
        tokio::task::yield_now().await;
    }
    publisher.finish().await
}

/// Starts a thread that generates ahead of the sending, as far as the channel has room.
async fn generate(context: &Context, wanted: PushRequest) -> Result<mpsc::Receiver<Chunk>, ApiError> {
    let generator = match wanted.stream.make {
        Make::Alone(make) => make(start(wanted, async || Ok(0)).await?),
        Make::FromReference(make) => {
            let (reference, start) = from_reference(context, wanted).await?;
            make(reference, start)
        }
    };
    // A paced request generates just ahead of its pace, so that "now" stays true.
    let chunk = if wanted.gap.is_some() { 1 } else { CHUNK };
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || run(generator, wanted.count, chunk, &sender));
    Ok(receiver)
}

/// The reference data, and ids of its own where the request has no seed.
async fn from_reference(context: &Context, wanted: PushRequest) -> Result<(Arc<Snapshot>, Start), ApiError> {
    let unavailable = |e: redis::RedisError| ApiError::unavailable("Redis", &e);
    let can_repeat = wanted.seed.is_some() || wanted.id.is_some();
    let reference = context.reference.snapshot(can_repeat).await.map_err(unavailable)?;
    let reference = reference.ok_or_else(|| {
        let message = "there are no reference data: PUT /reference/users and /reference/restaurants first";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })?;
    let take_ids = async || {
        let taken = context.reference.take_ids(wanted.stream.spec.name, wanted.count, wanted.id).await;
        taken.map_err(unavailable)
    };
    Ok((reference, start(wanted, take_ids).await?))
}

/// Where the events of a request start; ids of its own are taken where a seed does not say them.
async fn start(
    wanted: PushRequest,
    take_ids: impl AsyncFnOnce() -> Result<i64, ApiError>,
) -> Result<Start, ApiError> {
    Ok(match (wanted.seed, wanted.id) {
        (Some(seed), _) => Start::Seed(seed),
        (None, Some(id)) => {
            Start::Again { first_id: take_ids().await?, id, gap: wanted.gap.unwrap_or_default() }
        }
        (None, None) => Start::Fresh { first_id: take_ids().await? },
    })
}

/// Generates `count` events, or until nobody wants them any more.
fn run(mut generator: Box<dyn Generator>, count: u32, chunk: u32, sender: &mpsc::Sender<Chunk>) {
    let mut left = count;
    while left > 0 {
        let size = chunk.min(left);
        left -= size;
        let events: Chunk = (0..size).map(|_| generator.next_event()).collect();
        let failed = events.is_err();
        if sender.blocking_send(events).is_err() || failed {
            return;
        }
    }
}
