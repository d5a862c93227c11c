//! The page's push: passed on to data-source, with the viewer's own key.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use strata_observe::services::DATA_SOURCE;
use strata_runtime::http::ApiError;

/// The header that data-source asks for where the fleet has a key.
const KEY: &str = "APIKEY";

/// Where pushes go.
#[derive(Clone)]
pub struct Forward {
    http: reqwest::Client,
    url: String,
}

impl Forward {
    /// Reads where data-source is.
    pub fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(2)).build()?;
        Ok(Self { http, url: format!("{}/push", DATA_SOURCE.url()?) })
    }
}

/// Passes a push on and answers what data-source answers; it alone decides who may and what fits.
pub async fn forward(
    State(forward): State<Forward>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    if !kind.starts_with(b"application/json") {
        let message = "the body must be JSON, with content-type application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let mut request =
        forward.http.post(&forward.url).header(header::CONTENT_TYPE, "application/json").body(body);
    if let Some(key) = headers.get(KEY) {
        request = request.header(KEY, key);
    }
    let unreachable = |e: reqwest::Error| ApiError::unavailable("data-source", &e);
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(unreachable)?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}
