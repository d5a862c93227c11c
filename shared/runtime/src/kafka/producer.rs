//! Producing with acknowledgements: a batch is sent as a whole and is done when all of it is kept.
//!
//! The producer is idempotent and never gives up on a record by time: a gap in the middle of a batch
//! would let a later origin overtake an earlier one, and the reader's watermark would skip it for good.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Message as _};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use super::connection::{self, Refusals};
use super::record::Output;
use crate::config::KafkaSettings;
use crate::failpoint;

/// Bytes that may wait in memory for the broker.
const QUEUE_KBYTES: &str = "16384";

/// How long one call takes acknowledgements. The client waits in whole milliseconds and spins through the
/// rest of the last one, so calls are few. A producer that is dropped lives on for so long.
const POLL: Duration = Duration::from_secs(1);

/// Longest look for a partition that the client does not know.
const LOOKS_WITHIN: Duration = Duration::from_secs(1);

/// Largest record of the fleet's topics, in bytes.
pub const MAX_RECORD_BYTES: usize = 8 << 20;

/// A record that could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The broker or librdkafka refused it.
    #[error("kafka refused a record")]
    Refused(#[source] KafkaError),
    /// The topic has no such partition.
    #[error(
        "kafka has no partition {partition} of {topic}, to which outputs were committed: the topic was recreated with \
         fewer partitions, or is another one; add partitions to it until it has {}",
        partition + 1
    )]
    NoPartition {
        /// Topic concerned.
        topic: String,
        /// Partition that the outputs were kept for.
        partition: i32,
    },
    /// The producer cannot go on and must be made anew.
    #[error("kafka client failed for good: {0}")]
    Fatal(String),
}

/// Counts the acknowledgements that a batch still waits for.
#[derive(Debug, Default)]
pub struct Acks {
    outstanding: AtomicUsize,
    failure: Mutex<Option<ProduceError>>,
    done: Notify,
}

impl Acks {
    fn settle(&self, failure: Option<ProduceError>) {
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

struct Context(Refusals);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.heard(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Acks>;

    fn delivery(&self, result: &DeliveryResult<'_>, acks: Arc<Acks>) {
        let refused = result.as_ref().err();
        acks.settle(refused.map(|(error, message)| refusal(error, message.topic(), message.partition())));
    }
}

type Inner = BaseProducer<Context>;

/// A shared, idempotent producer.
#[derive(Clone)]
pub struct Producer {
    settings: Arc<KafkaSettings>,
    refusals: Refusals,
    inner: Arc<Mutex<Arc<Inner>>>,
}

impl Producer {
    /// Makes a producer; connects in the background.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let refusals = Refusals::new(settings);
        let inner = Arc::new(Mutex::new(create(settings, refusals.clone())?));
        Ok(Self { settings: Arc::new(settings.clone()), refusals, inner })
    }

    fn current(&self) -> Arc<Inner> {
        Arc::clone(&self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts one record into the queue, waiting while the queue is full.
    ///
    /// **Errors**: [`ProduceError`].
    pub async fn enqueue(&self, output: &Output, acks: &Arc<Acks>) -> Result<(), ProduceError> {
        let inner = self.current();
        let mut record = to_record(output, Arc::clone(acks));
        acks.outstanding.fetch_add(1, Ordering::AcqRel);
        loop {
            match inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                    record = returned;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err((error, _returned)) => {
                    acks.settle(None);
                    return Err(refusal(&error, &output.topic, output.partition.unwrap_or(-1)));
                }
            }
        }
    }

    /// Sends a batch and waits until Kafka holds all of it.
    pub async fn send_all(&self, outputs: &[Output]) -> Result<(), ProduceError> {
        let sent = self.send(outputs).await;
        let Err(error) = sent else { return Ok(()) };
        Err(self.classify(error).await)
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

    /// Replaces the client when it has failed for good, so that the next attempt can succeed; and looks whether
    /// a partition that it does not know is there by now.
    async fn classify(&self, error: ProduceError) -> ProduceError {
        if let Some((code, reason)) = self.current().client().fatal_error() {
            self.renew();
            return ProduceError::Fatal(format!("{code}: {reason}"));
        }
        let ProduceError::NoPartition { topic, partition } = error else { return error };
        let (own, asked) = (self.clone(), topic.clone());
        let count = spawn_blocking(move || own.partition_count(&asked, LOOKS_WITHIN));
        match count.await {
            Ok(Ok(count)) if count <= partition => ProduceError::NoPartition { topic, partition },
            _ => ProduceError::Refused(KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition)),
        }
    }

    /// Replaces the client; what waits for the old one is refused when that ends, and is sent again by whoever
    /// sent it.
    pub fn renew(&self) {
        match create(&self.settings, self.refusals.clone()) {
            Ok(fresh) => *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = fresh,
            Err(e) => tracing::error!(error = %e, "kafka producer cannot be replaced"),
        }
    }

    /// Records that Kafka has not acknowledged yet.
    pub fn queued(&self) -> i32 {
        self.current().in_flight_count()
    }

    /// Asks a broker how many partitions a topic has, and remembers them for what is sent; blocks the thread.
    pub fn partition_count(&self, topic: &str, within: Duration) -> Result<i32, KafkaError> {
        let metadata = self.current().client().fetch_metadata(Some(topic), within)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.map_or(0, |found| i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)))
    }

    /// Asks a broker for its metadata; the error says what keeps us from it. Blocks the thread.
    pub fn ask(&self, timeout: Duration) -> Result<(), String> {
        match self.current().client().fetch_metadata(None, timeout) {
            Ok(_) => {
                self.refusals.over();
                Ok(())
            }
            Err(_) => Err(self.refusal().unwrap_or_else(|| "unreachable".to_owned())),
        }
    }

    /// What Kafka has against our connection, as a predicate of it.
    pub fn refusal(&self) -> Option<String> {
        self.refusals.current()
    }

    /// What all clients of one loop hear against their connections.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
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

fn create(settings: &KafkaSettings, refusals: Refusals) -> Result<Arc<Inner>, KafkaError> {
    let inner: Inner = connection::client(settings)
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
        // librdkafka warns at every start that the gapless guarantee is young; its errors still show.
        .set_log_level(RDKafkaLogLevel::Error)
        .create_with_context(Context(refusals))?;
    let inner = Arc::new(inner);
    let watched = Arc::downgrade(&inner);
    // A thread of our own: the client's would take its acknowledgements in slices of 100 ms.
    let take_acknowledgements = move || {
        while let Some(inner) = watched.upgrade() {
            inner.poll(POLL);
        }
    };
    thread::Builder::new()
        .name("acknowledgements".into())
        .spawn(take_acknowledgements)
        .map_err(|e| KafkaError::ClientCreation(e.to_string()))?;
    Ok(inner)
}

fn to_record(output: &Output, acks: Arc<Acks>) -> BaseRecord<'_, [u8], [u8], Arc<Acks>> {
    let mut headers = OwnedHeaders::new_with_capacity(output.headers.len());
    for (key, value) in &output.headers {
        headers = headers.insert(Header { key, value: Some(value.as_bytes()) });
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
