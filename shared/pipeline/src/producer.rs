//! Producing with acknowledgements: a batch is sent as a whole and is done when all of it is kept.
//!
//! The producer is idempotent and never gives up on a record by time: a gap in the middle of a batch
//! would let a later origin overtake an earlier one, and the reader's watermark would skip it for good.

use std::future::pending;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Message as _};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;

use crate::connection::{self, Refusals};
use crate::metrics::{lag, latency};
use crate::probe;
use crate::record::{MAX_RECORD_BYTES, Output};
use crate::seams::{ProduceError, Sink};
use crate::watchdog::Unserved;
use strata_events::reject::REFUSED_HEADER;
use strata_events::schema_id;
use strata_service::config::KafkaSettings;
use strata_service::failpoint;
use strata_service::metrics::text;
use strata_service::restart::RestartNeeded;
use strata_service::status::UNREACHABLE;
use strata_service::{Client, SchemaRegistry};

/// Records that Kafka has not acknowledged yet.
const QUEUE: &str = "strata_producer_queue_messages";

/// Bytes that may wait in memory for the broker.
const QUEUE_KBYTES: &str = "16384";

/// How long one call takes acknowledgements. The client waits in whole milliseconds and spins through the
/// rest of the last one, so calls are few. A producer that is dropped lives on for so long.
const POLL: Duration = Duration::from_secs(1);

/// Longest look for a partition that the client does not know.
const LOOKS_WITHIN: Duration = Duration::from_secs(1);

/// Counts the acknowledgements that a batch still waits for.
#[derive(Debug, Default)]
pub struct Acks {
    outstanding: AtomicUsize,
    failure: Mutex<Option<ProduceError>>,
    done: Notify,
}

impl Acks {
    fn answered(&self, failure: Option<ProduceError>) {
        if let Some(failure) = failure {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        }
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_waiters();
        }
    }

    /// Waits until every record sent with these acks is kept or refused.
    pub async fn wait(&self) -> Result<(), ProduceError> {
        loop {
            let notified = self.done.notified();
            if self.outstanding.load(Ordering::Acquire) == 0 {
                break;
            }
            notified.await;
        }
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

struct Context {
    refusals: Refusals,
    /// Records that Kafka has taken or refused.
    delivered: AtomicU64,
    /// Why the client will never send anything again.
    failure: watch::Sender<Option<String>>,
}

impl Context {
    fn fail(&self, why: String) {
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert(why);
            is_first
        });
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.refusals.heard(&error, reason);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.fail(format!("the kafka producer failed for good: {reason}"));
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Acks>;

    fn delivery(&self, result: &DeliveryResult<'_>, acks: Arc<Acks>) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        let refused = result.as_ref().err();
        acks.answered(refused.map(|(error, message)| refusal(error, message.topic(), message.partition())));
    }
}

type Inner = BaseProducer<Context>;

/// A shared, idempotent producer.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
    /// Knows the schemas that records are to name.
    registry: SchemaRegistry,
}

impl Producer {
    /// Makes a producer; connects in the background.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let inner = Arc::new(create(settings)?);
        let (watched, settings) = (Arc::downgrade(&inner), settings.clone());
        // A thread of our own: the client's would take its acknowledgements in slices of 100 ms.
        thread::Builder::new()
            .name("acknowledgements".into())
            .spawn(move || take_acknowledgements(&watched, &settings))
            .map_err(|e| KafkaError::ClientCreation(e.to_string()))?;
        Ok(Self { inner, registry: SchemaRegistry::default() })
    }

    /// The same producer, whose records name the schema of their topic as far as this registry has one.
    ///
    /// The name belongs to the sending, like the compression: kept outputs have none, so that they do not depend on
    /// whether there is a registry. What we refuse ourselves is of no schema and names none.
    pub fn naming(self, registry: SchemaRegistry) -> Self {
        Self { registry, ..self }
    }

    /// Puts one record into the queue, waiting while the queue is full.
    ///
    /// **Errors**: [`ProduceError`].
    pub async fn enqueue(&self, output: &Output, acks: &Arc<Acks>) -> Result<(), ProduceError> {
        let mut record = to_record(output, self.registry.header(&output.topic), Arc::clone(acks));
        acks.outstanding.fetch_add(1, Ordering::AcqRel);
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                    record = returned;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err((error, _returned)) => {
                    acks.answered(None);
                    return Err(refusal(&error, &output.topic, output.partition.unwrap_or(-1)));
                }
            }
        }
    }

    async fn send(&self, outputs: &[Output]) -> Result<(), ProduceError> {
        let acks = Arc::new(Acks::default());
        for output in outputs {
            self.enqueue(output, &acks).await?;
        }
        // Dying and stopping are what this window is for; an error here would be the producer's own.
        drop(failpoint::pass("after_send"));
        acks.wait().await
    }

    /// Looks whether a partition that the client does not know is there by now.
    async fn classify(&self, error: ProduceError) -> ProduceError {
        let ProduceError::NoPartition { topic, partition } = error else { return error };
        let (own, asked) = (self.clone(), topic.clone());
        let count = spawn_blocking(move || own.partition_count(&asked, LOOKS_WITHIN));
        match count.await {
            Ok(Ok(count)) if count <= partition => ProduceError::NoPartition { topic, partition },
            _ => ProduceError::Refused(KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition)),
        }
    }

    /// Asks a broker how many partitions a topic has, and remembers them for what is sent; blocks the thread.
    pub fn partition_count(&self, topic: &str, within: Duration) -> Result<i32, KafkaError> {
        let metadata = self.inner.client().fetch_metadata(Some(topic), within)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.map_or(0, |found| i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)))
    }

    /// What all clients of one loop hear against their connections.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.inner.context().refusals
    }
}

