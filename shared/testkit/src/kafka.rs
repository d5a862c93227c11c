//! Kafka from outside the fleet: any record in, whole topics out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::util::Timeout;
use strata_pipeline::connection;
use strata_service::config::KafkaSettings;

use crate::eventually::eventually;

/// Longest wait for one answer of the broker.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Longest wait for an answer to one client: one that asked while the broker was not well may never get any.
const CLIENT_WITHIN: Duration = Duration::from_secs(5);

/// A record as it lies in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
    /// Key, where it has one.
    pub key: Option<Vec<u8>>,
    /// Body; none is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
}

impl TopicRecord {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A record to be produced by hand.
#[derive(Debug, Clone, Default)]
pub struct NewRecord {
    /// Partition; the key chooses where none is given.
    pub partition: Option<i32>,
    /// Kafka timestamp, Unix milliseconds; now where none is given.
    pub timestamp_ms: Option<i64>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Body; none is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
}

impl NewRecord {
    /// A record with this body and nothing else.
    pub fn of(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: Some(payload.into()), ..Self::default() }
    }

    /// Sets the key.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the partition.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the timestamp, Unix milliseconds.
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

impl From<&TopicRecord> for NewRecord {
    /// The same record once more, its partition left to the key.
    fn from(record: &TopicRecord) -> Self {
        Self {
            partition: None,
            timestamp_ms: Some(record.timestamp_ms),
            key: record.key.clone(),
            payload: record.payload.clone(),
            headers: record.headers.clone(),
        }
    }
}

fn is_unknown_partition(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition)
}

/// A client.
#[derive(Clone)]
pub struct Kafka {
    settings: KafkaSettings,
    producer: FutureProducer,
    /// The client that has answered last.
    asked: Arc<Mutex<Option<BaseConsumer>>>,
}

impl Kafka {
    /// Makes a client; connects in the background.
    pub fn new(settings: &KafkaSettings) -> Self {
        let producer = connection::client(settings)
            .set("acks", "all")
            .set("linger.ms", "1")
            .set("partitioner", "murmur2_random")
            .create()
            .expect("a kafka producer");
        Self { settings: settings.clone(), producer, asked: Arc::default() }
    }

    /// Produces records in this order and waits until Kafka holds them all.
    pub async fn produce(&self, topic: &str, records: &[NewRecord]) {
        self.try_produce(topic, records).await.unwrap_or_else(|e| panic!("{e}"));
    }

