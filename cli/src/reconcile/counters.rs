//! The data marts against the fold over the vault, to the row, on a system that does not stand still.
//!
//! dds announces what becomes countable, cdm adds it up later. What cdm has not applied in the snapshot is
//! found as cdm would find it: from its offsets and watermarks on, the records of its topic whose inputs lie
//! below dds' offset in the snapshot, then the outputs that dds has kept, each origin once. Added to the
//! counters they must give the fold.

use std::collections::{BTreeMap, BTreeSet};

use cdm::counters::{Counted, Increments};
use cdm::watermark::Watermarks;
use futures::TryStreamExt as _;
use strata_events::stream::{ORDER, dlq_topic};
use strata_events::{Contract as _, CountedMessage, Origin, origin};
use strata_runtime::Settings;
use strata_runtime::kafka::Output;
use uuid::Uuid;

use super::report::{Check, Report};
use super::snapshot::{Lane, Offsets, Snapshot};
use crate::kafka::{partition_of, read_ranges};

/// Checks the counters of the order stream.
pub async fn check(settings: &Settings, snapshot: &mut Snapshot, report: &mut Report) -> anyhow::Result<()> {
    let [_, dds_topic, cdm_topic] = settings.topics.of(&ORDER);
    let announced = snapshot.offsets_of("dds", dds_topic);
    let stored = snapshot.watermarks("cdm", cdm_topic).await?;
    report.checks.push(check_watermarks(snapshot, &stored, [dds_topic, cdm_topic]).await?);

    let mut waiting = Waiting { announced, dds_topic, counted: Counted::default(), messages: 0 };
    let mut marks = Watermarks::new(stored.clone());
    read_ranges(&settings.kafka, cdm_topic, &snapshot.unread("cdm", cdm_topic), |record| {
        if marks.advance(record.partition, &record.source()) {
            waiting.add(&record.source(), &record.payload);
        }
        Ok(())
    })?;
    let partitions = snapshot.edges.get(cdm_topic).map_or(0, BTreeMap::len);
    for output in snapshot.pending("dds", dds_topic).await? {
        let Some(origin) = origin_of(&output).filter(|_| output.topic == cdm_topic) else { continue };
        let key = output.key.as_deref().unwrap_or_default();
        let partition = partition_of(key, i32::try_from(partitions).unwrap_or(i32::MAX));
        if marks.advance(partition, &origin) {
            waiting.add(&origin, &output.payload);
        }
    }
    if waiting.messages > 0 {
        report.notes.push(format!("{} announcements are on their way from dds to cdm", waiting.messages));
    }
    let refused = refused(snapshot, cdm_topic, dds_topic, &stored, &mut waiting).await?;
    if refused > 0 {
        report
            .notes
            .push(format!("{refused} announcements are dead letters of cdm and count as not applied"));
    }
    let counted = waiting.counted;
    report.checks.push(compare(snapshot, "product", &counted.products).await?);
    report.checks.push(compare(snapshot, "category", &counted.categories).await?);
    report.checks.push(check_names(snapshot).await?);
    Ok(())
}

/// What dds has announced and cdm has not applied.
struct Waiting<'a> {
    announced: Offsets,
    dds_topic: &'a str,
    counted: Counted,
    messages: u64,
}

impl Waiting<'_> {
    /// Adds an announcement unless it was made after the snapshot, or by somebody else than dds.
    fn add(&mut self, origin: &Origin, payload: &[u8]) {
        let in_snapshot = origin.topic == self.dds_topic
            && self.announced.get(&origin.partition).is_some_and(|next| origin.offset < *next);
        // What cannot be decoded is a dead letter, or will be one.
        if in_snapshot && let Ok(message) = CountedMessage::decode(payload) {
            self.counted.add(&message);
            self.messages += 1;
        }
    }
}

fn origin_of(output: &Output) -> Option<Origin> {
    output.headers.iter().find(|(name, _)| name == origin::HEADER)?.1.parse().ok()
}

/// Announcements that cdm refused and that no replay has applied since.
async fn refused(
    snapshot: &mut Snapshot,
    cdm_topic: &str,
    dds_topic: &str,
    stored: &BTreeMap<Lane, i64>,
    waiting: &mut Waiting<'_>,
) -> anyhow::Result<u64> {
    type Letter = (i32, Option<String>, Option<String>, Option<i64>, String, Vec<u8>);
    let letters: Vec<Letter> = sqlx::query_as(
        "select partition, origin, source, replay_seq, status, payload from ops.dead_letters \
         where stage = 'cdm' and topic = $1",
    )
    .bind(cdm_topic)
    .fetch_all(&mut **snapshot.connection())
    .await?;
    let dlq = dlq_topic(cdm_topic);
    let refused_again: BTreeSet<String> = letters.iter().filter_map(|letter| letter.1.clone()).collect();
    let mut refused = 0;
    for (partition, own, source, replay_seq, status, payload) in &letters {
        let settled = match replay_seq {
            // Another letter stands for this one, or a rebuild has counted it.
            None => status == "replayed",
            Some(seq) => {
                let last = stored.get(&(*partition, dlq.clone(), 0));
                last.is_some_and(|last| last >= seq) || refused_again.contains(&format!("{dlq}/0/{seq}"))
            }
        };
        let start = source.as_ref().or(own.as_ref()).and_then(|text| text.parse::<Origin>().ok());
        let Some(start) = start.filter(|start| !settled && start.topic == dds_topic) else { continue };
        let before = waiting.messages;
        waiting.add(&start, payload);
        refused += waiting.messages - before;
        waiting.messages = before;
    }
    Ok(refused)
}

