//! Records between two offsets of each partition, read without a group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use strata_pipeline::{Record, connection};
use strata_service::config::KafkaSettings;

/// A broker that sends nothing for this long does not work.
const SILENCE: Duration = Duration::from_secs(20);

/// First offset and the one after the last, by partition.
pub type Ranges = BTreeMap<i32, (i64, i64)>;

/// Reads the records of `ranges`, each partition in order, and gives them to `each`.
///
/// **Errors**: when Kafka does not hold the first offset any more, or falls silent.
pub fn read_ranges(
    settings: &KafkaSettings,
    topic: &str,
    ranges: &Ranges,
    mut each: impl FnMut(Record) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut open: BTreeSet<i32> = BTreeSet::new();
    let mut list = TopicPartitionList::new();
    for (&partition, &(from, to)) in ranges {
        if from < to {
            open.insert(partition);
            list.add_partition_offset(topic, partition, Offset::Offset(from))?;
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let consumer: BaseConsumer = connection::client(settings)
        .set("group.id", format!("{}strata-reader", settings.group_prefix))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "20")
        .set("fetch.queue.backoff.ms", "5")
        // Kafka is quicker than whoever looks at the records: what waits would be memory.
        .set("queued.max.messages.kbytes", "16384")
        .create()?;
    consumer.assign(&list)?;
    let (name, mut heard): (Arc<str>, _) = (topic.into(), Instant::now());
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            None => anyhow::ensure!(heard.elapsed() < SILENCE, "Kafka sends nothing of {topic}"),
            // The end of the partition: what lies before it was read.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(e)) => {
                let lost = heard.elapsed() > SILENCE || e.rdkafka_error_code().is_some_and(is_final);
                if lost {
                    return Err(e).with_context(|| format!("{topic} cannot be read"));
                }
            }
            Some(Ok(message)) => {
                heard = Instant::now();
                let record = Record::copy(&name, &message);
                let end = ranges.get(&record.partition).map_or(0, |(_, to)| *to);
                if record.offset + 1 >= end {
                    open.remove(&record.partition);
                }
                if record.offset < end {
                    each(record)?;
                }
            }
        }
    }
    Ok(())
}

/// True for errors that no waiting mends.
fn is_final(code: rdkafka::error::RDKafkaErrorCode) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::AutoOffsetReset
            | Code::OffsetOutOfRange
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
    )
}
