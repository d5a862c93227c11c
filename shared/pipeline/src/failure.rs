//! Why the loop has to find its position again, and how it says so.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::error::StageError;
use strata_service::failpoint::Failed;
use strata_service::restart::RestartNeeded;
use strata_service::status::NO_CONNECTION;
use strata_service::{pg, redis};

/// The reason.
pub(crate) enum Failure {
    Stage(StageError),
    Kafka(anyhow::Error),
    /// Kafka does not hold the next offset any more, or never did.
    Lost(String),
    /// Only a new process helps.
    Stuck(RestartNeeded),
    /// The group moved the partitions, or the service stops.
    Interrupted,
}

/// A failure in words.
pub(crate) struct Described {
    /// For the counter of retries.
    pub cause: &'static str,
    /// For `/health`.
    pub message: String,
    /// For the log; empty where the message says it all.
    pub error: String,
}

impl Failure {
    /// What to tell; none for what is no failure to anybody else.
    pub fn describe(&self) -> Option<Described> {
        let (cause, message, error) = match self {
            Self::Interrupted | Self::Stuck(_) => return None,
            Self::Stage(e) => {
                let (cause, message) = match e {
                    StageError::Fenced { .. } => ("fenced", "checking who owns the partition".to_owned()),
                    StageError::Transient { dependency, source } => transient(dependency, source),
                    StageError::Data(_) => {
                        ("data", "the store refuses what the stage itself keeps".to_owned())
                    }
                    StageError::NeedsOperator(message) => ("operator", message.clone()),
                };
                (cause, message, chain(e))
            }
            Self::Kafka(e) => {
                let refusal = e.chain().find_map(|cause| kafka_refusal(cause.downcast_ref()?));
                match refusal {
                    Some(words) => ("operator", format!("kafka {words}"), format!("{e:#}")),
                    None => ("kafka", "waiting for kafka".to_owned(), format!("{e:#}")),
                }
            }
            Self::Lost(message) => ("lost", message.clone(), String::new()),
        };
        Some(Described { cause, message, error })
    }
}

/// Cause and message of a failure that the same batch may survive: what waiting does not repair is for an
/// operator, and tried again all the same.
fn transient(dependency: &str, source: &anyhow::Error) -> (&'static str, String) {
    let refusal = source.chain().find_map(|cause| {
        let postgres = cause.downcast_ref().and_then(pg::refusal).map(|words| format!("postgres {words}"));
        postgres.or_else(|| Some(format!("redis {}", redis::refusal(cause.downcast_ref()?)?)))
    });
    if let Some(refusal) = refusal {
        return ("operator", refusal);
    }
    let no_connection =
        source.chain().any(|cause| matches!(cause.downcast_ref(), Some(sqlx::Error::PoolTimedOut)));
    let message = if no_connection { NO_CONNECTION.to_owned() } else { format!("waiting for {dependency}") };
    ("transient", message)
}

/// What Kafka refuses us, as a predicate of it; none where waiting may help.
pub(crate) fn kafka_refusal(error: &KafkaError) -> Option<&'static str> {
    Some(match error.rdkafka_error_code()? {
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            "denies our user a topic: grant it reading, writing and describing of the topics and their .dlq"
        }
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            "denies our user its consumer group: grant it reading of the groups; see KAFKA_GROUP_PREFIX"
        }
        RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "denies our user the cluster: grant it IdempotentWrite, and Create where topics are missing"
        }
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
            "lacks a topic or partition: a service creates missing topics when it starts"
        }
        RDKafkaErrorCode::InvalidReplicationFactor => {
            "cannot create a topic: KAFKA_REPLICATION is larger than the number of brokers"
        }
        RDKafkaErrorCode::PolicyViolation => {
            "does not let us create a topic: create it by hand; the log says why"
        }
        RDKafkaErrorCode::MessageSizeTooLarge => {
            "takes no record of this size: raise max.message.bytes of the topic to 8388608"
        }
        _ => return None,
    })
}

impl From<StageError> for Failure {
    /// What a stage needs of Kafka fails as what the loop itself needs of it.
    fn from(error: StageError) -> Self {
        match error {
            StageError::Transient { dependency: "kafka", source } => Self::Kafka(source),
            error => Self::Stage(error),
        }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        StageError::from(failed).into()
    }
}

impl From<RestartNeeded> for Failure {
    fn from(stuck: RestartNeeded) -> Self {
        Self::Stuck(stuck)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::ProduceError;

    /// Cause and message of a failure of this source.
    fn told(dependency: &'static str, source: impl Into<anyhow::Error>) -> (&'static str, String) {
        let error = StageError::Transient { dependency, source: source.into() };
        let described = Failure::Stage(error).describe().expect("a failure");
        (described.cause, described.message)
    }

    #[test]
    fn only_what_waiting_repairs_is_waited_for() {
        let cut = std::io::Error::other("connection reset");
        assert_eq!(told("postgres", sqlx::Error::Io(cut)), ("transient", "waiting for postgres".to_owned()));
        assert_eq!(told("postgres", sqlx::Error::PoolTimedOut), ("transient", NO_CONNECTION.to_owned()));
        for (code, words) in [
            ("READONLY", "redis takes no writes"),
            ("OOM", "redis is full"),
            ("MISCONF", "redis cannot write"),
            ("LOADING", "redis is loading"),
            ("NOPERM", "redis does not let"),
            ("WRONGPASS", "redis refuses our user or password"),
        ] {
            let value = ::redis::parse_redis_value(format!("-{code} because\r\n").as_bytes());
            let error = value.and_then(::redis::Value::extract_error).expect_err("an error");
            let (cause, message) = told("redis", error);
            assert!(cause == "operator" && message.starts_with(words), "{code}: {cause}, {message}");
        }
    }

    #[test]
    fn a_stage_that_waits_for_kafka_waits_as_the_loop_does() {
        let away = KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure);
        let error = StageError::Transient { dependency: "kafka", source: away.into() };
        let described = Failure::from(error).describe().expect("a failure");
        assert_eq!((described.cause, &*described.message), ("kafka", "waiting for kafka"));
    }

    #[test]
    fn what_kafka_denies_is_told_however_deep_it_lies() {
        for (code, words) in [
            (RDKafkaErrorCode::TopicAuthorizationFailed, "kafka denies our user a topic"),
            (RDKafkaErrorCode::GroupAuthorizationFailed, "kafka denies our user its consumer group"),
            (RDKafkaErrorCode::UnknownTopicOrPartition, "kafka lacks a topic"),
        ] {
            let refused = anyhow::Error::from(ProduceError::Refused(KafkaError::MessageProduction(code)));
            let described = Failure::Kafka(refused).describe().expect("a failure");
            assert!(described.cause == "operator" && described.message.starts_with(words), "{code}");
        }
        let away = KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure);
        let described = Failure::Kafka(away.into()).describe().expect("a failure");
        assert_eq!((described.cause, &*described.message), ("kafka", "waiting for kafka"));
    }
}
