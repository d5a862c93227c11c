//! What the page asks of services: passed on, with the viewer's own key. The service alone decides who may.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::{RequestBuilder, Url};
use strata_observe::services::{CDM, DATA_SOURCE};
use strata_service::http::{ApiError, Checked};

/// The header that services ask for where the fleet has a key.
const KEY: &str = "APIKEY";

/// Rows of a user's counters that the page shows.
const ROWS: &str = "14";

/// Longest wait for an answer to a question; a push may take longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Where requests go.
#[derive(Clone)]
pub struct Forward {
    http: reqwest::Client,
    push: String,
    users: Url,
}

impl Forward {
    /// Reads where the services are.
    pub fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(2)).build()?;
        let push = format!("{}/push", DATA_SOURCE.url()?);
        Ok(Self { http, push, users: Url::parse(&format!("{}/counters/users", CDM.url()?))? })
    }
}

/// Passes a push on and answers what data-source answers.
pub async fn push(
    State(forward): State<Forward>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    if !kind.starts_with(b"application/json") {
        let message = "the body must be JSON, with content-type application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let request = forward.http.post(&forward.push).header(header::CONTENT_TYPE, "application/json");
    send(request.body(body), &headers, "data-source").await
}

/// A user's counters by product, as cdm answers.
pub async fn products(
    State(forward): State<Forward>,
    Checked(Path(user)): Checked<Path<String>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    counters(&forward, &user, "products", &headers).await
}

/// A user's counters by category, as cdm answers.
pub async fn categories(
    State(forward): State<Forward>,
    Checked(Path(user)): Checked<Path<String>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    counters(&forward, &user, "categories", &headers).await
}

async fn counters(
    forward: &Forward,
    user: &str,
    counted: &str,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let mut url = forward.users.clone();
    // A URL with a host always has segments.
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend([user, counted]);
    }
    url.query_pairs_mut().append_pair("limit", ROWS);
    send(forward.http.get(url).timeout(ANSWER_WITHIN), headers, "cdm").await
}

async fn send(
    mut request: RequestBuilder,
    headers: &HeaderMap,
    service: &'static str,
) -> Result<Response, ApiError> {
    if let Some(key) = headers.get(KEY) {
        request = request.header(KEY, key);
    }
    let unreachable = |e: reqwest::Error| ApiError::unavailable(service, &e);
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(unreachable)?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}
