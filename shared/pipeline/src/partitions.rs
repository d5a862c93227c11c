//! Which partition a record goes to, decided once, before it is kept.
//!
//! An output that is sent again must meet its first copy, so its partition is kept with it: the key alone would
//! choose another one after partitions were added, and what skips the copy would not see it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::error::StageError;
use crate::producer::Producer;
use crate::record::Output;
use strata_service::failpoint;

/// Time between two looks at the numbers of partitions.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Kafka tells them within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Partitions by topic.
pub type Counts = HashMap<String, i32>;

/// How many partitions the topics have that a stage writes to.
pub struct Partitions {
    /// Asks for them; blocks the thread.
    ask: Arc<dyn Fn() -> anyhow::Result<Counts> + Send + Sync>,
    counts: Counts,
    asked: Option<Instant>,
    /// The look that is under way; a batch waits for it only while nothing is known.
    asking: Option<JoinHandle<anyhow::Result<Counts>>>,
}

impl Partitions {
    /// Those of `topics`; Kafka is asked through the client that sends to them, so that it knows every partition
    /// that is chosen here.
    pub fn of(producer: Producer, topics: Vec<String>) -> Self {
        let is_untold = AtomicBool::new(false);
        Self::told_by(move || {
            if failpoint::pass("untold_partitions").is_err() {
                is_untold.store(true, Ordering::Relaxed);
            }
            anyhow::ensure!(!is_untold.load(Ordering::Relaxed), "the window untold_partitions");
            topics.iter().map(|topic| count(&producer, topic)).collect()
        })
    }

    /// Those that `ask` tells, which may block its thread.
    pub fn told_by(ask: impl Fn() -> anyhow::Result<Counts> + Send + Sync + 'static) -> Self {
        Self { ask: Arc::new(ask), counts: Counts::new(), asked: None, asking: None }
    }

    /// Looks again once in a while; to be called before a transaction.
    ///
    /// **Errors**: `Transient` when nothing is known and Kafka does not answer. Numbers only grow, so while it is
    /// away the old ones will do.
    pub async fn refresh(&mut self) -> Result<(), StageError> {
        if self.asking.is_none() && self.asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            let ask = Arc::clone(&self.ask);
            self.asking = Some(spawn_blocking(move || ask()));
        }
        let is_known = !self.counts.is_empty();
        let Some(asking) = self.asking.as_mut().filter(|asking| asking.is_finished() || !is_known) else {
            return Ok(());
        };
        let answer = asking.await;
        self.asking = None;
        match answer.map_err(anyhow::Error::from).and_then(|answer| answer) {
            Ok(counts) => (self.counts, self.asked) = (counts, Some(Instant::now())),
            Err(error) if is_known => {
                tracing::debug!(error = format!("{error:#}"), "the numbers of partitions stay as they were");
                self.asked = Some(Instant::now());
            }
            Err(source) => return Err(StageError::Transient { dependency: "kafka", source }),
        }
        Ok(())
    }

    /// Decides where an output goes.
    ///
    /// **Errors**: `Transient` when its topic is none of those that were named.
    pub fn assign(&self, output: &mut Output) -> Result<(), StageError> {
        let Some(&count) = self.counts.get(&*output.topic) else {
            let source = anyhow::anyhow!("nobody has asked for the partitions of {}", output.topic);
            return Err(StageError::Transient { dependency: "kafka", source });
        };
        output.partition = Some(output.partition_among(count));
        Ok(())
    }
}

/// Blocks the thread.
fn count(producer: &Producer, topic: &str) -> anyhow::Result<(String, i32)> {
    let count = producer.partition_count(topic, ANSWERS_WITHIN)?;
    anyhow::ensure!(count > 0, "kafka does not know the topic {topic}");
    Ok((topic.to_owned(), count))
}
