//! Publishing for one request: a bounded number of records is on its way at any time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::Utc;
use strata_pipeline::producer::Acks;
use strata_pipeline::seams::ProduceError;
use strata_pipeline::{Output, Producer};
use strata_service::http::ApiError;
use strata_service::trace::{self, TraceParent};
use strata_streams::source::Headers;
use tokio::time::error::Elapsed;

use crate::sent::Counter;

/// Records that are acknowledged together.
const GROUP: u64 = 500;

/// Groups on their way at once.
const MAX_GROUPS: usize = 20;

/// Kafka is taken for down when it acknowledges nothing for this long. The records stay in the
/// producer's queue, so they may arrive after the caller was told so.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends the records of one request to one topic, in order.
pub struct Publisher {
    producer: Producer,
    topic: Arc<str>,
    sent: Counter,
    groups: VecDeque<(Arc<Acks>, u64)>,
    current: Arc<Acks>,
    current_size: u64,
    /// Where the request stands in its trace, for every record.
    traceparent: Option<String>,
    /// Records that Kafka has acknowledged.
    kept: u64,
}

impl Publisher {
    /// Starts a request; what it sends is counted by `sent`.
    pub fn new(producer: Producer, topic: &str, sent: Counter, at: Option<TraceParent>) -> Self {
        Self {
            producer,
            topic: topic.into(),
            sent,
            groups: VecDeque::new(),
            current: Arc::default(),
            current_size: 0,
            traceparent: at.map(|at| at.to_string()),
            kept: 0,
        }
    }

    /// Sends one record dated now, waiting while too many are on their way.
    ///
    /// **Errors**: 503 when Kafka refuses it or acknowledges nothing.
    pub async fn send(
        &mut self,
        key: Option<Vec<u8>>,
        payload: Vec<u8>,
        mut headers: Headers,
    ) -> Result<(), ApiError> {
        headers.extend(self.traceparent.clone().map(|at| (trace::HEADER.into(), at)));
        let timestamp_ms = Utc::now().timestamp_millis();
        let topic = Arc::clone(&self.topic);
        let output = Output { topic, key, payload, timestamp_ms, headers, partition: None };
        let queued = tokio::time::timeout(PATIENCE, self.producer.enqueue(&output, &self.current)).await;
        self.checked(queued)?;
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.current_size += 1;
        if self.current_size == GROUP {
            self.groups.push_back((std::mem::take(&mut self.current), self.current_size));
            self.current_size = 0;
        }
        if self.groups.len() > MAX_GROUPS {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    /// Waits until Kafka holds everything that was sent.
    ///
    /// **Errors**: 503, as in [`Self::send`].
    pub async fn finish(&mut self) -> Result<(), ApiError> {
        self.groups.push_back((std::mem::take(&mut self.current), self.current_size));
        self.current_size = 0;
        while !self.groups.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    /// Waits for the group that was sent first.
    async fn settle_oldest(&mut self) -> Result<(), ApiError> {
        let Some((acks, size)) = self.groups.pop_front() else { return Ok(()) };
        self.checked(tokio::time::timeout(PATIENCE, acks.wait()).await)?;
        self.kept += size;
        Ok(())
    }

    /// Turns what Kafka said, or that it said nothing, into the answer.
    fn checked(&self, result: Result<Result<(), ProduceError>, Elapsed>) -> Result<(), ApiError> {
        let cause: Box<dyn std::fmt::Display> = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Box::new(error),
            Err(_) => Box::new(format!("nothing was acknowledged for {} s", PATIENCE.as_secs())),
        };
        let ApiError { status, message } = ApiError::unavailable("Kafka", &cause);
        let kept = self.kept;
        Err(ApiError::new(
            status,
            format!("{message}; {kept} records of this request are kept, others may be"),
        ))
    }
}
