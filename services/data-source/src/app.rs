//! Puts the service together: routes, and the two things that are done at start.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{post, put};
use strata_events::stream::dlq_topic;
use strata_events::{Restaurant, User};
use strata_pipeline::Producer;
use strata_pipeline::admin::ensure_topics;
use strata_service::config::KafkaSettings;
use strata_service::http::require_api_key;
use strata_service::{App, Assembled, Client};
use strata_streams::STREAMS;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::put::put as put_reference;
use crate::reference::ReferenceStore;
use crate::sent::Counters;
use crate::{ingest, metrics, push};

/// Longest pause between two attempts to create the topics.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Builds the service; nothing waits for Kafka or Redis here.
pub fn build(app: App) -> impl Future<Output = anyhow::Result<Assembled>> {
    ready(assemble(app))
}

fn assemble(app: App) -> anyhow::Result<Assembled> {
    metrics::describe();
    let App { settings, http_redis, registry, shutdown, .. } = app;
    let producer = Producer::new(&settings.kafka)?.naming(registry.clone());
    let client: Arc<dyn Client> = Arc::new(producer.clone());
    let sent = Counters::default();
    let (prefix, instance) = (settings.redis_prefix.clone(), settings.instance());
    tokio::spawn(sent.clone().announce(http_redis.clone(), prefix, instance, shutdown.clone()));
    let reference = ReferenceStore::new(http_redis, &settings.redis_prefix);
    tokio::spawn(reference.clone().fill_until_done(shutdown.clone()));
    let topics = STREAMS.iter().map(|stream| settings.topics.name(stream.spec.source()));
    let topics = topics.flat_map(|topic| [topic.to_owned(), dlq_topic(topic)]).collect();
    tokio::spawn(create_topics(settings.kafka, topics, shutdown.clone()));
    let patience = settings.http_limits.read_timeout;
    let context =
        Context { producer, registry, sent, reference, stop: shutdown, patience, topics: settings.topics };
    let routes = Router::new()
        .route("/push", post(push::push))
        .route("/ingest/{stream}", post(ingest::ingest))
        .route("/reference/users", put(put_reference::<User>))
        .route("/reference/restaurants", put(put_reference::<Restaurant>))
        .route_layer(from_fn_with_state(settings.api_key, require_api_key))
        .with_state(Arc::new(context));
    Ok(Assembled { routes, clients: vec![client], needs_redis: true, ..Assembled::default() })
}

/// Creates the topics, trying until Kafka answers.
async fn create_topics(settings: KafkaSettings, topics: Vec<String>, stop: CancellationToken) {
    let mut pause = Duration::from_millis(250);
    while let Err(e) = ensure_topics(&settings, &topics).await {
        tracing::warn!(error = %e, "topics cannot be created; trying again");
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
        }
    }
}
