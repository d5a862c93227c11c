//! A span around each request of a service's own routes.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use tracing::Instrument as _;

use super::{HEADER, TRACER, TraceParent};

/// Middleware: the request's place in its trace goes to the handler as an extension, for what it publishes.
///
/// Where no spans are made here, that is the caller's own place, if it gave one.
pub async fn follow(mut request: Request, next: Next) -> Response {
    let caller = request.headers().get(HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(tracer) = TRACER.get() else { return pass(caller, request, next).await };
    let method = request.method().to_string();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_default();
    let parent = caller.map_or_else(Context::new, |caller: TraceParent| {
        Context::new().with_remote_span_context(caller.context())
    });
    let mut span = tracer
        .span_builder(format!("{method} {route}"))
        .with_kind(SpanKind::Server)
        .with_attributes([KeyValue::new("http.request.method", method), KeyValue::new("http.route", route)])
        .start_with_context(tracer, &parent);
    let own = TraceParent::of(span.span_context());
    request.headers_mut().remove(HEADER);
    // A trace that nobody records is passed on only where the caller asked for one.
    let response = pass((own.is_sampled() || caller.is_some()).then_some(own), request, next).await;
    let status = response.status();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_status(Status::error(status.to_string()));
    }
    span.end();
    response
}

/// Runs the handler; log lines on the way carry the trace id.
async fn pass(at: Option<TraceParent>, mut request: Request, next: Next) -> Response {
    let Some(at) = at else { return next.run(request).await };
    request.extensions_mut().insert(at);
    // At the level of errors, so that no filter of levels takes the id from a line that is shown.
    next.run(request).instrument(tracing::error_span!("request", trace_id = %at.trace_id())).await
}
