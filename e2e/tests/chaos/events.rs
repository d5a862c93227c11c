//! Streams whose events are made of nothing but a seed, under fire: a steady load of each through data-source, and what
//! must have become of it.

use std::collections::BTreeSet;

use futures::future::{join, join_all};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use strata_streams::source::{Generator, Make, Start};
use strata_streams::{STREAMS, StreamDef};
use strata_testkit::TopicRecord;

use super::{Chaos, DRAINED, garbage, load};

/// Callers of data-source at the same time, for each stream.
const CALLERS: u64 = 2;

/// Events of a request.
const EVENTS: usize = 10;

/// Makes a generator.
type MakeAlone = fn(Start) -> Box<dyn Generator>;

/// What was accepted, by `event_id`, and must be there.
pub type Sent = Vec<(&'static StreamDef, Vec<String>)>;

/// The next event of a generator, as a body that can be changed.
pub fn next(events: &mut dyn Generator) -> Value {
    let event = events.next_event().expect("an event");
    serde_json::from_slice(&event.payload).expect("JSON")
}

/// Sends until the chaos is over. Each event has an `event_id`: what is sent again counts once.
async fn call(chaos: &Chaos, stream: &StreamDef, make: MakeAlone, caller: u64) -> Vec<String> {
    let seed = chaos.seed.wrapping_add(100 + caller);
    let (mut random, mut events) = (StdRng::seed_from_u64(seed), make(Start::Seed(seed)));
    let (path, mut sent) = (format!("/ingest/{}", stream.spec.name), Vec::new());
    while !chaos.is_over() {
        let ids: Vec<String> = (0..EVENTS).map(|n| format!("{caller}-{}", sent.len() + n)).collect();
        let named = ids.iter().map(|id| {
            let mut body = next(&mut *events);
            body["event_id"] = json!(id);
            body
        });
        load::ingest(chaos, &mut random, &path, &named.collect::<Vec<_>>()).await;
        sent.extend(ids);
    }
    sent
}

/// The load of all these streams.
pub async fn load(chaos: &Chaos) -> Sent {
    let alone = STREAMS.iter().filter_map(|stream| match stream.make {
        Make::Alone(make) => Some((*stream, make)),
        Make::FromReference(_) => None,
    });
    let loads = alone.map(|(stream, make)| async move {
        let callers = join_all((0..CALLERS).map(|caller| call(chaos, stream, make, caller)));
        let (sent, ()) = join(callers, load::push(chaos, stream.spec.name)).await;
        (stream, sent.concat())
    });
    join_all(loads).await
}

/// Makes sure that everything accepted is in its stream, and that every layer equals its model.
pub async fn verify(chaos: &Chaos, sent: &Sent) {
    let fleet = &chaos.fleet;
    fleet.forget_unfinished_rebuilds().await;
    for (stream, sent) in sent {
        let records = fleet.kafka().read_all(&fleet.topic(stream.spec.source().env)).await;
        let good: Vec<&TopicRecord> = records.iter().filter(|record| !garbage::is_garbage(record)).collect();
        let arrived: BTreeSet<&str> = good.iter().filter_map(|record| record.header("event_id")).collect();
        let lost: Vec<&String> = sent.iter().filter(|id| !arrived.contains(id.as_str())).take(10).collect();
        let many = stream.words.many;
        assert!(lost.is_empty(), "{many} that were accepted, but are not in the stream: {lost:?}");
        chaos.report.add(format!("{many} accepted"), sent.len());
        chaos.report.add(format!("{many} in the stream, repeats included"), good.len());
        chaos.report.add(many, arrived.len());
        fleet.assert_exact_of(stream, DRAINED, |record| !garbage::is_garbage(record)).await;
    }
}
