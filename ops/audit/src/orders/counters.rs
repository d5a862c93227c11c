//! The data marts against the fold over the vault, to the row, on a system that does not stand still.
//!
//! dds announces what becomes countable, cdm adds it up later. What cdm has not applied in the snapshot is
//! found as cdm would find it: from its offsets and watermarks on, the records of its topic whose inputs lie
//! below dds' offset in the snapshot, then the outputs that dds has kept, each origin once. Added to the
//! counters they must give the fold.

use std::collections::BTreeMap;

use strata_events::{Contract as _, Origin, StageId};
use strata_observe::read_ranges;
use strata_pipeline::watermark::Watermarks;
use strata_streams::order::CountedMessage;
use strata_streams::order::ORDER;
use strata_streams::order::counters::{Counted, Increments};
use strata_streams::order::fold;
use strata_streams::vault::USER;
use strata_vault::model::Link;
use uuid::Uuid;

use super::super::dead_letters;
use super::super::ordered::{Ordered, Source};
use super::super::outputs::origin_of;
use super::super::report::Check;
use super::super::snapshot::{Offsets, Snapshot};
use super::super::vault::Hub;

/// What cdm has not applied.
#[derive(Default)]
pub struct Waiting {
    /// What they add to the counters.
    pub counted: Counted,
    /// Announcements on their way.
    messages: u64,
    /// Announcements that cdm refused.
    refused: u64,
}

/// Finds what dds has announced and cdm has not applied.
pub fn waiting(snapshot: &Snapshot<'_>) -> anyhow::Result<Waiting> {
    let [dds_topic, cdm_topic] =
        [StageId::Dds, StageId::Cdm].map(|stage| snapshot.settings.topics.name(ORDER.topic(stage)));
    let announced = snapshot.offsets_of(StageId::Dds.as_str(), dds_topic);
    let stored = snapshot.watermarks_of(StageId::Cdm.as_str(), cdm_topic);
    let (mut waiting, mut marks) = (Waiting::default(), Watermarks::new(stored.clone()));
    let unread = snapshot.unread(StageId::Cdm.as_str(), cdm_topic);
    read_ranges(&snapshot.settings.kafka, cdm_topic, &unread, |record| {
        // What cannot be decoded will be a dead letter.
        if let Ok(message) = CountedMessage::decode(&record.payload)
            && marks.advance(record.partition, &record.source())
        {
            waiting.messages += waiting.add(&announced, dds_topic, &record.source(), &message);
        }
        Ok(())
    })?;
    for output in snapshot.kept_for(StageId::Dds.as_str(), dds_topic, cdm_topic) {
        let partition = output.partition_among(snapshot.partitions(cdm_topic));
        if let (Some(origin), Ok(message)) = (origin_of(output), CountedMessage::decode(&output.payload))
            && marks.advance(partition, &origin)
        {
            waiting.messages += waiting.add(&announced, dds_topic, &origin, &message);
        }
    }
    for dead_letter in dead_letters::unapplied(snapshot, cdm_topic, &stored) {
        if let (Some(start), Ok(message)) =
            (dead_letter.start(), CountedMessage::decode(&dead_letter.payload))
        {
            waiting.refused += waiting.add(&announced, dds_topic, &start, &message);
        }
    }
    Ok(waiting)
}

impl Waiting {
    /// What is worth knowing of them.
    pub fn notes(&self) -> Vec<String> {
        let Self { messages, refused, .. } = self;
        let on_their_way =
            (*messages > 0).then(|| format!("{messages} announcements are on their way from dds to cdm"));
        let refused = (*refused > 0)
            .then(|| format!("{refused} announcements are dead letters of cdm and count as not applied"));
        on_their_way.into_iter().chain(refused).collect()
    }

    /// Adds an announcement unless it was made after the snapshot, or by somebody else than dds.
    fn add(
        &mut self,
        announced: &Offsets,
        dds_topic: &str,
        origin: &Origin,
        message: &CountedMessage<'_>,
    ) -> u64 {
        let in_snapshot = *origin.topic == *dds_topic
            && announced.get(&origin.partition).is_some_and(|next| origin.offset < *next);
        if in_snapshot {
            self.counted.add(message);
        }
        u64::from(in_snapshot)
    }
}

/// One table of counters beside the fold, in the order of the users.
pub struct Mart<'a> {
    thing: &'static str,
    things: &'a Hub,
    waiting: &'a Increments,
    counters: Ordered,
    fold: Ordered,
    /// What was found.
    pub check: Check,
}

impl<'a> Mart<'a> {
    /// Opens the table; `link` is that of orders with what is counted.
    pub fn open(
        source: &Source,
        thing: &'static str,
        things: &'a Hub,
        link: &Link,
        waiting: &'a Increments,
    ) -> Self {
        let counters = format!(
            "select user_id, {thing}_id, {thing}_name, order_cnt from cdm.user_{thing}_counters order by user_id"
        );
        let check = Check::new(format!("dds → cdm: counters by {thing} are the fold"));
        let (counters, fold) = (
            source.ordered(counters),
            source.ordered(format!("{} order by {}", fold::counters(link), USER.key)),
        );
        Self { thing, things, waiting, counters, fold, check }
    }

    /// The tables, to look for the next user.
    pub fn tables(&mut self) -> [&mut Ordered; 2] {
        [&mut self.counters, &mut self.fold]
    }

    /// Compares the counters of a user with the fold; `named` gets what is counted and the name of every row.
    pub fn compare(
        &mut self,
        user: Uuid,
        user_name: Option<&str>,
        mut named: impl FnMut(u32, &str),
    ) -> anyhow::Result<()> {
        let Self { thing, things, waiting, counters, fold, check } = self;
        let mut expected: BTreeMap<Uuid, i64> = BTreeMap::new();
        fold.rows(user, |row| {
            expected.insert(row.uuid(1)?, row.bigint(2)?);
            Ok(())
        })?;
        for ((_, counted), (_, times)) in waiting.range((user, Uuid::nil())..=(user, Uuid::max())) {
            // What the vault does not have cannot have been announced by dds.
            if user_name.is_some() && things.find(*counted).is_some() {
                *expected.entry(*counted).or_default() -= times;
            }
        }
        let place = |counted: Uuid| match (user_name, things.find(counted)) {
            (Some(user), Some(number)) => format!("user {user}, {thing} {}", things.name(number)),
            _ => format!("user {user}, {thing} {counted}"),
        };
        counters.rows(user, |row| {
            let (counted, count) = (row.uuid(1)?, row.bigint(3)?);
            check.compared += 1;
            let in_vault = expected.remove(&counted).unwrap_or_default();
            if in_vault != count {
                check.differs(|| {
                    let place = place(counted);
                    format!("user_{thing}_counters: {place}: {count} orders, {in_vault} in the vault")
                });
            }
            if let Some(number) = things.find(counted) {
                named(number, row.text(2)?);
            }
            Ok(())
        })?;
        for (counted, count) in expected.into_iter().filter(|(_, count)| *count != 0) {
            check.differs(|| {
                let place = place(counted);
                format!("user_{thing}_counters: {place}: no row, {count} orders in the vault")
            });
        }
        Ok(())
    }
}
