//! What dds announced and cdm has not applied in the snapshot.
//!
//! It is found as cdm would find it: from its offsets and watermarks on, the records of its topic whose inputs lie below
//! dds' offset in the snapshot, then the outputs that dds has kept, each origin once; and what cdm refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use strata_events::event_id::EVENT_ID_HEADER;
use strata_events::stream::dlq_topic;
use strata_events::{Origin, StageId, origin};
use strata_observe::read_ranges;
use strata_pipeline::watermark::{OriginKey, Watermarks};
use strata_streams::StreamDef;
use strata_streams::mart::Increments;
use strata_vault::hub_key;
use uuid::Uuid;

use super::dead_letters::DeadLetter;
use super::identity::identity;
use super::outputs::{header, origin_of};
use super::redis::Offsets;
use super::snapshot::Snapshot;

/// What cdm has not applied of a stream.
#[derive(Default)]
pub struct Unapplied {
    /// What it adds to the counters, in the order of the stream's.
    pub added: Vec<Increments>,
    /// Events that the metrics do not count, by key: true where the touched values do.
    pub withheld: HashMap<Uuid, bool>,
    /// Announcements on their way.
    messages: u64,
    /// Announcements that cdm refused.
    refused: u64,
}

impl Unapplied {
    /// Finds it; nothing of a stream that does not pass cdm.
    pub fn find(snapshot: &Snapshot<'_>, stream: &StreamDef) -> anyhow::Result<Self> {
        let mut unapplied =
            Self { added: stream.counters().map(|_| Increments::new()).collect(), ..Self::default() };
        let Some(hop) = stream.spec.hop(StageId::Cdm) else { return Ok(unapplied) };
        let [dds_topic, topic] =
            [stream.spec.topic(StageId::Dds), hop.topic].map(|topic| snapshot.settings.topics.name(topic));
        let (dds, cdm) = (StageId::Dds.as_str(), StageId::Cdm.as_str());
        let (announced, stored) = (snapshot.offsets_of(dds, dds_topic), snapshot.watermarks_of(cdm, topic));
        let made = |origin: &Origin| is_below(origin, dds_topic, &announced);
        let replays = dlq_topic(topic);
        // What cannot be read will be a dead letter.
        let is_readable =
            |body: &[u8]| stream.message(StageId::Cdm).is_some_and(|message| (message.rewrite)(body).is_ok());
        let mut marks = Watermarks::new(stored.clone());
        let later = snapshot.redis.later.as_ref().filter(|_| snapshot.redis.holds(topic));
        read_ranges(&snapshot.settings.kafka, topic, &snapshot.unread(cdm, topic), |record| {
            let source = record.source();
            if !is_readable(&record.payload) || !marks.advance(record.partition, &source) {
                return Ok(());
            }
            let next = later.and_then(|later| later.offsets.get(&record.partition));
            let is_later = next.is_some_and(|next| record.offset < *next);
            // A replay is counted as the dead letter that it is.
            if made(&source) || *source.topic == *replays {
                let event_id = record.event_id.as_deref();
                unapplied.withhold(stream, event_id, &record.payload, &record.start(), is_later);
            }
            if made(&source) {
                unapplied.count(stream, &record.payload);
                unapplied.messages += 1;
            }
            Ok(())
        })?;
        for output in snapshot.kept_for(dds, dds_topic, topic) {
            let partition = output.partition_among(snapshot.partitions(topic));
            let Some(source) = origin_of(output).filter(made) else { continue };
            if is_readable(&output.payload) && marks.advance(partition, &source) {
                let replay_of = header(output, origin::REPLAY_OF_HEADER).and_then(|start| start.parse().ok());
                let event_id = header(output, EVENT_ID_HEADER);
                unapplied.withhold(stream, event_id, &output.payload, &replay_of.unwrap_or(source), false);
                unapplied.count(stream, &output.payload);
                unapplied.messages += 1;
            }
        }
        for dead_letter in refused(snapshot, topic, &stored) {
            let Some(start) = dead_letter.start().filter(made) else { continue };
            let (body, event_id) = (&dead_letter.payload, dead_letter.event_id.as_deref());
            let is_event = unapplied.withhold(stream, event_id, body, &start, false);
            unapplied.refused += u64::from(unapplied.count(stream, body) || is_event);
        }
        Ok(unapplied)
    }

    /// Adds what an announcement adds to the counters; false where that is nothing.
    fn count(&mut self, stream: &StreamDef, body: &[u8]) -> bool {
        let mut is_counted = false;
        for (counters, added) in stream.counters().zip(&mut self.added) {
            for (key, (name, times)) in (counters.adds)(body).unwrap_or_default() {
                added.entry(key).or_insert((name, 0)).1 += times;
                is_counted = true;
            }
        }
        is_counted
    }

    /// Notes that the metrics do not count an event; false where there are none, or it is not known which event.
    fn withhold(
        &mut self,
        stream: &StreamDef,
        event_id: Option<&str>,
        body: &[u8],
        start: &Origin,
        is_later: bool,
    ) -> bool {
        let id = stream.metrics().and_then(|_| identity(stream, StageId::Cdm, event_id, body, start));
        id.map(|id| self.withheld.entry(hub_key(&id)).or_insert(is_later)).is_some()
    }

    /// What is worth knowing of it.
    pub fn notes(&self, stream: &StreamDef) -> Vec<String> {
        let (Self { messages, refused, .. }, many) = (self, stream.words.many);
        let on_their_way = (*messages > 0)
            .then(|| format!("{messages} announcements of {many} are on their way from dds to cdm"));
        let refused = (*refused > 0).then(|| {
            format!("{refused} announcements of {many} are dead letters of cdm and count as not applied")
        });
        on_their_way.into_iter().chain(refused).collect()
    }
}

/// True of a record of dds' topic that dds had read.
fn is_below(origin: &Origin, dds_topic: &str, read: &Offsets) -> bool {
    *origin.topic == *dds_topic && read.get(&origin.partition).is_some_and(|next| origin.offset < *next)
}

/// Dead letters of cdm whose effect is missing: refused, and no replay was applied since.
///
/// **Shape**: `watermarks` are those of the stage's store, which say how far replays were applied.
fn refused<'a>(
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
                // Another dead letter stands for this one, or a rebuild has counted it.
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
