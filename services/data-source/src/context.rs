//! What the requests work with.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use strata_pipeline::Producer;
use strata_service::http::ApiError;
use strata_service::trace::TraceParent;
use strata_service::{SchemaRegistry, Topics};
use strata_streams::StreamDef;
use tokio_util::sync::CancellationToken;

use crate::body::BodyReader;
use crate::publish::Publisher;
use crate::reference::ReferenceStore;
use crate::sent::Counters;

/// What every request needs.
pub struct Context {
    /// Kafka.
    pub producer: Producer,
    /// Who has agreed to what the events are.
    pub registry: SchemaRegistry,
    /// What was sent since the start.
    pub sent: Counters,
    /// Redis.
    pub reference: ReferenceStore,
    /// Cancelled when the service stops.
    pub stop: CancellationToken,
    /// How long a caller may take for the next part of a body.
    pub patience: Duration,
    /// Names of the topics in force.
    pub topics: Topics,
}

impl Context {
    /// Sends events of this kind for one request, which stands there in its trace.
    pub fn publisher(&self, stream: &StreamDef, at: Option<TraceParent>) -> Publisher {
        let topic = self.topics.name(stream.spec.source());
        Publisher::new(self.producer.clone(), topic, self.sent.of(stream), at)
    }

    /// Refuses events until a schema registry, where there is one, has agreed to what they are.
    ///
    /// **Errors**: 503 with what it waits for.
    pub fn check_schemas(&self) -> Result<(), ApiError> {
        let waiting = self.registry.waits_for();
        waiting.map_or(Ok(()), |waiting| {
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("{waiting}; try again")))
        })
    }

    /// Reads a request's body, as long as its caller sends.
    pub fn reader(&self, body: Body) -> BodyReader {
        BodyReader::new(body, self.stop.clone(), self.patience)
    }
}
