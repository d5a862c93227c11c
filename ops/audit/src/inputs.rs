//! What Kafka holds of the fleet's inputs against the raw layer: events in are events stored or dead letters.
//!
//! Every record that Kafka still holds below stg's offset is either a dead letter at its coordinates, with the
//! body of the record, or its event is staged: of an order the newest version, so one that was sent no
//! earlier than the record's; what an older version said is in the vault, too. And every dead letter whose coordinates Kafka still holds is such a record.
//! Records that Kafka has deleted, and those above the offset, are not looked at.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use strata_events::{StageId, StreamSpec};
use strata_pipeline::Record;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::order::ORDER;
use strata_vault::hub_key;
use uuid::Uuid;

use super::keys::Marks;
use super::letters::{Letter, fingerprint};
use super::metrics::key_of;
use super::orders::{staged, vault::OrderVault};
use super::report::Check;
use super::searches;
use super::searches::vault::SearchVault;
use super::snapshot::Snapshot;
use strata_observe::Fleet;
use strata_observe::read_ranges;

/// What became of a record's event in the raw layer.
enum Fate {
    Stored,
    Superseded,
    Missing(String),
}

/// What of an order's record says which version it is.
#[derive(Deserialize)]
struct Sent {
    object_id: i64,
    sent_dttm: DateTime<Utc>,
}

/// An order's record as far as the vault keeps it.
#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    user: Id<'a>,
    #[serde(borrow)]
    order_items: Vec<Id<'a>>,
    final_status: &'a str,
    #[serde(borrow)]
    cost: &'a RawValue,
    #[serde(borrow)]
    payment: &'a RawValue,
}

/// Business keys are plain: a valid one needs no escapes.
#[derive(Deserialize)]
struct Id<'a> {
    id: &'a str,
}

/// What of a search's record may say which search it is.
#[derive(Deserialize)]
struct Identity {
    event_id: Option<String>,
}

/// Checks the records of the orders.
pub fn check_orders(
    snapshot: &Snapshot<'_>,
    fleet: &Fleet,
    vault: &OrderVault,
    staged: &staged::Staged,
) -> anyhow::Result<(Check, String)> {
    check(snapshot, fleet, &ORDER, "order", |record| {
        let Ok(Sent { object_id, sent_dttm }) = serde_json::from_slice(&record.payload) else {
            return Fate::Missing("cannot be read".to_owned());
        };
        let number = vault.orders.find(&hub_key(&object_id.to_string()));
        // As Postgres keeps it.
        let sent = sent_dttm.timestamp_micros();
        match number.and_then(|number| Some((number, staged.sent(number)?))) {
            Some((_, stored)) if stored == sent => Fate::Stored,
            Some((_, stored)) if stored < sent => {
                Fate::Missing(format!("is newer than order {object_id} in stg.order_events"))
            }
            Some(_) if staged.excused.contains(&object_id) => Fate::Superseded,
            Some((number, _)) => match older(vault, number, &record.payload) {
                None => Fate::Superseded,
                Some(missing) => {
                    Fate::Missing(format!("is an older version of order {object_id}: {missing}"))
                }
            },
            None => Fate::Missing(format!("is of order {object_id}, which is not staged")),
        }
    })
}

