//! The order stream under fire: a steady load through data-source, and what must have become of it.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use strata_streams::order::ORDER;
use strata_testkit::{Model, Reference, TopicRecord, assert_warehouse_equals, order};

use super::{Chaos, garbage, load};
use crate::support::reference;

/// Partitions of a topic at first.
const PARTITIONS: usize = 6;

/// Callers of data-source at the same time.
const CALLERS: i64 = 3;

/// Orders of a request.
const ORDERS: usize = 10;

/// Orders that a caller has in hand at a time; each gets version after version.
const IN_HAND: i64 = 40;

/// Orders of the chaos start here, far from the generated ones and from the garbage.
const FIRST_ORDER: i64 = 9_100_000_000;

/// States that a version of an order may have.
const STATUSES: [&str; 6] = ["OPEN", "COOKING", "DELIVERING", "CLOSED", "CLOSED", "CANCELLED"];

/// A version of an order: its key and when it was sent.
type Version = (i64, String);

/// What data-source has taken, all callers together.
pub type Sent = Vec<Version>;

fn version_of(order: &Value) -> Version {
    let text = |field: &str| order[field].as_str().unwrap_or_default().to_owned();
    (order["object_id"].as_i64().unwrap_or_default(), text("sent_dttm"))
}

/// One more version of an order that is in hand.
fn next_order(random: &mut StdRng, reference: &Reference, caller: i64, turn: i64) -> Value {
    let number = caller * 1_000_000 + turn / 4 + random.random_range(0..IN_HAND);
    // Mostly the same people at the same table.
    let place = usize::try_from(number).unwrap_or_default() + usize::from(random.random_bool(0.1));
    let mut dishes: Vec<usize> = (0..8).collect();
    dishes.shuffle(random);
    dishes.truncate(random.random_range(1..=3));
    order(FIRST_ORDER + number)
        .user(reference.user(place))
        .dishes(reference.restaurant(place), dishes)
        .version(turn)
        .status(STATUSES.choose(random).copied().unwrap_or("OPEN"))
        .build()
}

/// Sends until the chaos is over; what was not answered is sent again, the same bytes.
async fn call(chaos: &Chaos, caller: i64) -> Sent {
    let mut random =
        StdRng::seed_from_u64(chaos.seed.wrapping_add(u64::try_from(caller).unwrap_or_default()));
    let (reference, mut sent, mut turn) = (reference(), Sent::new(), 0);
    while !chaos.is_over() {
        let orders: Vec<Value> = (0..ORDERS)
            .map(|_| {
                turn += 1;
                next_order(&mut random, &reference, caller, turn)
            })
            .collect();
        load::ingest(chaos, &mut random, "/ingest/order", &orders).await;
        sent.extend(orders.iter().map(version_of));
    }
    sent
}

/// The load; returns what was accepted, and must be there.
pub async fn load(chaos: &Chaos) -> Sent {
    const { assert!(CALLERS == 3, "as many as are joined below") };
    let (first, second, third, ()) =
        tokio::join!(call(chaos, 0), call(chaos, 1), call(chaos, 2), load::push(chaos, ORDER.name));
    [first, second, third].concat()
}

/// Makes sure that everything accepted is in the stream, and that every layer equals its model.
pub async fn verify(chaos: &Chaos, sent: &Sent, reference: &Reference) {
    let records = chaos.fleet.kafka().read_all(&chaos.fleet.stg_topic()).await;
    let good: Vec<&TopicRecord> = records.iter().filter(|record| !garbage::is_garbage(record)).collect();
    let arrived: BTreeSet<Version> = good
        .iter()
        .filter_map(|record| serde_json::from_slice(record.payload.as_deref()?).ok())
        .map(|order| version_of(&order))
        .collect();
    let lost: Vec<&Version> = sent.iter().filter(|version| !arrived.contains(*version)).take(10).collect();
    assert!(lost.is_empty(), "accepted, but not in the stream: {lost:?}");
    let mut model = Model::default();
    good.iter().for_each(|record| model.accept(record, reference));
    // Partitions that were added to the vault's topic let versions of one order overtake each other.
    if chaos.fleet.kafka().watermarks(&chaos.fleet.dds_topic()).await.len() > PARTITIONS {
        model.assume_no_order();
    }
    chaos.report.add("order versions accepted", sent.len());
    chaos.report.add("order versions in the stream, repeats included", good.len());
    chaos.report.add("orders", model.order_count());
    assert_warehouse_equals(chaos.fleet.pool(), &model).await;
}
