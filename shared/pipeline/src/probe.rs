//! Questions to Kafka by a client that is made for them: what it is told does not depend on the state of ours.
//! Each blocks the thread.

use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::connection;
use strata_service::config::KafkaSettings;

/// Longest wait for an answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Longest wait for a first record.
const READS_WITHIN: Duration = Duration::from_secs(10);

/// Whether Kafka answers and names a broker.
pub fn answers(settings: &KafkaSettings) -> bool {
    let asked = client(settings).and_then(|client| client.fetch_metadata(None, ANSWERS_WITHIN));
    asked.is_ok_and(|metadata| !metadata.brokers().is_empty())
}

/// The offset of the first record of a partition at or after `from`, or of its end where there is none; none where
/// Kafka does not answer.
pub fn first_record(settings: &KafkaSettings, topic: &str, partition: i32, from: i64) -> Option<i64> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(from)).ok()?;
    let client = client(settings).ok()?;
    client.assign(&list).ok()?;
    let deadline = Instant::now() + READS_WITHIN;
    while Instant::now() < deadline {
        match client.poll(Duration::from_millis(200)) {
            Some(Ok(record)) => return Some(record.offset()),
            Some(Err(KafkaError::PartitionEOF(_))) => {
                return client.fetch_watermarks(topic, partition, ANSWERS_WITHIN).ok().map(|(_, high)| high);
            }
            Some(Err(error)) => tracing::debug!(%error, "kafka does not answer a new client yet"),
            None => {}
        }
    }
    None
}

fn client(settings: &KafkaSettings) -> Result<BaseConsumer, KafkaError> {
    connection::client(settings)
        // Wanted by the client, though it joins no group.
        .set("group.id", format!("{}strata-probe", settings.group_prefix))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "20")
        .create()
}
