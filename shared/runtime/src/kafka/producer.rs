//! Producing with acknowledgements: a batch is sent as a whole and is done when all of it is kept.
//!
//! The producer is idempotent and never gives up on a record by time: a gap in the middle of a batch
//! would let a later origin overtake an earlier one, and the reader's watermark would skip it for good.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use tokio::sync::Notify;

use super::record::Output;
use crate::config::KafkaSettings;
use crate::failpoint;

/// Bytes that may wait in memory for the broker.
const QUEUE_KBYTES: &str = "16384";

/// How long one call takes acknowledgements. The client waits in whole milliseconds and spins through the
/// rest of the last one, so calls are few. A producer that is dropped lives on for so long.
const POLL: Duration = Duration::from_secs(1);

/// Largest record of the fleet's topics, in bytes.
pub const MAX_RECORD_BYTES: usize = 8 << 20;

/// A record that could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The broker or librdkafka refused it.
    #[error("kafka refused a record")]
    Refused(#[source] KafkaError),
    /// The producer cannot go on and must be made anew.
    #[error("kafka client failed for good: {0}")]
    Fatal(String),
}

/// Counts the acknowledgements that a batch still waits for.
#[derive(Debug, Default)]
pub struct Acks {
    outstanding: AtomicUsize,
    failure: Mutex<Option<KafkaError>>,
    done: Notify,
}

impl Acks {
    fn settle(&self, error: Option<KafkaError>) {
        if let Some(error) = error {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
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
            Some(error) => Err(ProduceError::Refused(error)),
            None => Ok(()),
        }
    }
}

struct Context;

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = %error, reason, "kafka producer");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Acks>;

    fn delivery(&self, result: &DeliveryResult<'_>, acks: Arc<Acks>) {
        acks.settle(result.as_ref().err().map(|(error, _)| error.clone()));
    }
}

type Inner = BaseProducer<Context>;

/// A shared, idempotent producer.
#[derive(Clone)]
pub struct Producer {
    settings: Arc<KafkaSettings>,
    inner: Arc<Mutex<Arc<Inner>>>,
}

impl Producer {
    /// Makes a producer; connects in the background.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let inner = Arc::new(Mutex::new(create(settings)?));
        Ok(Self { settings: Arc::new(settings.clone()), inner })
    }

    fn current(&self) -> Arc<Inner> {
        Arc::clone(&self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts one record into the queue, waiting while the queue is full.
    ///
    /// **Errors**: [`ProduceError`]; after `Fatal` the client has been replaced and the whole batch
    /// must be sent again.
    pub async fn enqueue(&self, output: &Output, acks: &Arc<Acks>) -> Result<(), ProduceError> {
        self.enqueue_to(output, None, acks).await
    }

    async fn enqueue_to(
        &self,
        output: &Output,
        partition: Option<i32>,
        acks: &Arc<Acks>,
    ) -> Result<(), ProduceError> {
        let inner = self.current();
        let mut record = to_record(output, Arc::clone(acks));
        record.partition = partition;
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
                    return Err(self.classify(error));
                }
            }
        }
    }

    /// Sends a batch and waits until Kafka holds all of it.
    pub async fn send_all(&self, outputs: &[Output]) -> Result<(), ProduceError> {
        self.send(outputs.iter().map(|output| (None, output))).await
    }

    /// As [`Producer::send_all`], each record to the partition beside it, whatever its key says.
    pub async fn send_all_to(&self, outputs: &[(i32, Output)]) -> Result<(), ProduceError> {
        self.send(outputs.iter().map(|(partition, output)| (Some(*partition), output))).await
    }

    async fn send(
        &self,
        outputs: impl Iterator<Item = (Option<i32>, &Output)> + Send,
    ) -> Result<(), ProduceError> {
        let acks = Arc::new(Acks::default());
        for (partition, output) in outputs {
            self.enqueue_to(output, partition, &acks).await?;
        }
        // Dying and stopping are what this window is for; an error here would be the producer's own.
        drop(failpoint::pass("after_send"));
        acks.wait().await.map_err(|error| match error {
            ProduceError::Refused(cause) => self.classify(cause),
            fatal @ ProduceError::Fatal(_) => fatal,
        })
    }

    /// Replaces the client when it has failed for good, so that the next attempt can succeed.
    fn classify(&self, error: KafkaError) -> ProduceError {
        let Some((code, reason)) = self.current().client().fatal_error() else {
            return ProduceError::Refused(error);
        };
        self.renew();
        ProduceError::Fatal(format!("{code}: {reason}"))
    }

    /// Replaces the client; what waits for the old one is refused when that ends, and is sent again by whoever
    /// sent it.
    pub fn renew(&self) {
        match create(&self.settings) {
            Ok(fresh) => *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = fresh,
            Err(e) => tracing::error!(error = %e, "kafka producer cannot be replaced"),
        }
    }

    /// Records that Kafka has not acknowledged yet.
    pub fn queued(&self) -> i32 {
        self.current().in_flight_count()
    }

    /// Asks a broker for its metadata.
    pub fn is_reachable(&self, timeout: Duration) -> bool {
        self.current().client().fetch_metadata(None, timeout).is_ok()
    }
}

fn create(settings: &KafkaSettings) -> Result<Arc<Inner>, KafkaError> {
    let inner: Inner = ClientConfig::new()
        .set("bootstrap.servers", &settings.brokers)
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
        .set("reconnect.backoff.max.ms", "1000")
        // Soon, for the leaders of a failover: the default is five minutes.
        .set("topic.metadata.refresh.interval.ms", "5000")
        // librdkafka warns at every start that the gapless guarantee is young; its errors still show.
        .set_log_level(RDKafkaLogLevel::Error)
        .create_with_context(Context)?;
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
    let record = BaseRecord::with_opaque_to(&output.topic, acks)
        .payload(output.payload.as_slice())
        .timestamp(output.timestamp_ms)
        .headers(headers);
    match &output.key {
        Some(key) => record.key(key.as_slice()),
        None => record,
    }
}
