//! How errors are answered.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::PgPool;

use crate::pg;

/// An error answer: a status and `{"error": "<what and why>"}`.
#[derive(Debug)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// What is wrong and what to do, without a word of a database.
    pub message: String,
}

impl ApiError {
    /// Builds an error answer.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// 503: a dependency is down; the cause goes to the log, not to the caller.
    pub fn unavailable(dependency: &str, cause: &dyn std::fmt::Display) -> Self {
        tracing::warn!(error = %cause, dependency, "request failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("{dependency} is not reachable now; try again"))
    }

    /// 503: Postgres does not serve a request of this pool.
    pub fn postgres_unavailable(pool: &PgPool, cause: &sqlx::Error) -> Self {
        match pg::exhausted(pool, cause) {
            Some(why) => Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("{why}; try again")),
            None => Self::unavailable("postgres", cause),
        }
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, axum::Json(ErrorBody { error: &self.message })).into_response()
    }
}

/// An extractor whose refusals are answered as every error is.
#[derive(Debug, Clone, Copy)]
pub struct Checked<E>(pub E);

impl<S, E> FromRequestParts<S> for Checked<E>
where
    S: Send + Sync,
    E: FromRequestParts<S>,
    E::Rejection: std::error::Error,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        E::from_request_parts(parts, state).await.map(Self).map_err(|rejection| {
            let message = rejection.to_string();
            ApiError::new(rejection.into_response().status(), message)
        })
    }
}
