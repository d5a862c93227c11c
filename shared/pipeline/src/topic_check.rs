//! Topics that somebody else made, or changed: what of their settings does not fit, and how to repair it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::{client, min_insync_replicas};
use crate::record::MAX_RECORD_BYTES;
use strata_service::config::KafkaSettings;
use strata_service::status::WorkerStatus;

/// Kafka tells within this how a topic is set up.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// Pause before topics that do not fit, or that Kafka does not tell of, are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Records should be kept at least so long: time to repair a stage that is down.
const SHORTEST_RETENTION_MS: i64 = 24 * 60 * 60 * 1000;

/// A setting of a topic that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Topic, setting, what it is, why that is wrong, and the command that repairs it.
    pub message: String,
    /// Whether events may be lost or counted wrongly: not healthy, where the rest is a warning.
    pub is_harmful: bool,
}

/// Tells what does not fit at the start: warnings in the log, what is harmful in `/health` as well, until it is
/// repaired.
pub async fn watch(
    settings: KafkaSettings,
    topics: Vec<String>,
    status: Arc<WorkerStatus>,
    stop: CancellationToken,
) {
    let mut told = BTreeSet::new();
    while !stop.is_cancelled() {
        match misfits(&settings, &topics).await {
            Ok(found) => {
                for Misfit { message, .. } in
                    found.iter().filter(|misfit| told.insert(misfit.message.clone()))
                {
                    tracing::warn!("{message}");
                }
                let harmful = found.into_iter().filter(|misfit| misfit.is_harmful);
                let harmful: Vec<String> = harmful.map(|misfit| misfit.message).collect();
                let is_over = harmful.is_empty();
                status.topics(harmful);
                if is_over {
                    return;
                }
            }
            Err(e) => tracing::debug!(error = %e, "the settings of topics are not known yet"),
        }
        if timeout(LOOK_AGAIN, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// Compares topics with what the fleet needs; one that does not exist, or whose settings we may not read, fits.
///
/// **Errors**: Kafka does not answer.
pub async fn misfits(settings: &KafkaSettings, topics: &[String]) -> Result<Vec<Misfit>, KafkaError> {
    let admin = client(settings)?;
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(TOLD_WITHIN));
    let described = admin.describe_configs(&resources, &options).await?;
    let mut found = Vec::new();
    for (topic, described) in topics.iter().zip(described) {
        let described = match described {
            Ok(described) => described,
            Err(RDKafkaErrorCode::UnknownTopicOrPartition) => continue,
            Err(code) => {
                tracing::info!(kafka.topic = topic, error = %code, "the settings of a topic cannot be read");
                continue;
            }
        };
        let values = described.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
        found.extend(Check { settings, topic }.values(&values.collect()));
    }
    let metadata = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, TOLD_WITHIN)).await;
    let metadata = metadata.map_err(|e| KafkaError::ClientCreation(e.to_string()))??;
    for topic in metadata.topics().iter().filter(|topic| topics.iter().any(|name| name == topic.name())) {
        found.extend(Check { settings, topic: topic.name() }.partitions(topic.partitions().len()));
    }
    Ok(found)
}

/// One topic under examination.
struct Check<'a> {
    settings: &'a KafkaSettings,
    topic: &'a str,
}

