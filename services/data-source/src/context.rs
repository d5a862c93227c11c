//! What the requests work with.

use std::time::Duration;

use axum::body::Body;
use strata_pipeline::Producer;
use strata_service::Topics;
use strata_streams::StreamDef;
use tokio_util::sync::CancellationToken;

use crate::body::BodyReader;
use crate::reference::ReferenceStore;

/// What every request needs.
pub struct Context {
    /// Kafka.
    pub producer: Producer,
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
    /// Where events of this kind go.
    pub fn topic(&self, stream: &StreamDef) -> String {
        self.topics.name(stream.spec.source()).to_owned()
    }

    /// Reads a request's body, as long as its caller sends.
    pub fn reader(&self, body: Body) -> BodyReader {
        BodyReader::new(body, self.stop.clone(), self.patience)
    }
}