impl Sink for Producer {
    async fn send_all(&self, outputs: &[Output]) -> Result<(), ProduceError> {
        let sent = self.send(outputs).await;
        let Err(error) = sent else { return Ok(()) };
        Err(self.classify(error).await)
    }

    fn refusal(&self) -> Option<String> {
        self.refusals().current()
    }
}

impl Client for Producer {
    fn server(&self) -> &'static str {
        "kafka"
    }

    fn ask(&self, within: Duration) -> Result<(), String> {
        match self.inner.client().fetch_metadata(None, within) {
            Ok(_) => {
                self.refusals().over();
                Ok(())
            }
            Err(_) => Err(self.refusal().unwrap_or_else(|| UNREACHABLE.to_owned())),
        }
    }

    fn expose(&self, text: &mut String) {
        text::family(text, QUEUE, "gauge", "Records that Kafka has not acknowledged yet");
        text::sample(text, QUEUE, &[], self.inner.in_flight_count().into());
        latency::write(text);
        lag::write(text);
    }

    /// Be it for an error of its own or because Kafka acknowledges nothing though it answers others.
    fn failed(&self) -> BoxFuture<'static, RestartNeeded> {
        let mut failure = self.inner.context().failure.subscribe();
        Box::pin(async move {
            match failure.wait_for(Option::is_some).await.map(|why| why.clone()) {
                Ok(Some(why)) => RestartNeeded(why),
                // The sender lives as long as the client.
                Ok(None) | Err(_) => pending().await,
            }
        })
    }
}

/// Why a record was not taken.
fn refusal(error: &KafkaError, topic: &str, partition: i32) -> ProduceError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownPartition) if partition >= 0 => {
            ProduceError::NoPartition { topic: topic.to_owned(), partition }
        }
        _ => ProduceError::Refused(error.clone()),
    }
}

fn create(settings: &KafkaSettings) -> Result<Inner, KafkaError> {
    connection::client(settings)
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("linger.ms", "2")
        .set("batch.size", "524288")
        .set("message.max.bytes", MAX_RECORD_BYTES.to_string())
        .set("queue.buffering.max.kbytes", QUEUE_KBYTES)
        // Soon, for the leaders of a failover: the default is five minutes.
        .set("topic.metadata.refresh.interval.ms", "5000")
        // librdkafka warns at every start that the gapless guarantee is young; its errors still show.
        .set_log_level(RDKafkaLogLevel::Error)
        .create_with_context(Context {
            refusals: Refusals::new(settings),
            delivered: AtomicU64::default(),
            failure: watch::Sender::default(),
        })
}

/// Serves the client for as long as somebody has it, and watches that Kafka acknowledges what it sends.
fn take_acknowledgements(watched: &Weak<Inner>, settings: &KafkaSettings) {
    let (mut unserved, mut seen, mut is_deaf) = (Unserved::new(settings), 0, false);
    while let Some(inner) = watched.upgrade() {
        is_deaf |= failpoint::pass("deaf_producer").is_err();
        match is_deaf {
            true => thread::sleep(POLL),
            false => inner.poll(POLL),
        }
        let (delivered, now) = (inner.context().delivered.load(Ordering::Relaxed), Instant::now());
        if delivered != seen || inner.in_flight_count() == 0 {
            seen = delivered;
            unserved.is_over();
        } else if unserved.is_due(now) && unserved.learn(probe::answers(settings), now) {
            inner
                .context()
                .fail("kafka answers a new client, but acknowledges nothing of our producer".into());
        }
    }
}

fn to_record<'a>(
    output: &'a Output,
    schema: Option<&[u8]>,
    acks: Arc<Acks>,
) -> BaseRecord<'a, [u8], [u8], Arc<Acks>> {
    let mut headers = OwnedHeaders::new_with_capacity(output.headers.len() + 1);
    for (key, value) in &output.headers {
        headers = headers.insert(Header { key, value: Some(value.as_bytes()) });
    }
    let schema = schema.filter(|_| output.headers.iter().all(|(key, _)| key != REFUSED_HEADER));
    if schema.is_some() {
        headers = headers.insert(Header { key: schema_id::HEADER, value: schema });
    }
    let mut record = BaseRecord::with_opaque_to(&output.topic, acks)
        .payload(output.payload.as_slice())
        .timestamp(output.timestamp_ms)
        .headers(headers);
    record.partition = output.partition;
    match &output.key {
        Some(key) => record.key(key.as_slice()),
        None => record,
    }
}
