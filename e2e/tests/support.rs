//! What the tests share: reference data, loads, and the one question at the end.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use strata_testkit::{
    Fleet, Model, Reference, Service, assert_no_dead_letters, assert_warehouse_equals, order,
};

/// Deadline of whatever follows a load.
pub const SOON: Duration = Duration::from_secs(60);

/// Orders of tests start here, far from the generated ones.
const FIRST_ORDER: i64 = 9_000_000_000;

/// States that a version of an order may have.
const STATUSES: [&str; 5] = ["OPEN", "COOKING", "DELIVERING", "CLOSED", "CANCELLED"];

/// Users and restaurants of the tests.
pub fn reference() -> Reference {
    Reference::invented(15, 4, 8)
}

/// Starts a fleet that knows the reference data of the tests.
pub async fn launch(variables: &[(&str, &str)]) -> Fleet {
    let fleet = Fleet::launch_with(variables).await;
    fleet.put_reference(&reference()).await;
    fleet
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

/// Generated orders and ingested ones, in turns.
pub async fn load(fleet: &Fleet, pushed: usize, ingested: &[Value]) {
    let turns = 10;
    for turn in 0..turns {
        let chunk = ingested.len().div_ceil(turns);
        let from = (turn * chunk).min(ingested.len());
        let to = (from + chunk).min(ingested.len());
        if to > from {
            fleet.ingest(&ingested[from..to]).await;
        }
        fleet.push(pushed / turns).await;
    }
}

/// Waits until nothing moves any more, then compares every layer with the model.
pub async fn assert_exact(fleet: &Fleet) -> Model {
    fleet.at_rest(SOON).await;
    let model = fleet.model(&fleet.reference().await).await;
    assert_warehouse_equals(fleet.pool(), &model).await;
    assert_no_dead_letters(fleet.pool()).await;
    model
}

/// Sets the stored offsets of a stage, which must not be running, back to the beginning.
pub async fn rewind(fleet: &Fleet, service: Service) {
    sqlx::query("update ops.consumer_offsets set next_offset = 0 where stage = $1")
        .bind(service.binary())
        .execute(fleet.pool())
        .await
        .expect("the offsets are set back");
}
