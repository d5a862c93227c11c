//! Why the loop has to find its position again, and how it says so.

use rdkafka::error::KafkaError;

use super::stage::StageError;
use crate::restart::RestartNeeded;

/// The reason.
pub(super) enum Trouble {
    Stage(StageError),
    Kafka(anyhow::Error),
    /// Kafka does not hold the next offset any more, or never did.
    Lost(String),
    /// Only a new process helps.
    Stuck(RestartNeeded),
    /// The group moved the partitions, or the service stops.
    Interrupted,
}

/// A trouble in words.
pub(super) struct Described {
    /// For the counter of retries.
    pub cause: &'static str,
    /// For `/health`.
    pub message: String,
    /// For the log; empty where the message says it all.
    pub error: String,
}

impl Trouble {
    /// What to tell; none for what is no trouble to anybody else.
    pub fn describe(&self) -> Option<Described> {
        let (cause, message, error) = match self {
            Self::Interrupted | Self::Stuck(_) => return None,
            Self::Stage(e) => {
                let (cause, message) = match e {
                    StageError::Fenced { .. } => ("fenced", "checking who owns the partition".to_owned()),
                    StageError::Transient { dependency, .. } => {
                        ("transient", format!("waiting for {dependency}"))
                    }
                    StageError::Data(_) => {
                        ("data", "the store refuses what the stage itself keeps".to_owned())
                    }
                    StageError::NeedsOperator(message) => ("operator", message.clone()),
                };
                (cause, message, chain(e))
            }
            Self::Kafka(e) => ("kafka", "waiting for kafka".to_owned(), format!("{e:#}")),
            Self::Lost(message) => ("lost", message.clone(), String::new()),
        };
        Some(Described { cause, message, error })
    }
}

impl From<StageError> for Trouble {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}

impl From<RestartNeeded> for Trouble {
    fn from(stuck: RestartNeeded) -> Self {
        Self::Stuck(stuck)
    }
}

pub(super) fn kafka_trouble(error: KafkaError) -> Trouble {
    Trouble::Kafka(error.into())
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
