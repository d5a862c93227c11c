//! Events that tests of all kinds send: of few people and places, so that they meet.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use strata_events::event_id::EVENT_ID_HEADER;
use strata_events::{Contract as _, Restaurant, User};
use strata_streams::hotel_search::Search;
use strata_streams::hotel_search::clean::clean;
use strata_streams::order::Order;
use strata_streams::order::enrich::enrich;
use strata_streams::reference::ReferenceData;

use crate::builders::order;
use crate::kafka::NewRecord;
use crate::reference::Reference;
use crate::search::{SearchBuilder, search};

/// Orders of tests start here, far from the generated ones.
const FIRST_ORDER: i64 = 9_000_000_000;

/// States that a version of an order may have.
const STATUSES: [&str; 5] = ["OPEN", "COOKING", "DELIVERING", "CLOSED", "CANCELLED"];

/// Advertisers of the tests; some share a beginning, some need care in JSON and in URLs.
const ADVERTISERS: [&str; 7] =
    ["Amoma", "Amoma & Co", "Expedia", "Отелло", "B\"B\\ Hotels", "a{6032:[1,2]}", "Trip.com"];

/// Users and restaurants of the tests.
pub fn reference() -> Reference {
    Reference::invented(15, 4, 8)
}

/// Random numbers, the same ones for the same `STRATA_TEST_SEED`; a failing test shows its seed.
pub fn random() -> StdRng {
    let seed = std::env::var("STRATA_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("STRATA_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Random versions of `orders` orders, shuffled, some of them twice.
pub fn versions(random: &mut StdRng, orders: i64, versions: i64) -> Vec<Value> {
    let reference = reference();
    let mut messages = Vec::new();
    for number in 0..orders {
        let (mut user, mut restaurant) = (random.random_range(0..15), random.random_range(0..4));
        for version in 0..versions {
            // Mostly the same people at the same table.
            if random.random_bool(0.1) {
                user = random.random_range(0..15);
                restaurant = random.random_range(0..4);
            }
            let mut dishes: Vec<usize> = (0..8).collect();
            dishes.shuffle(random);
            dishes.truncate(random.random_range(1..=3));
            let status = STATUSES.choose(random).copied().unwrap_or("OPEN");
            let message = order(FIRST_ORDER + number)
                .user(reference.user(user))
                .dishes(reference.restaurant(restaurant), dishes)
                .version(version)
                .status(status)
                .build();
            if random.random_bool(0.1) {
                messages.push(message.clone());
            }
            messages.push(message);
        }
    }
    messages.shuffle(random);
    messages
}

/// A valid order of the tests, number `number`.
pub fn simple_order(number: i64, status: &str) -> Value {
    let reference = reference();
    let place = usize::try_from(number).unwrap_or_default();
    order(FIRST_ORDER + number)
        .user(reference.user(place))
        .dishes(reference.restaurant(place), [place % 8, (place + 1) % 8])
        .status(status)
        .build()
}

/// A random search of one of 40 users for one of 12 hotels.
pub fn any_search(random: &mut StdRng) -> SearchBuilder {
    let mut made = search(random.random_range(0..40), (6030 + random.random_range(0..12)).to_string());
    made = match random.random_range(0..3) {
        0 => made.at(json!(1_620_224_528.25)),
        _ => made.at(json!(1_620_224_528 + random.random_range(0..86_400))),
    };
    for _ in 0..random.random_range(0..5) {
        let advertiser = ADVERTISERS.choose(random).copied().unwrap_or_default();
        made = match random.random_range(0..10) {
            0 => made.nothing_from(advertiser),
            1 => made.offer(advertiser, random.random_range(-5..1)),
            // Few prices, so that there are ties.
            _ => made.offer(advertiser, 5000 + random.random_range(0..20)),
        };
    }
    made
}

/// What stg makes of an order, as a record of the topic that dds reads, keyed as stg keys it.
///
/// **Panics** when the order is not valid, or the reference data lack something of it.
pub fn enriched(order: &Value, reference: &Reference) -> NewRecord {
    let text = order.to_string();
    let order = Order::decode(text.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {text}"));
    let data = reference_data(reference);
    let fact = enrich(&order, &data).unwrap_or_else(|e| panic!("{e:?}: {text}"));
    NewRecord::of(serde_json::to_vec(&fact).expect("JSON")).key(order.object_id.to_string())
}

/// What stg makes of a search that has an `event_id`, as a record of the topic that dds reads.
///
/// **Panics** when the search is not valid.
pub fn cleaned(search: &Value) -> NewRecord {
    let text = search.to_string();
    let search = Search::decode(text.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {text}"));
    let processed = clean(&search);
    let event_id = search.event_id.expect("the search has an event_id");
    let record = NewRecord::of(serde_json::to_vec(&processed).expect("JSON")).key(processed.hotel_id);
    record.with_header(EVENT_ID_HEADER, &event_id)
}

fn reference_data(reference: &Reference) -> ReferenceData {
    let parse = |line: &str| -> User { serde_json::from_str(line).expect("a user") };
    let users =
        reference.users_ndjson().lines().map(parse).map(|user| (user.id.clone(), user.into())).collect();
    let parse = |line: &str| -> Restaurant { serde_json::from_str(line).expect("a restaurant") };
    let restaurants = reference.restaurants_ndjson();
    let restaurants = restaurants.lines().map(parse);
    let menus = restaurants.map(|restaurant| {
        let id = restaurant.id.clone();
        (id, std::sync::Arc::new(restaurant.into()))
    });
    ReferenceData { users, restaurants: menus.collect() }
}