/// What of an older version the vault does not have. The newest is compared as it is staged.
fn older(vault: &OrderVault, number: u32, body: &[u8]) -> Option<String> {
    let Ok(Order { payload }) = serde_json::from_slice(body) else {
        return Some("cannot be read".to_owned());
    };
    let version = staged::Version {
        user: Some(payload.user.id),
        products: payload.order_items.iter().map(|item| item.id).collect(),
        status: payload.final_status,
        cost: payload.cost.get(),
        payment: payload.payment.get(),
    };
    let missing = version.missing(vault, number);
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// Checks the records of the searches.
pub fn check_searches(
    snapshot: &Snapshot<'_>,
    fleet: &Fleet,
    vault: &SearchVault,
    staged: &searches::staged::Staged,
) -> anyhow::Result<(Check, String)> {
    let mut seen = Marks::default();
    check(snapshot, fleet, &HOTEL_SEARCH, "search", |record| {
        let Some(key) = search_key(record) else { return Fate::Missing("cannot be read".to_owned()) };
        match vault.searches.find(&key).filter(|number| staged.known.has(*number)) {
            Some(number) if seen.set(number) => Fate::Stored,
            Some(_) => Fate::Superseded,
            None => Fate::Missing(format!("is of the search with the key {key}, which is not staged")),
        }
    })
}

/// The key of a search as stg finds it: the header's identity, else the body's, else the place's.
fn search_key(record: &Record) -> Option<Uuid> {
    match &record.event_id {
        Some(given) => key_of(Some(given), &record.start()),
        None => {
            let identity: Identity = serde_json::from_slice(&record.payload).ok()?;
            key_of(identity.event_id.as_deref(), &record.start())
        }
    }
}

fn check(
    snapshot: &Snapshot<'_>,
    fleet: &Fleet,
    stream: &StreamSpec,
    kind: &str,
    mut fate: impl FnMut(&Record) -> Fate,
) -> anyhow::Result<(Check, String)> {
    let topic = snapshot.settings.topics.name(stream.topic(StageId::Stg));
    let mut check = Check::new(format!("Kafka → stg: every {kind} read is staged or a dead letter"));
    let ranges = held(snapshot, fleet, topic)?;
    let own = |letter: &&Letter| {
        letter.stage == StageId::Stg.as_str() && letter.topic == topic && letter.offset >= 0
    };
    let mut letters: HashMap<(i32, i64), &Letter> = snapshot
        .letters
        .iter()
        .filter(own)
        .map(|letter| ((letter.partition, letter.offset), letter))
        .collect();
    let (mut stored, mut superseded, mut refused, mut forgotten) = (0_u64, 0_u64, 0_u64, 0_u64);
    let remembered_ms = (Utc::now() - snapshot.settings.keep_settled).timestamp_millis();
    let replays =
        snapshot.replays.get(&(StageId::Stg.as_str().to_owned(), topic.to_owned())).copied().unwrap_or(0);
    read_ranges(&snapshot.settings.kafka, topic, &ranges, |mut record| {
        check.compared += 1;
        if record.replay_seq().is_none_or(|seq| seq > replays) {
            record.forget_origin();
        }
        let place = (record.partition, record.offset);
        if let Some(letter) = letters.remove(&place) {
            refused += 1;
            if letter.body != fingerprint(&record.payload) {
                let (id, partition, offset) = (letter.id, place.0, place.1);
                check.differs(|| {
                    format!("ops.dead_letters: {id} holds another body than {topic}/{partition}/{offset}")
                });
            }
            return Ok(());
        }
        match fate(&record) {
            Fate::Stored => stored += 1,
            Fate::Superseded => superseded += 1,
            // Its dead letter, had it been one that was settled, would be removed by now.
            Fate::Missing(_) if record.timestamp_ms < remembered_ms => forgotten += 1,
            Fate::Missing(why) => {
                check.differs(|| format!("{topic}/{}/{} {why}, and is no dead letter", place.0, place.1));
            }
        }
        Ok(())
    })?;
    for ((partition, offset), letter) in letters {
        if ranges.get(&partition).is_some_and(|(from, to)| (*from..*to).contains(&offset)) {
            let id = letter.id;
            check.differs(|| {
                format!(
                    "ops.dead_letters: {id} is {topic}/{partition}/{offset}, which Kafka has no record of"
                )
            });
        }
    }
    let forgotten = match forgotten {
        0 => String::new(),
        n => format!(", {n} are neither, and older than dead letters are remembered"),
    };
    let again = match superseded {
        0 => String::new(),
        n => format!(", {n} are further records of the same events"),
    };
    let all = check.compared;
    let note = format!(
        "{topic}: of {all} records that Kafka holds below stg's offsets {stored} are stored{again}, {refused} are dead letters{forgotten}"
    );
    Ok((check, note))
}

/// What Kafka holds below stg's offsets now: retention may have deleted records since the snapshot.
fn held(snapshot: &Snapshot<'_>, fleet: &Fleet, topic: &str) -> anyhow::Result<BTreeMap<i32, (i64, i64)>> {
    let offsets = snapshot.offsets_of(StageId::Stg.as_str(), topic);
    let lows = fleet.watermarks(topic)?.into_iter();
    let edges = snapshot.edges.get(topic);
    let ranges = lows.filter_map(|(partition, low, _)| {
        let high = edges?.get(&partition)?.high;
        Some((partition, (low, offsets.get(&partition)?.min(&high).to_owned())))
    });
    Ok(ranges.collect())
}
