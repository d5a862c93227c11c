//! Offsets, watermarks, outputs and dead letters against each other and against Kafka.

use std::collections::BTreeMap;

use strata_events::StageId;
use strata_events::stream::dlq_topic;
use strata_pipeline::watermark::OriginKey;
use strata_streams::STREAMS;

use super::dead_letters::DeadLetter;
use super::outputs::origin_of;
use super::redis::Offsets;
use super::report::{Check, Report};
use super::snapshot::Snapshot;

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
        let stored = snapshot.watermarks_of(StageId::Cdm.as_str(), topic);
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

/// Every kept output was made of a record that its stage had read.
pub fn check_outputs(snapshot: &Snapshot<'_>) -> Check {
    let mut check = Check::new("outputs that wait were made of records below their stage's offset");
    for kept in &snapshot.kept {
        let place = format!("ops.pending_outputs: {} of {}/{}", kept.stage, kept.topic, kept.partition);
        let next = snapshot.offsets_of(&kept.stage, &kept.topic).get(&kept.partition).copied();
        if let Some(why) = &kept.broken {
            check.differs(|| format!("{place} cannot be read: {why}"));
        }
        for output in &kept.outputs {
            check.compared += 1;
            let origin = origin_of(output);
            let read = origin.as_ref().is_some_and(|origin| {
                *origin.topic == *kept.topic
                    && origin.partition == kept.partition
                    && next.is_some_and(|next| origin.offset < next)
            });
            if !read {
                let origin = origin.map_or_else(|| "nothing".to_owned(), |origin| origin.to_string());
                check.differs(|| format!("{place} holds one made of {origin}, next is {next:?}"));
            }
        }
    }
    check
}

/// Checks the dead letters of all streams.
pub fn check_dead_letters(snapshot: &Snapshot<'_>, report: &mut Report) {
    let mut check = Check::new("dead letters lie below their stage's offsets");
    for dead_letter in &snapshot.dead_letters {
        check.compared += 1;
        if let Some(why) = misplaced(snapshot, dead_letter) {
            check.differs(|| format!("ops.dead_letters: {} {why}", dead_letter.id));
        }
    }
    report.checks.push(check);

    let mut unsettled: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for dead_letter in &snapshot.dead_letters {
        let kind = match dead_letter.status.as_str() {
            "open" | "replaying" => "dead letters",
            "parked" => "parked records",
            _ => continue,
        };
        *unsettled.entry((kind, &dead_letter.stage, &dead_letter.reason)).or_default() += 1;
    }
    for ((kind, stage, reason), count) in unsettled {
        report.notes.push(format!("{count} {kind} of {stage} are open: {reason}"));
    }
}

/// What is wrong with the place of a dead letter or with its number.
fn misplaced(snapshot: &Snapshot<'_>, dead_letter: &DeadLetter) -> Option<String> {
    let DeadLetter { id, stage, topic, partition, offset, .. } = dead_letter;
    let last = snapshot.replays.get(&(stage.clone(), topic.clone())).copied().unwrap_or(0);
    if dead_letter.replay_seq.is_some_and(|seq| seq > last) {
        let seq = dead_letter.replay_seq.unwrap_or_default();
        return Some(format!("is replay {seq} of {topic}, the last of which was {last}"));
    }
    if *offset < 0 {
        // Moved aside when the topic was recreated; see loss::message.
        let aside = *offset == -id;
        return (!aside).then(|| format!("has the offset {offset}, which is neither one nor its number"));
    }
    let place = format!("{topic}/{partition}/{offset}");
    let known = STREAMS.iter().any(|stream| {
        snapshot.settings.topics.of(&stream.spec).any(|(s, t)| t == topic && s.as_str() == stage)
    });
    let next = snapshot.offsets_of(stage, topic).get(partition).copied();
    match next {
        // A stage whose offsets are not in Postgres stores its dead letters before it moves on.
        _ if snapshot.redis.holds(topic) => {
            let high = snapshot.edges.get(topic)?.get(partition).map(|edge| edge.high);
            high.is_none_or(|high| *offset >= high)
                .then(|| format!("is {place}, but Kafka ends at {high:?} there"))
        }
        Some(next) => (*offset >= next).then(|| format!("is {place}, but {stage} stands at {next}")),
        // Topics may have had other names once.
        None => known.then(|| format!("is {place}, which {stage} never read")),
    }
}