    /// As [`Kafka::produce`], for records that Kafka may refuse.
    pub async fn try_produce(&self, topic: &str, records: &[NewRecord]) -> Result<(), String> {
        let mut waiting = Vec::with_capacity(records.len());
        for record in records {
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                headers = headers.insert(Header { key, value: Some(value) });
            }
            let mut kafka_record = FutureRecord::<[u8], [u8]>::to(topic).headers(headers);
            kafka_record.key = record.key.as_deref();
            kafka_record.payload = record.payload.as_deref();
            kafka_record.partition = record.partition;
            kafka_record.timestamp = record.timestamp_ms;
            let mut looks = 50;
            let sent = loop {
                match self.producer.send_result(kafka_record) {
                    // A partition that was added a moment ago.
                    Err((e, again)) if is_unknown_partition(&e) && looks > 0 => {
                        (kafka_record, looks) = (again, looks - 1);
                        self.look_at(topic).await;
                    }
                    outcome => break outcome,
                }
            };
            waiting.push(sent.unwrap_or_else(|(e, _)| panic!("kafka took no record for {topic}: {e}")));
        }
        for delivery in waiting {
            let delivered = delivery.await.expect("the producer lives");
            delivered.map_err(|(e, _)| format!("kafka refused a record for {topic}: {e}"))?;
        }
        Ok(())
    }

    /// Has the producer learn which partitions a topic has by now.
    async fn look_at(&self, topic: &str) {
        let (producer, topic) = (self.producer.clone(), topic.to_owned());
        let look = move || producer.client().fetch_metadata(Some(&topic), Duration::from_secs(5)).map(drop);
        drop(tokio::task::spawn_blocking(look).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// Produces records in a transaction that is undone: offsets that no reader finds a record at.
    pub async fn produce_and_abort(&self, topic: &str, records: &[NewRecord]) {
        let producer: FutureProducer = connection::client(&self.settings)
            .set("transactional.id", format!("testkit-{topic}"))
            .create()
            .expect("a kafka producer");
        let undone = Self { producer, ..self.clone() };
        let run = |step: fn(&FutureProducer) -> KafkaResult<()>| {
            let producer = undone.producer.clone();
            tokio::task::spawn_blocking(move || step(&producer).expect("a transaction"))
        };
        run(|producer| producer.init_transactions(ANSWER_WITHIN)).await.expect("no panic");
        run(Producer::begin_transaction).await.expect("no panic");
        undone.produce(topic, records).await;
        run(|producer| producer.abort_transaction(ANSWER_WITHIN)).await.expect("no panic");
    }

    /// Creates a topic that is not there yet.
    pub async fn create(&self, topic: &str, partitions: i32) {
        self.create_with(topic, partitions, &[]).await;
    }

    /// Creates a topic that is not there yet, with settings of its own.
    pub async fn create_with(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            wanted = wanted.set(name, value);
        }
        let wanted = [wanted];
        for created in self.admin().create_topics(&wanted, &options()).await.expect("kafka answers") {
            created.unwrap_or_else(|(topic, code)| panic!("{topic} cannot be created: {code}"));
        }
    }

    /// Adds partitions to a topic until it has this many.
    pub async fn add_partitions(&self, topic: &str, count: usize) {
        let wanted = [NewPartitions::new(topic, count)];
        for added in self.admin().create_partitions(&wanted, &options()).await.expect("kafka answers") {
            added.unwrap_or_else(|(topic, code)| panic!("{topic} gets no partitions: {code}"));
        }
    }

    /// Sets the configuration of a topic; what is not named goes back to its default.
    pub async fn configure(&self, topic: &str, entries: &[(&str, &str)]) {
        let mut wanted = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in entries {
            wanted = wanted.set(name, value);
        }
        for set in self.admin().alter_configs(&[wanted], &options()).await.expect("kafka answers") {
            set.unwrap_or_else(|(_, code)| panic!("{topic} cannot be configured: {code}"));
        }
    }

    /// What a setting of a topic is.
    pub async fn setting(&self, topic: &str, name: &str) -> Option<String> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let mut found = self.admin().describe_configs(&asked, &options()).await.expect("kafka answers");
        let resource = found.pop().expect("an answer").unwrap_or_else(|code| panic!("{topic}: {code}"));
        resource.get(name).and_then(|entry| entry.value.clone())
    }

    /// On how many brokers each partition of a topic lies, at least.
    pub async fn replicas(&self, topic: &str) -> usize {
        let topic = topic.to_owned();
        self.blocking(move |client| {
            let metadata = client.fetch_metadata(Some(&topic), CLIENT_WITHIN)?;
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            Ok(partitions.map(|partition| partition.replicas().len()).min().unwrap_or_default())
        })
        .await
    }

    /// First offset and the one after the last, by partition.
    pub async fn watermarks(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let topic = topic.to_owned();
        self.blocking(move |client| watermarks(client, &topic)).await
    }

    /// Number of records a topic holds.
    pub async fn count(&self, topic: &str) -> usize {
        let marks = self.watermarks(topic).await;
        marks.values().map(|(low, high)| usize::try_from(high - low).unwrap_or_default()).sum()
    }

    /// Reads every record a topic holds now, by partition and offset.
    pub async fn read_all(&self, topic: &str) -> Vec<TopicRecord> {
        let topic = topic.to_owned();
        self.blocking(move |client| read_all(client, &topic, &watermarks(client, &topic)?)).await
    }

    /// The offsets that a consumer group has told Kafka, by partition; those it has told none of are left out.
    pub async fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let (group, topic, settings) = (group.to_owned(), topic.to_owned(), self.settings.clone());
        let ask = move |client: &BaseConsumer| {
            let mut list = TopicPartitionList::new();
            for partition in watermarks(client, &topic)?.into_keys() {
                list.add_partition(&topic, partition);
            }
            let found = member(&settings, &group)?.committed_offsets(list, CLIENT_WITHIN)?;
            let offset = |at: &TopicPartitionListElem<'_>| Some((at.partition(), at.offset().to_raw()?));
            Ok(found.elements().iter().filter_map(offset).filter(|(_, offset)| *offset >= 0).collect())
        };
        self.blocking(ask).await
    }

    /// Members of a consumer group that is not rebalancing; none while it is.
    pub async fn stable_members(&self, group: &str) -> Option<usize> {
        let group = group.to_owned();
        let ask = move |client: &BaseConsumer| {
            let list = client.fetch_group_list(Some(&group), CLIENT_WITHIN)?;
            let found = list.groups().iter().find(|found| found.name() == group);
            Ok(found.filter(|found| found.state() == "Stable").map(|found| found.members().len()))
        };
        self.blocking(ask).await
    }

    /// Deletes the records of a partition below `offset`.
    pub async fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        let deleted = self.admin().delete_records(&list, &options()).await.expect("kafka deletes records");
        for element in deleted.elements() {
            element.error().unwrap_or_else(|e| panic!("{topic}/{partition} keeps its records: {e}"));
        }
    }

    /// Deletes a topic with all its records and recreates it.
    pub async fn recreate(&self, topic: &str, partitions: i32) {
        self.delete(&[topic.to_owned()], &[]).await;
        let wanted = [NewTopic::new(topic, partitions, TopicReplication::Fixed(1))];
        // The name is free a moment after the deletion was answered.
        eventually(ANSWER_WITHIN, &format!("{topic}, recreated"), async || {
            let created = self.admin().create_topics(&wanted, &options()).await.map_err(|e| e.to_string())?;
            created.into_iter().try_for_each(|created| match created {
                Ok(_) => Ok(()),
                Err((_, code)) => Err(code.to_string()),
            })
        })
        .await;
    }

    /// Deletes topics and consumer groups; those that are not there are fine.
    pub async fn delete(&self, topics: &[String], groups: &[String]) {
        let admin = self.admin();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        if let Err(e) = admin.delete_topics(&topics, &options()).await {
            eprintln!("topics stay: {e}");
        }
        if let Err(e) = admin.delete_groups(&groups, &options()).await {
            eprintln!("consumer groups stay: {e}");
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        connection::client(&self.settings).create().expect("a kafka admin client")
    }

    /// Asks until there is an answer, after each failure with a new client: a broker that has just started, or comes
    /// back from a pause, knows its leaders only after a while.
    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl Fn(&BaseConsumer) -> KafkaResult<T> + Send + 'static,
    ) -> T {
        let (settings, asked) = (self.settings.clone(), Arc::clone(&self.asked));
        let ask_until_answered = move || {
            let deadline = Instant::now() + ANSWER_WITHIN;
            let slot = || asked.lock().unwrap_or_else(PoisonError::into_inner);
            let mut known = slot().take();
            loop {
                let client = known.take().map_or_else(|| member(&settings, "strata-testkit"), Ok);
                match client.and_then(|client| ask(&client).map(|answer| (answer, client))) {
                    Ok((answer, client)) => {
                        *slot() = Some(client);
                        return answer;
                    }
                    Err(e) => assert!(Instant::now() < deadline, "kafka does not answer: {e}"),
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        let done = tokio::task::spawn_blocking(ask_until_answered);
        done.await.expect("reading kafka does not panic")
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Timeout::After(ANSWER_WITHIN)))
}

/// A consumer that can be given partitions.
fn member(settings: &KafkaSettings, group: &str) -> KafkaResult<BaseConsumer> {
    connection::client(settings)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        .create()
}

fn watermarks(client: &BaseConsumer, topic: &str) -> KafkaResult<BTreeMap<i32, (i64, i64)>> {
    let metadata = client.fetch_metadata(Some(topic), CLIENT_WITHIN)?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    // One question for all of them, where asking for watermarks would be two each.
    let edge = |bound: Offset| -> KafkaResult<BTreeMap<i32, i64>> {
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            list.add_partition_offset(topic, *partition, bound)?;
        }
        let found = client.offsets_for_times(list, CLIENT_WITHIN)?;
        let offset = |at: &TopicPartitionListElem<'_>| {
            at.error()?;
            Ok((at.partition(), at.offset().to_raw().unwrap_or_default()))
        };
        found.elements().iter().map(offset).collect()
    };
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (low, high) = (edge(Offset::Beginning)?, edge(Offset::End)?);
    Ok(low
        .into_iter()
        .filter_map(|(partition, low)| Some((partition, (low, *high.get(&partition)?))))
        .collect())
}

fn read_all(
    consumer: &BaseConsumer,
    topic: &str,
    marks: &BTreeMap<i32, (i64, i64)>,
) -> KafkaResult<Vec<TopicRecord>> {
    let mut list = TopicPartitionList::new();
    let mut missing: i64 = 0;
    for (&partition, &(low, high)) in marks {
        list.add_partition_offset(topic, partition, Offset::Offset(low))?;
        missing += high - low;
    }
    consumer.assign(&list)?;
    let deadline = Instant::now() + ANSWER_WITHIN * 2;
    let mut records = Vec::new();
    while missing > 0 {
        assert!(Instant::now() < deadline, "{missing} records of {topic} never came");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else { continue };
        if marks.get(&message.partition()).is_none_or(|&(_, high)| message.offset() >= high) {
            continue;
        }
        missing -= 1;
        let headers = message.headers().map(|headers| {
            let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
        });
        records.push(TopicRecord {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
        });
    }
    // Nothing more is fetched until the next question.
    consumer.unassign()?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}
