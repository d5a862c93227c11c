//! Spans of a batch: one of its own, linked with one in each trace that it has records of.

use opentelemetry::trace::{Link, Span as _, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;
use tracing::span::EnteredSpan;

use crate::Record;
use strata_service::trace::{TraceParent, tracer};

/// Traces that one batch shows up in; as many links as a span may have.
const MAX_TRACES: usize = 128;

/// The spans of a batch in hand.
pub struct BatchTrace {
    batch: Span,
    /// One in each trace.
    parts: Vec<Span>,
    trace_id: TraceId,
}

impl BatchTrace {
    /// Begins the spans; none when traces are off, or no record belongs to one that is recorded.
    pub fn start(stage: &'static str, topic: &str, records: &[Record]) -> Option<Self> {
        let tracer = tracer()?;
        let parents = parents(records);
        if parents.is_empty() {
            return None;
        }
        let about = |count: usize| {
            [
                KeyValue::new("messaging.system", "kafka"),
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("messaging.destination.name", topic.to_owned()),
                KeyValue::new("messaging.batch.message_count", i64::try_from(count).unwrap_or(i64::MAX)),
            ]
        };
        let links = parents.iter().map(|(parent, _)| Link::with_context(parent.context())).collect();
        let batch = tracer
            .span_builder(format!("batch {topic}"))
            .with_attributes(about(records.len()))
            .with_links(links)
            .start_with_context(tracer, &Context::new());
        let own = batch.span_context().clone();
        let part = |(parent, count): &(TraceParent, usize)| {
            tracer
                .span_builder(format!("{stage} {topic}"))
                .with_kind(SpanKind::Consumer)
                .with_attributes(about(*count))
                .with_links(vec![Link::with_context(own.clone())])
                .start_with_context(tracer, &Context::new().with_remote_span_context(parent.context()))
        };
        let parts: Vec<Span> = parents.iter().map(part).collect();
        // Where all records are of one trace, its own id says more than the batch's.
        let trace_id = match &parents[..] {
            [(only, _)] => only.trace_id(),
            _ => own.trace_id(),
        };
        Some(Self { batch, parts, trace_id })
    }

    /// Log lines of this thread carry the trace id as long as the guard lives.
    pub fn log(&self) -> EnteredSpan {
        tracing::error_span!("batch", trace_id = %self.trace_id).entered()
    }

    /// The batch is committed and its outputs are acknowledged, or it is repeated later.
    pub fn end(self, done: bool) {
        for mut span in self.parts.into_iter().chain([self.batch]) {
            if !done {
                span.set_status(Status::error("the batch is repeated"));
            }
            span.end();
        }
    }
}

/// The recorded traces of a batch and how many records each has, in the order of their first ones.
fn parents(records: &[Record]) -> Vec<(TraceParent, usize)> {
    let mut parents: Vec<(TraceParent, usize)> = Vec::new();
    for parent in records.iter().filter_map(|record| record.traceparent).filter(|at| at.is_sampled()) {
        // Records of one request mostly follow each other.
        match parents.iter().rposition(|(known, _)| *known == parent) {
            Some(place) => parents[place].1 += 1,
            None if parents.len() < MAX_TRACES => parents.push((parent, 1)),
            None => {}
        }
    }
    parents
}
