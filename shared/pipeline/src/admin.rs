//! Topics: created at start where they are missing.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::connection;
use crate::record::MAX_RECORD_BYTES;
use strata_service::config::KafkaSettings;

/// Creates the topics that do not exist yet; those that do are left as they are, see `topic_check`.
pub async fn ensure_topics(settings: &KafkaSettings, names: &[String]) -> Result<(), KafkaError> {
    let admin = client(settings)?;
    let max_bytes = MAX_RECORD_BYTES.to_string();
    let min_insync = min_insync_replicas(settings.replication).to_string();
    let topics: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            NewTopic::new(name, settings.partitions, TopicReplication::Fixed(settings.replication))
                .set("max.message.bytes", &max_bytes)
                .set("min.insync.replicas", &min_insync)
        })
        .collect();
    // Short, so that a service told to stop while Kafka is down does not wait for the default minute.
    let limit = Some(Duration::from_secs(5));
    let options = AdminOptions::new().request_timeout(limit).operation_timeout(limit);
    for result in admin.create_topics(&topics, &options).await? {
        match result {
            Ok(name) => tracing::info!(kafka.topic = name, "topic created"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                tracing::warn!(kafka.topic = name, error = %code, "topic cannot be created");
                return Err(KafkaError::AdminOp(code));
            }
        }
    }
    Ok(())
}

/// Replicas that must hold a record before it is acknowledged: one broker may be away, and none lost with it.
pub(crate) fn min_insync_replicas(replication: i32) -> i32 {
    (replication - 1).clamp(1, 2)
}

pub(crate) fn client(settings: &KafkaSettings) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
    connection::client(settings).create()
}
