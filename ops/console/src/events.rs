//! What the sampler sees, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse as _, Response, Sse};
use futures::{Stream, StreamExt as _, stream};
use serde::Serialize;
use strata_service::http::ApiError;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::latency::Series;
use super::sampler::{Frame, Sampler};

/// Latest seconds of latency sent with every frame; more than one, so that a late frame leaves no gap.
const TAIL: usize = 5;

/// Longest wait for a first look at the fleet.
const FIRST_FRAME: Duration = Duration::from_secs(10);

/// What a viewer follows, and until when.
#[derive(Clone)]
pub struct Live {
    /// Shared by all viewers.
    pub sampler: Arc<Sampler>,
    /// Ends every stream, so that a service that stops does not wait for its viewers.
    pub stop: CancellationToken,
}

/// Follows the fleet: `latency` with all that is kept, then `fleet`, `top` and `latency` once a second.
pub async fn stream(
    State(live): State<Live>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let frames = live.sampler.watch().map_err(|e| ApiError::unavailable("the fleet", &e))?;
    let past = event("latency", &live.sampler.history.all());
    // The browser comes back by itself; soon, because a restart takes a second.
    let first = stream::iter([Event::default().retry(Duration::from_secs(1)), past]);
    let sampler = Arc::clone(&live.sampler);
    let rest = changes(frames).flat_map(move |frame| {
        let latency: Vec<Series> = sampler.history.newest(TAIL);
        stream::iter([
            Event::default().event("fleet").data(&*frame.fleet),
            Event::default().event("top").data(&*frame.top),
            event("latency", &latency),
        ])
    });
    let events = first.chain(rest).take_until(live.stop.cancelled_owned()).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// What the same frames tell of persons, for those who may know.
pub async fn people(State(live): State<Live>) -> Result<Response, ApiError> {
    let mut frames = live.sampler.watch().map_err(|e| ApiError::unavailable("the fleet", &e))?;
    let seen = async {
        frames.wait_for(|frame| !frame.people.is_empty()).await.map(|frame| frame.people.to_string())
    };
    let seen = timeout(FIRST_FRAME, seen).await.map_err(|e| ApiError::unavailable("the fleet", &e))?;
    let people = seen.map_err(|e| ApiError::unavailable("the fleet", &e))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], people).into_response())
}

/// The frame there is, then every new one.
fn changes(frames: watch::Receiver<Frame>) -> impl Stream<Item = Frame> {
    let seen_before = frames.borrow().clone();
    let first = (!seen_before.fleet.is_empty()).then_some(seen_before);
    let rest = stream::unfold(frames, async |mut frames| {
        frames.changed().await.ok()?;
        let frame = frames.borrow_and_update().clone();
        Some((frame, frames))
    });
    stream::iter(first).chain(rest)
}

fn event(name: &str, value: &impl Serialize) -> Event {
    Event::default().event(name).json_data(value).unwrap_or_default()
}
