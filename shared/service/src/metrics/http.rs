//! Requests by route, method and status, and how long they took.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use metrics::{Unit, describe_counter, describe_histogram};

/// Answered requests by method, route and status.
pub const REQUESTS: &str = "strata_http_requests_total";
/// Seconds until a request was answered, by method and route.
pub const REQUEST_SECONDS: &str = "strata_http_request_duration_seconds";

/// Route of a request that fits none.
const NO_ROUTE: &str = "none";

pub(super) fn describe() {
    describe_counter!(REQUESTS, "Answered requests by method, route and status");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "Time until the answer, by method and route");
}

/// Middleware that measures every request; labels take few values, whatever callers send.
pub async fn measure(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = known(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or(NO_ROUTE.to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    metrics::counter!(REQUESTS, "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!(REQUEST_SECONDS, "method" => method, "route" => route)
        .record(started.elapsed().as_secs_f64());
    response
}

/// The method as a label; callers may invent their own.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
