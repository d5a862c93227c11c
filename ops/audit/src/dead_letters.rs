//! Dead letters against the offsets that passed them by and the numbers that replays were given.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use strata_events::stream::dlq_topic;
use strata_events::{Origin, StageId};
use strata_streams::STREAMS;

use super::ordered::Source;
use super::report::{Check, Report};
use strata_pipeline::watermark::OriginKey;

use super::snapshot::Snapshot;

/// A row of `ops.dead_letters`, as far as the checks look at it.
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// Layer that refused it.
    pub stage: String,
    /// Topic it was read from.
    pub topic: String,
    /// Partition it was read from.
    pub partition: i32,
    /// Offset; its number below zero where the topic was recreated since.
    pub offset: i64,
    /// Code of the reason.
    pub reason: String,
    /// open, replaying, replayed or discarded.
    pub status: String,
    /// Its origin header.
    pub origin: Option<String>,
    /// The record that started the event's way, where its headers named one.
    pub source: Option<String>,
    /// Its `event_id` header.
    pub event_id: Option<String>,
    /// Number of its replay.
    pub replay_seq: Option<i64>,
    /// Body, of letters of dds and cdm.
    pub payload: Vec<u8>,
    /// Fingerprint of the body.
    pub body: u64,
}

impl DeadLetter {
    /// The record that started the event's way.
    pub fn start(&self) -> Option<Origin> {
        match self.source.as_ref().or(self.origin.as_ref()) {
            Some(text) => text.parse().ok(),
            None => Some(Origin {
                topic: self.topic.as_str().into(),
                partition: self.partition,
                offset: self.offset,
            }),
        }
    }
}

/// Fingerprint of a body.
pub fn fingerprint(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}

/// Reads all of them.
pub fn read(source: &Source) -> anyhow::Result<Vec<DeadLetter>> {
    let mut refused = Vec::new();
    let select = "select id, stage, topic, partition::bigint, \"offset\", reason, status, origin, source, event_id, \
                  replay_seq, payload from ops.dead_letters";
    source.all(select, |row| {
        let text = |column| anyhow::Ok(row.text(column)?.to_owned());
        let optional = |column| anyhow::Ok(row.optional_text(column)?.map(str::to_owned));
        let (stage, payload) = (text(1)?, row.bytea(11)?);
        refused.push(DeadLetter {
            id: row.bigint(0)?,
            topic: text(2)?,
            partition: i32::try_from(row.bigint(3)?)?,
            offset: row.bigint(4)?,
            reason: text(5)?,
            status: text(6)?,
            origin: optional(7)?,
            source: optional(8)?,
            event_id: optional(9)?,
            replay_seq: row.optional_bigint(10)?,
            body: fingerprint(payload),
            payload: if stage == StageId::Stg.as_str() { Vec::new() } else { payload.to_vec() },
            stage,
        });
        Ok(())
    })?;
    Ok(refused)
}

/// Dead letters of cdm whose effect is missing: refused, and no replay was applied since.
///
/// **Shape**: `watermarks` are those of the stage's store, which say how far replays were applied.
pub fn unapplied<'a>(
    snapshot: &'a Snapshot<'_>,
    topic: &str,
    watermarks: &BTreeMap<OriginKey, i64>,
) -> Vec<&'a DeadLetter> {
    let dlq: Arc<str> = dlq_topic(topic).into();
    let own = || {
        snapshot
            .dead_letters
            .iter()
            .filter(|dead_letter| dead_letter.stage == StageId::Cdm.as_str() && dead_letter.topic == topic)
    };
    let refused_again: BTreeSet<&str> =
        own().filter_map(|dead_letter| dead_letter.origin.as_deref()).collect();
    own()
        .filter(|dead_letter| {
            let settled = match dead_letter.replay_seq {
                // Another dead_letter stands for this one, or a rebuild has counted it.
                None => dead_letter.status == "replayed",
                Some(seq) => {
                    let last = watermarks.get(&(dead_letter.partition, Arc::clone(&dlq), 0));
                    last.is_some_and(|last| *last >= seq)
                        || refused_again.contains(format!("{dlq}/0/{seq}").as_str())
                }
            };
            !settled
        })
        .collect()
}

/// Checks the dead letters of all streams.
pub fn check(snapshot: &Snapshot<'_>, report: &mut Report) {
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

/// What is wrong with the place of a dead_letter or with its number.
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
