//! Offsets and watermarks against each other and against Kafka.

use std::collections::BTreeMap;

use strata_events::StageId;
use strata_events::stream::dlq_topic;
use strata_streams::STREAMS;

use super::report::Check;
use strata_pipeline::watermark::OriginKey;

use super::snapshot::{Offsets, Snapshot};

/// Checks that every stored offset is one that Kafka had, and that no partition is left out.
pub fn check_offsets(snapshot: &Snapshot<'_>) -> Check {
    let mut check = Check::new("offsets lie within their topics");
    let none = BTreeMap::new();
    for stream in STREAMS {
        for (stage, topic) in snapshot.settings.topics.of(&stream.spec) {
            let (offsets, edges) =
                (snapshot.offsets_of(stage.as_str(), topic), snapshot.edges.get(topic).unwrap_or(&none));
            for (partition, next) in &offsets {
                check.compared += 1;
                let place = format!("{stage} stands at {topic}/{partition}/{next}");
                match edges.get(partition) {
                    None => check.differs(|| format!("{place}: no such partition")),
                    Some(edge) if *next < edge.low || *next > edge.high => {
                        check.differs(|| format!("{place}: Kafka holds {} to {}", edge.low, edge.high));
                    }
                    Some(_) => {}
                }
            }
            // A stage that never ran has no offsets at all.
            let left_out = edges.iter().filter(|(p, edge)| edge.high > 0 && !offsets.contains_key(p));
            for (partition, edge) in left_out.filter(|_| !offsets.is_empty()) {
                check.differs(|| {
                    format!("{stage} stands nowhere in {topic}/{partition}, which ends at {}", edge.high)
                });
            }
        }
    }
    check
}

/// A watermark names an input that the stage before had read, or a replay that was numbered.
pub fn check_watermarks(snapshot: &Snapshot<'_>) -> Check {
    let mut check = Check::new("watermarks lie below the offsets of the stage before");
    for stream in STREAMS.iter().filter(|stream| stream.spec.hop(StageId::Cdm).is_some()) {
        let [dds_topic, topic] =
            [StageId::Dds, StageId::Cdm].map(|stage| snapshot.settings.topics.name(stream.spec.topic(stage)));
        let read = snapshot.offsets_of(StageId::Cdm.as_str(), topic);
        let announced = snapshot.offsets_of(StageId::Dds.as_str(), dds_topic);
        let stored = match snapshot.redis.holds(topic) {
            true => snapshot.redis.position.watermarks.clone(),
            false => snapshot.watermarks_of(StageId::Cdm.as_str(), topic),
        };
        let replays = snapshot.replays.get(&(StageId::Cdm.as_str().to_owned(), topic.to_owned()));
        let ends = Ends { topics: [(dds_topic, &announced), (topic, &read)], dlq: dlq_topic(topic), replays };
        compare(&mut check, topic, &stored, &ends);
    }
    check
}

/// Where the sources of a topic's records end.
struct Ends<'a> {
    topics: [(&'a str, &'a Offsets); 2],
    dlq: String,
    replays: Option<&'a i64>,
}

impl Ends<'_> {
    fn of(&self, topic: &str, partition: i32) -> Option<i64> {
        if topic == self.dlq {
            return Some(self.replays.copied().unwrap_or_default() + 1);
        }
        let (_, offsets) = self.topics.iter().find(|(known, _)| *known == topic)?;
        Some(offsets.get(&partition).copied().unwrap_or_default())
    }
}

fn compare(check: &mut Check, topic: &str, stored: &BTreeMap<OriginKey, i64>, ends: &Ends<'_>) {
    for ((read, origin, partition), last) in stored {
        // Written by hand, by whomever, where it is none of the fleet's.
        let Some(end) = ends.of(origin, *partition) else { continue };
        check.compared += 1;
        if *last >= end {
            check.differs(|| {
                format!("{topic}/{read}: applied {origin}/{partition}/{last}, which ends at {end}")
            });
        }
    }
}
