//! The header `traceparent`: where something stands in a trace.

use std::fmt;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Name of the header, in HTTP and in Kafka.
pub const HEADER: &str = "traceparent";

/// The bit of the flags that says that the trace is recorded.
const SAMPLED: u8 = 1;

/// A span of a trace, as its children name it.
///
/// **Source**: W3C Trace Context, version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    /// True when the trace is recorded.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Names the trace.
    pub fn trace_id(self) -> TraceId {
        TraceId::from(self.trace)
    }

    /// A span of this process.
    pub fn of(context: &SpanContext) -> Self {
        Self {
            trace: u128::from_be_bytes(context.trace_id().to_bytes()),
            span: u64::from_be_bytes(context.span_id().to_bytes()),
            flags: context.trace_flags().to_u8(),
        }
    }

    /// The form that the SDK takes.
    pub fn context(self) -> SpanContext {
        let flags = TraceFlags::new(self.flags);
        SpanContext::new(self.trace_id(), SpanId::from(self.span), flags, true, TraceState::NONE)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// The header does not have the form `00-<trace id>-<span id>-<flags>`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent has the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")]
pub struct InvalidTraceParent;

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let hex = |part: Option<&str>, digits: usize| {
            let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            let part = part.filter(|part| part.len() == digits && part.bytes().all(lower));
            part.and_then(|part| u128::from_str_radix(part, 16).ok()).ok_or(InvalidTraceParent)
        };
        let mut parts = text.split('-');
        if parts.next() != Some("00") {
            return Err(InvalidTraceParent);
        }
        let (trace, span, flags) = (hex(parts.next(), 32)?, hex(parts.next(), 16)?, hex(parts.next(), 2)?);
        if parts.next().is_some() || trace == 0 || span == 0 {
            return Err(InvalidTraceParent);
        }
        // Both fit: their digits were counted.
        let span = u64::try_from(span).map_err(|_| InvalidTraceParent)?;
        let flags = u8::try_from(flags).map_err(|_| InvalidTraceParent)?;
        Ok(Self { trace, span, flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_survives_its_text_and_the_sdk() {
        for text in [EXAMPLE, "00-00000000000000000000000000000001-0000000000000001-00"] {
            let parent: TraceParent = text.parse().expect("valid");
            assert_eq!(parent.to_string(), text);
            assert_eq!(TraceParent::of(&parent.context()), parent);
            assert_eq!(parent.is_sampled(), text.ends_with("01"));
        }
    }

    #[test]
    fn text_of_another_form_is_refused() {
        let upper = EXAMPLE.to_uppercase();
        let (long, signed) = (format!("{EXAMPLE}-00"), EXAMPLE.replace("4bf9", "+bf9"));
        let (no_trace, no_span) = (
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        );
        let future = EXAMPLE.replacen("00", "01", 1);
        for text in ["", "00", &EXAMPLE[..54], &upper, &long, &signed, no_trace, no_span, &future, "00-ы-1-1"]
        {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text}");
        }
    }
}
