//! `GET /schemas/{topic}`: what the messages of a topic are, as JSON Schema. Every service knows all topics, so whoever
//! asks need not know who writes one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use strata_events::Schema;
use strata_streams::STREAMS;

use crate::config::Topics;
use crate::http::{ApiError, Checked};

/// The schema of every topic, by the name in force.
pub type Schemas = BTreeMap<String, Schema>;

/// Those of all streams.
pub fn of(topics: &Topics) -> Schemas {
    let hops = STREAMS.iter().flat_map(|stream| stream.spec.hops);
    hops.map(|hop| (topics.name(hop.topic).to_owned(), hop.schema)).collect()
}

/// The route that serves them.
pub fn routes(schemas: Schemas) -> Router {
    Router::new().route("/schemas/{topic}", get(schema)).with_state(Arc::new(schemas))
}

async fn schema(
    State(schemas): State<Arc<Schemas>>,
    Checked(Path(topic)): Checked<Path<String>>,
) -> Result<Response, ApiError> {
    let Some(schema) = schemas.get(&topic) else {
        let topics = schemas.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("no such topic; there are: {topics}")));
    };
    Ok(([(header::CONTENT_TYPE, "application/schema+json")], schema.text()).into_response())
}
