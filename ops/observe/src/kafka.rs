//! What Kafka knows of a stage: where its topics begin and end, and how old a record is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::Utc;
use rdkafka::Message as _;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use strata_pipeline::connection;
use strata_service::config::KafkaSettings;

/// First offset that Kafka holds, and the one after its last, by partition.
pub type Edges = BTreeMap<i32, (i64, i64)>;

/// A record's place: topic, partition and offset.
pub type Place = (String, i32, i64);

/// Partitions of a topic are looked up again after this: topics grow seldom.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// Pause before a question that failed is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Asks about topics. Every call blocks, no longer than it is allowed to.
pub struct Topics {
    consumer: BaseConsumer,
    partitions: BTreeMap<String, (Instant, Vec<i32>)>,
}

impl Topics {
    /// Makes a client that is not connected yet.
    pub fn new(settings: &KafkaSettings) -> KafkaResult<Self> {
        Ok(Self { consumer: client(settings).create()?, partitions: BTreeMap::new() })
    }

    /// Where topics begin and end; a topic that does not exist has no partitions.
    pub fn edges(&mut self, topics: &[&str], within: Duration) -> KafkaResult<BTreeMap<String, Edges>> {
        let deadline = Instant::now() + within;
        loop {
            match self.try_edges(topics, deadline) {
                // A topic that was just made has no leader for a moment.
                Err(e) if Instant::now() + RETRY_AFTER < deadline => {
                    tracing::debug!(error = %e, "asking kafka again");
                    self.partitions.clear();
                    std::thread::sleep(RETRY_AFTER);
                }
                outcome => return outcome,
            }
        }
    }

    fn try_edges(&mut self, topics: &[&str], deadline: Instant) -> KafkaResult<BTreeMap<String, Edges>> {
        let mut edges = BTreeMap::new();
        for topic in topics {
            let partitions = self.partitions_of(topic, left(deadline))?;
            edges.insert((*topic).to_owned(), partitions.into_iter().map(|p| (p, (0, 0))).collect());
        }
        // One question a broker for all partitions, where asking for watermarks would be one a partition.
        for (bound, of) in [(Offset::Beginning, first as Bound), (Offset::End, last)] {
            let mut list = TopicPartitionList::new();
            for (topic, partitions) in &edges {
                let partitions: &Edges = partitions;
                for partition in partitions.keys() {
                    list.add_partition_offset(topic, *partition, bound)?;
                }
            }
            if list.count() == 0 {
                break;
            }
            for element in self.consumer.offsets_for_times(list, left(deadline))?.elements() {
                element.error()?;
                let edge =
                    edges.get_mut(element.topic()).and_then(|edges| edges.get_mut(&element.partition()));
                if let (Some(edge), Offset::Offset(offset)) = (edge, element.offset()) {
                    *of(edge) = offset;
                }
            }
        }
        Ok(edges)
    }

    fn partitions_of(&mut self, topic: &str, within: Duration) -> KafkaResult<Vec<i32>> {
        if let Some((asked, partitions)) = self.partitions.get(topic)
            && asked.elapsed() < KNOWN_FOR
        {
            return Ok(partitions.clone());
        }
        let metadata = self.consumer.fetch_metadata(Some(topic), within)?;
        let found = metadata.topics().first().map(|topic| topic.partitions()).unwrap_or_default();
        let found: Vec<i32> = found.iter().map(|partition| partition.id()).collect();
        if !found.is_empty() {
            self.partitions.insert(topic.to_owned(), (Instant::now(), found.clone()));
        }
        Ok(found)
    }
}

/// One of the two edges of a partition.
type Bound = fn(&mut (i64, i64)) -> &mut i64;

fn first(edge: &mut (i64, i64)) -> &mut i64 {
    &mut edge.0
}

fn last(edge: &mut (i64, i64)) -> &mut i64 {
    &mut edge.1
}

/// Reads the timestamps of single records.
pub struct Timestamps {
    consumer: BaseConsumer,
    /// Records read before: a stage that stands still is asked for the same one every time.
    known: BTreeMap<Place, i64>,
}

impl Timestamps {
    /// Makes a client that is not connected yet.
    pub fn new(settings: &KafkaSettings) -> KafkaResult<Self> {
        let consumer = client(settings)
            .set("enable.auto.commit", "false")
            // A record that retention has deleted: the next one is the oldest there is.
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "10")
            .set("fetch.queue.backoff.ms", "5")
            // One record of each partition is wanted, not the megabytes behind it.
            .set("queued.min.messages", "1")
            .set("fetch.message.max.bytes", "65536")
            .create()?;
        Ok(Self { consumer, known: BTreeMap::new() })
    }

    /// Unix milliseconds of the records at these places; those not read in time are left out.
    pub fn read(&mut self, places: Vec<Place>, within: Duration) -> KafkaResult<BTreeMap<Place, i64>> {
        let deadline = Instant::now() + within;
        self.known.retain(|place, _| places.contains(place));
        let mut open: BTreeMap<(String, i32), i64> = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        for (topic, partition, offset) in places.iter().filter(|place| !self.known.contains_key(place)) {
            open.insert((topic.clone(), *partition), *offset);
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        if open.is_empty() {
            return Ok(self.known.clone());
        }
        self.consumer.assign(&list)?;
        while !open.is_empty() && Instant::now() < deadline {
            let Some(Ok(message)) = self.consumer.poll(left(deadline)) else { continue };
            let place = (message.topic().to_owned(), message.partition());
            let Some(&wanted) = open.get(&place).filter(|wanted| message.offset() >= **wanted) else {
                continue;
            };
            let (topic, partition) = place.clone();
            // A clock that is ahead must not make a record younger than new, nor keep it so while it waits.
            let written = message.timestamp().to_millis().unwrap_or_default();
            let written = written.min(Utc::now().timestamp_millis());
            self.known.insert((topic, partition, wanted), written);
            open.remove(&place);
        }
        // Nothing more is fetched until the next question.
        self.consumer.unassign()?;
        Ok(self.known.clone())
    }
}

/// A client of the tool.
pub(crate) fn client(settings: &KafkaSettings) -> ClientConfig {
    let mut config = connection::client(settings);
    config.set("group.id", format!("{}strata", settings.group_prefix));
    config
}

/// Time left, but never nothing: zero would mean no limit to some calls.
pub(crate) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
