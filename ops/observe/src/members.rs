//! Who reads the topics of the fleet: the members of the stages' consumer groups, as Kafka has shared the partitions out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::groups::GroupMemberInfo;
use strata_events::StageId;
use strata_pipeline::worker::group;
use strata_service::config::KafkaSettings;

use crate::kafka::{client, left};

/// Partitions by instance.
pub type Members = BTreeMap<String, Vec<i32>>;

/// Groups are asked for again after this: instances come and go seldom, and each question goes to every broker.
const KNOWN_FOR: Duration = Duration::from_secs(3);

/// What Kafka calls a group whose members have their partitions.
const STABLE: &str = "Stable";

/// Asks about consumer groups. Every call blocks, no longer than it is allowed to.
pub struct Groups {
    consumer: BaseConsumer,
    settings: KafkaSettings,
    known: Option<(Instant, BTreeMap<String, Members>)>,
}

impl Groups {
    /// Makes a client that is not connected yet.
    pub fn new(settings: &KafkaSettings) -> KafkaResult<Self> {
        Ok(Self { consumer: client(settings).create()?, settings: settings.clone(), known: None })
    }

    /// The members that read each topic; a group that Kafka does not tell of in time, or shares out at this moment, is
    /// left out.
    pub fn members(&mut self, stages: &[(StageId, String)], within: Duration) -> BTreeMap<String, Members> {
        if let Some((asked, known)) = &self.known
            && asked.elapsed() < KNOWN_FOR
        {
            return known.clone();
        }
        let deadline = Instant::now() + within;
        let mut found = BTreeMap::new();
        for (stage, topic) in stages {
            let name = group(&self.settings, *stage, topic);
            match self.consumer.fetch_group_list(Some(&name), left(deadline)) {
                Ok(list) => {
                    let group = list.groups().iter().find(|group| group.name() == name);
                    match group.map(|group| (group.state(), group.members())) {
                        Some((STABLE, members)) => drop(found.insert(topic.clone(), shared(members, topic))),
                        // Nobody reads; a group without members is forgotten, or not there yet.
                        None | Some((_, [])) => drop(found.insert(topic.clone(), Members::new())),
                        Some(_) => {}
                    }
                }
                Err(e) => {
                    tracing::debug!(error = %e, name, "kafka does not tell of a group");
                    break;
                }
            }
        }
        self.known = Some((Instant::now(), found.clone()));
        found
    }
}

/// The partitions of a topic by instance.
fn shared(members: &[GroupMemberInfo], topic: &str) -> Members {
    let mut shared = Members::new();
    for member in members {
        let instance = match member.client_id().split_once('@') {
            Some((_, instance)) => instance.to_owned(),
            None => format!("{} at {}", member.client_id(), member.client_host().trim_start_matches('/')),
        };
        let own = member.assignment().and_then(|bytes| partitions(bytes, topic)).unwrap_or_default();
        shared.entry(instance).or_default().extend(own);
    }
    shared.values_mut().for_each(|partitions| partitions.sort_unstable());
    shared
}

/// The partitions of a topic in what a member was told; none where it cannot be read.
///
/// **Source**: Kafka, ConsumerProtocolAssignment: version, array of (topic, array of partitions), what the assignor adds.
fn partitions(assignment: &[u8], topic: &str) -> Option<Vec<i32>> {
    let mut bytes = Bytes(assignment);
    bytes.take(2)?;
    let mut found = Vec::new();
    for _ in 0..bytes.number()? {
        let length = u16::from_be_bytes(bytes.take(2)?.try_into().ok()?);
        let name = bytes.take(usize::from(length))?;
        for _ in 0..bytes.number()? {
            let partition = bytes.number()?;
            if name == topic.as_bytes() {
                found.push(partition);
            }
        }
    }
    Some(found)
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_read_as_the_protocol_has_them_and_nothing_else_is() {
        // GIVEN version 1, two topics, and no data of the assignor
        let mut told = vec![0, 1, 0, 0, 0, 2];
        for (topic, partitions) in [("a", &[7_i32][..]), ("clicks", &[0, 3])] {
            told.extend(u16::try_from(topic.len()).expect("short").to_be_bytes());
            told.extend(topic.bytes());
            told.extend(i32::try_from(partitions.len()).expect("few").to_be_bytes());
            told.extend(partitions.iter().flat_map(|partition| partition.to_be_bytes()));
        }
        told.extend([0xff; 4]);
        // THEN each topic has its own
        assert_eq!(partitions(&told, "clicks"), Some(vec![0, 3]));
        assert_eq!(partitions(&told, "a"), Some(vec![7]));
        assert_eq!(partitions(&told, "b"), Some(Vec::new()));
        // AND what is cut off is no answer
        assert_eq!(partitions(&told[..told.len() - 9], "clicks"), None);
        assert_eq!(partitions(&[], "clicks"), None);
    }
}
