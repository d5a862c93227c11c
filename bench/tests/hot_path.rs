//! What an order costs each service before it meets a server: allocations, which are the same on every
//! machine and at every load. More of them than recorded here is a slower hot path.

use std::collections::BTreeMap;

use serde_json::Value;
use strata_events::{Contract, Origin, Restaurant, User};
use strata_streams::order::countable::OrderState;
use strata_streams::order::counters::Counted;
use strata_streams::order::enrich::enrich;
use strata_streams::order::rows::{OrderFact, spread};
use strata_streams::order::{CountedMessage, FactMessage, Order};
use strata_streams::reference::ReferenceData;
use strata_vault::rows::{Keys, Load};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Orders of the batch.
const ORDERS: i64 = 500;

/// Allocations an order, as measured; the golden order has two products.
const STG: f64 = 9.0;
/// The same of dds.
const DDS: f64 = 23.5;
/// The same of cdm.
const CDM: f64 = 3.0;

/// How far a measurement may lie from its record, in either direction: a gain wants to be recorded, too.
const TOLERANCE: f64 = 0.05;

const ORDER: &[u8] = strata_streams::order::golden::RAW.as_bytes();
const USER: &[u8] = strata_streams::order::golden::USER.as_bytes();
const RESTAURANT: &[u8] = strata_streams::order::golden::RESTAURANT.as_bytes();

/// The golden order, so many times, each with an id of its own.
fn messages() -> Vec<Vec<u8>> {
    let golden: Value = serde_json::from_slice(ORDER).expect("JSON");
    (1..=ORDERS)
        .map(|id| {
            let mut order = golden.clone();
            order["object_id"] = id.into();
            order.to_string().into_bytes()
        })
        .collect()
}

fn reference() -> ReferenceData {
    let user = User::decode(USER).expect("user");
    let restaurant = Restaurant::decode(RESTAURANT).expect("restaurant");
    let mut reference = ReferenceData::default();
    reference.restaurants.insert(restaurant.id.clone(), std::sync::Arc::new(restaurant.into()));
    reference.users.insert(user.id.clone(), std::sync::Arc::new(user));
    reference
}

/// Raw orders to enriched ones, as stg does it.
fn enriched(raw: &[Vec<u8>], reference: &ReferenceData) -> Vec<Vec<u8>> {
    let fact = |bytes: &Vec<u8>| {
        let order = Order::decode(bytes).expect("valid");
        serde_json::to_vec(&enrich(&order, reference).expect("known")).expect("JSON")
    };
    raw.iter().map(fact).collect()
}

/// Enriched orders to rows of the vault and what becomes countable, as dds does it.
fn announced(facts: &[Vec<u8>]) -> (usize, Vec<Vec<u8>>) {
    let messages: Vec<FactMessage<'_>> =
        facts.iter().map(|bytes| FactMessage::decode(bytes).expect("valid")).collect();
    let mut keys = Keys::default();
    let facts: Vec<OrderFact<'_>> = (0_i64..)
        .zip(&messages)
        .map(|(offset, message)| {
            let origin = Origin { topic: "stg_topic".into(), partition: 0, offset };
            OrderFact::new(message, Load::new(chrono::DateTime::UNIX_EPOCH, &origin), &mut keys)
        })
        .collect();
    let rows = spread(&facts);
    let mut states: BTreeMap<Uuid, OrderState<'_>> = BTreeMap::new();
    let mut announced = Vec::new();
    for fact in &facts {
        if let Some(message) = states.entry(fact.order_pk).or_default().add(fact) {
            announced.push(serde_json::to_vec(&message).expect("JSON"));
        }
    }
    (rows.subjects.len(), announced)
}

/// Runs `work` and returns the allocations an order that it took.
fn allocations<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = dhat::HeapStats::get().total_blocks;
    let made = work();
    ((dhat::HeapStats::get().total_blocks - before) as f64 / ORDERS as f64, made)
}

#[test]
fn the_hot_path_allocates_no_more_than_recorded() {
    // GIVEN a batch of orders
    let _profiler = dhat::Profiler::builder().testing().build();
    let (raw, reference) = (messages(), reference());
    // WHEN each service turns it into rows and messages
    let (stg, facts) = allocations(|| enriched(&raw, &reference));
    let (dds, (rows, counted)) = allocations(|| announced(&facts));
    let (cdm, counters) = allocations(|| {
        let mut counters = Counted::default();
        for bytes in &counted {
            counters.add(&CountedMessage::decode(bytes).expect("valid"));
        }
        counters
    });
    // THEN the work was done, and no service took more than is recorded
    assert_eq!((rows as i64, counted.len() as i64), (ORDERS, ORDERS));
    assert_eq!(counters.products.values().map(|(_, n)| n).sum::<i64>(), 2 * ORDERS);
    println!("allocations an order: stg {stg:.1}, dds {dds:.1}, cdm {cdm:.1}");
    for (service, measured, recorded) in [("stg", stg, STG), ("dds", dds, DDS), ("cdm", cdm, CDM)] {
        assert!(
            (measured / recorded - 1.0).abs() <= TOLERANCE,
            "{service} allocates {measured:.1} times an order, {recorded} are recorded"
        );
    }
}