/// A watermark names an input that the stage before had read, or a replay that was numbered.
async fn check_watermarks(
    snapshot: &mut Snapshot,
    stored: &BTreeMap<Lane, i64>,
    [dds_topic, cdm_topic]: [&str; 2],
) -> anyhow::Result<Check> {
    let mut check = Check::new("dds → cdm: watermarks lie below dds' offsets");
    let (dds, cdm) = (snapshot.offsets_of("dds", dds_topic), snapshot.offsets_of("cdm", cdm_topic));
    let last_seq: Option<i64> =
        sqlx::query_scalar("select last_seq from ops.replay_sequences where stage = 'cdm' and topic = $1")
            .bind(cdm_topic)
            .fetch_optional(&mut **snapshot.connection())
            .await?;
    let dlq = dlq_topic(cdm_topic);
    for ((read, topic, partition), last) in stored {
        let end = match topic.as_str() {
            topic if topic == dds_topic => dds.get(partition).copied().unwrap_or_default(),
            topic if topic == cdm_topic => cdm.get(partition).copied().unwrap_or_default(),
            topic if topic == dlq => last_seq.unwrap_or_default() + 1,
            // Written by hand, by whomever.
            _ => continue,
        };
        check.compared += 1;
        if *last >= end {
            check.differs(|| {
                format!("{cdm_topic}/{read}: applied {topic}/{partition}/{last}, which ends at {end}")
            });
        }
    }
    Ok(check)
}

/// Compares one table of counters. `thing` is `product` or `category`.
async fn compare(snapshot: &mut Snapshot, thing: &str, waiting: &Increments) -> anyhow::Result<Check> {
    let mut check = Check::new(format!("dds → cdm: counters by {thing} are the fold"));
    check.compared = snapshot.count(&format!("cdm.user_{thing}_counters")).await?;
    let statement = format!(
        "with closed as (select distinct h_order_pk from dds.s_order_status where status = 'CLOSED'), \
         fold as (select u.h_user_pk as user_id, m.h_{thing}_pk as {thing}_id, count(*) as n \
             from closed join dds.l_order_user as u using (h_order_pk) join dds.l_order_{thing} as m using (h_order_pk) \
             group by u.h_user_pk, m.h_{thing}_pk), \
         counted as (select user_id, {thing}_id, sum(n)::bigint as n from ( \
             select user_id, {thing}_id, order_cnt as n from cdm.user_{thing}_counters \
             union all select * from unnest($1::uuid[], $2::uuid[], $3::bigint[])) as c group by user_id, {thing}_id) \
         select 'user_{thing}_counters: user ' || user_id || ', {thing} ' || {thing}_id || ': ' || coalesce(counted.n, 0) \
             || ' orders, ' || coalesce(fold.n, 0) || ' in the vault' \
         from fold full join counted using (user_id, {thing}_id) \
         where fold.n is distinct from counted.n"
    );
    let (users, things): (Vec<Uuid>, Vec<Uuid>) = waiting.keys().copied().unzip();
    let counts: Vec<i64> = waiting.values().map(|(_, n)| *n).collect();
    let query =
        sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(statement)).bind(users).bind(things).bind(counts);
    let mut rows = query.fetch(&mut **snapshot.connection());
    while let Some(row) = rows.try_next().await? {
        check.differs(|| row);
    }
    Ok(check)
}

/// A counter's name is one that the vault knows.
async fn check_names(snapshot: &mut Snapshot) -> anyhow::Result<Check> {
    let mut check = Check::new("dds → cdm: names of counters are in the vault");
    for (thing, known) in [
        (
            "product",
            "select from dds.s_product_names as n where n.h_product_pk = c.product_id and n.name = c.product_name",
        ),
        (
            "category",
            "select from dds.h_category as h where h.h_category_pk = c.category_id and h.category_name = c.category_name",
        ),
    ] {
        check.compared += snapshot.count(&format!("cdm.user_{thing}_counters")).await?;
        let statement = format!(
            "select 'user_{thing}_counters: user ' || c.user_id || ', {thing} ' || c.{thing}_id || ' was never called ' || c.{thing}_name \
             from cdm.user_{thing}_counters as c where not exists ({known})"
        );
        snapshot.differences(&mut check, statement).await?;
    }
    Ok(check)
}
