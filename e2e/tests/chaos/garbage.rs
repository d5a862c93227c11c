//! Records that no stage can use, and the dead letters that must come of exactly these.

use std::collections::BTreeSet;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::json;
use strata_events::stream::dlq_topic;
use strata_streams::STREAMS;
use strata_streams::source::{Make, Start};
use strata_testkit::{NewRecord, Service, TopicRecord};

use super::{Chaos, events};
use crate::support::simple_order;

/// Every garbage record says so, in its key or its body; no other record does.
const MARK: &str = "garbage";

/// A garbage body for any topic.
pub fn body(random: &mut StdRng) -> Vec<u8> {
    let number: u32 = random.random();
    match random.random_range(0..4) {
        0 => format!("{MARK} {number}").into_bytes(),
        1 => format!("{{\"{MARK}\": {number}").into_bytes(),
        2 => format!("{{\"{MARK}\": {number}}}").into_bytes(),
        _ => [&b"\xff\xfe\x00"[..], MARK.as_bytes(), &number.to_be_bytes()].concat(),
    }
}

/// An order that only stg can tell from a good one: nobody knows the user, or Postgres refuses a value.
fn bad_order(random: &mut StdRng) -> Vec<u8> {
    let mut order = simple_order(random.random_range(0..1000), "CLOSED");
    order["payload"]["extra"] = json!(MARK);
    if random.random_bool(0.5) {
        order["payload"]["user"]["id"] = json!("ffffffffffffffffffffffff");
    } else {
        order["payload"]["extra"] = json!(format!("{MARK}\u{0}"));
    }
    order.to_string().into_bytes()
}

/// An event of the stream that begins with this topic, which looks like a good one until stg has a look; any other garbage
/// where none does.
fn bad_event(chaos: &Chaos, topic: &str, random: &mut StdRng) -> Vec<u8> {
    let stream = STREAMS.iter().find(|stream| chaos.fleet.topic(stream.spec.source().env) == topic);
    match stream.map(|stream| stream.make) {
        None => body(random),
        Some(Make::FromReference(_)) => bad_order(random),
        // Postgres refuses it.
        Some(Make::Alone(make)) => {
            let mut event = events::next(&mut *make(Start::Seed(random.random())));
            event["extra"] = json!(format!("{MARK}\u{0}"));
            event.to_string().into_bytes()
        }
    }
}

/// True for a garbage record.
pub fn is_garbage(record: &TopicRecord) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes());
    record.key.as_deref().is_some_and(holds) || record.payload.as_deref().is_some_and(holds)
}

/// Puts a few garbage records on a topic.
pub async fn send(chaos: &Chaos, random: &mut StdRng) {
    let _kafka = chaos.kafka.read().await;
    let inputs = chaos.fleet.inputs();
    let Some((_, topic)) = inputs.choose(random) else { return };
    let count = random.random_range(1..8);
    let mut records = Vec::new();
    for _ in 0..count {
        let record = match random.random_range(0..4) {
            0 => NewRecord::default().key(MARK),
            1 => NewRecord::of(bad_event(chaos, topic, random)),
            _ => NewRecord::of(body(random)),
        };
        records.push(record.partition(random.random_range(0..6)));
    }
    chaos.report.add("garbage records", records.len());
    chaos.fleet.kafka().produce(topic, &records).await;
}

/// Makes sure that the dead letters of a stage are exactly the garbage of its topic, each once.
pub async fn verify(chaos: &Chaos, stage: Service, topic: &str) {
    let kafka = chaos.fleet.kafka();
    let records = kafka.read_all(topic).await;
    let garbage: BTreeSet<(i32, i64)> =
        records.iter().filter(|record| is_garbage(record)).map(|r| (r.partition, r.offset)).collect();
    let rows: Vec<(i32, i64, bool)> = sqlx::query_as(
        "select partition, \"offset\", status = 'parked' from ops.dead_letters where stage = $1 and topic = $2",
    )
    .bind(stage.binary())
    .bind(topic)
    .fetch_all(chaos.fleet.pool())
    .await
    .expect("the dead letters");
    let kept: BTreeSet<(i32, i64)> = rows.iter().map(|&(partition, offset, _)| (partition, offset)).collect();
    assert_eq!((rows.len(), &kept), (garbage.len(), &garbage), "dead letters of {stage:?}");
    // What waits for reference data is not dead yet, and has no copy.
    let waits: BTreeSet<(i32, i64)> =
        rows.iter().filter(|row| row.2).map(|&(partition, offset, _)| (partition, offset)).collect();
    // On the topic a dead letter may stand twice, as every output may, but none is missing.
    let number = |record: &TopicRecord, name| record.header(name).and_then(|text| text.parse::<i64>().ok());
    let copies = kafka.read_all(&dlq_topic(topic)).await;
    let copied: BTreeSet<(i32, i64)> = copies
        .iter()
        .filter_map(|copy| {
            let partition = number(copy, "original_partition")?.try_into().ok()?;
            Some((partition, number(copy, "original_offset")?))
        })
        .collect();
    // The metrics' stage, whose data are not in Postgres, may lose or double a copy when it dies.
    let complete = *topic != chaos.fleet.metrics_topic();
    let strange: Vec<_> = copied.difference(&garbage).collect();
    let missing: Vec<_> =
        garbage.difference(&copied).filter(|&record| complete && !waits.contains(record)).collect();
    assert!(
        strange.is_empty() && missing.is_empty(),
        "{}: strange {strange:?}, missing {missing:?}",
        dlq_topic(topic)
    );
    chaos.report.add("dead letters, each exactly once", garbage.len());
}