impl Check<'_> {
    /// What of the topic's settings does not fit; a setting that Kafka does not tell does.
    fn values(&self, values: &BTreeMap<String, String>) -> Vec<Misfit> {
        let text = |name: &str| values.get(name).map(String::as_str);
        let number = |name: &str| text(name).and_then(|value| value.parse::<i64>().ok());
        let mut found = Vec::new();
        if let Some(bytes) = number("max.message.bytes").filter(|&bytes| bytes < MAX_RECORD_BYTES as i64) {
            let why = "large events would not fit, and the stage that writes them would stand still";
            found.push(self.setting("max.message.bytes", bytes, why, MAX_RECORD_BYTES, true));
        }
        if let Some(policy) = text("cleanup.policy").filter(|policy| policy.contains("compact")) {
            let why = "of records with one key only the last is kept, before it is read, too";
            found.push(self.setting("cleanup.policy", policy, why, "delete", true));
        }
        if let Some(kind) = text("message.timestamp.type").filter(|kind| *kind != "CreateTime") {
            let why = "the time of an event would change on its way, and a replay would write other rows";
            found.push(self.setting("message.timestamp.type", kind, why, "CreateTime", true));
        }
        if let Some(ms) = number("retention.ms").filter(|ms| (0..SHORTEST_RETENTION_MS).contains(ms)) {
            let why = "what a stage has not read within that is lost";
            found.push(self.setting("retention.ms", ms, why, 7 * SHORTEST_RETENTION_MS, false));
        }
        let wanted = min_insync_replicas(self.settings.replication);
        if let Some(replicas) = number("min.insync.replicas").filter(|&replicas| replicas < i64::from(wanted))
        {
            let why = "an acknowledged record may be lost with one broker";
            found.push(self.setting("min.insync.replicas", replicas, why, wanted, false));
        }
        found
    }

    /// Whether there are fewer partitions than the settings ask for; none means that Kafka does not know yet.
    fn partitions(&self, there_are: usize) -> Option<Misfit> {
        let wanted = usize::try_from(self.settings.partitions).unwrap_or_default();
        (1..wanted).contains(&there_are).then(|| Misfit {
            message: format!(
                "topic {topic} has {there_are} partitions, fewer than KAFKA_PARTITIONS={wanted}: no more instances \
                 than that share the work; repair with: kafka-topics.sh --bootstrap-server {brokers} --alter \
                 --topic {topic} --partitions {wanted}",
                topic = self.topic,
                brokers = self.settings.brokers,
            ),
            is_harmful: false,
        })
    }

    /// A setting that does not fit.
    fn setting(
        &self,
        name: &str,
        value: impl std::fmt::Display,
        why: &str,
        wanted: impl std::fmt::Display,
        is_harmful: bool,
    ) -> Misfit {
        let Self { settings: KafkaSettings { brokers, .. }, topic } = self;
        let message = format!(
            "topic {topic} has {name}={value}: {why}; repair with: kafka-configs.sh --bootstrap-server {brokers} \
             --alter --entity-type topics --entity-name {topic} --add-config {name}={wanted}"
        );
        Misfit { message, is_harmful }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_service::config::Settings;

    /// What is found of a topic with these settings: the first words and whether it is harmful.
    fn found(replication: &str, values: &[(&str, &str)]) -> Vec<(String, bool)> {
        let lookup = |name: &str| (name == "KAFKA_REPLICATION").then(|| replication.to_owned());
        let settings = Settings::from_lookup("STG_PORT", lookup).expect("settings fit").kafka;
        let values = values.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let check = Check { settings: &settings, topic: "t" };
        let head = |message: &str| message.split(':').next().unwrap_or_default().to_owned();
        let misfits = check.values(&values).into_iter();
        misfits.map(|misfit| (head(&misfit.message), misfit.is_harmful)).collect()
    }

    #[test]
    fn what_kafka_and_the_fleet_set_themselves_fits() {
        let own = [
            ("max.message.bytes", "8388608"),
            ("cleanup.policy", "delete"),
            ("message.timestamp.type", "CreateTime"),
            ("retention.ms", "604800000"),
            ("min.insync.replicas", "1"),
        ];
        assert_eq!(found("1", &own), []);
        assert_eq!(found("2", &own), []);
        assert_eq!(found("3", &[("retention.ms", "-1"), ("min.insync.replicas", "2")]), []);
        assert_eq!(found("3", &[]), []);
    }

    #[test]
    fn what_loses_or_changes_events_is_harmful_and_the_rest_is_a_warning() {
        for (setting, value, is_harmful) in [
            ("max.message.bytes", "1048588", true),
            ("cleanup.policy", "compact", true),
            ("cleanup.policy", "compact,delete", true),
            ("message.timestamp.type", "LogAppendTime", true),
            ("retention.ms", "3600000", false),
            ("min.insync.replicas", "1", false),
        ] {
            let expected = [(format!("topic t has {setting}={value}"), is_harmful)];
            assert_eq!(found("3", &[(setting, value)]), expected);
        }
    }
}
