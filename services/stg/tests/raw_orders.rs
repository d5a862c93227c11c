//! What the raw layer keeps of an order, and what it passes on, with reference data in a real Redis.

use serde_json::{Value, json};
use stg::order::handler::OrderHandler;
use stg::reference::ReferenceCache;
use strata_events::StageId;
use strata_pipeline::PgStage;
use strata_service::Settings;
use strata_service::redis::{ReferenceKeys, connect};
use strata_streams::order::ORDER;
use strata_testkit::samples::{reference, simple_order};
use strata_testkit::{Alone, NewRecord, Reference, Servers};
use uuid::Uuid;

/// The stage of orders, with reference data below a prefix of its own.
struct Orders {
    alone: Alone,
    keys: ReferenceKeys,
}

impl Orders {
    async fn new() -> Self {
        let keys = ReferenceKeys { prefix: format!("test-{}:", Uuid::new_v4()) };
        let orders = Self { alone: Alone::new(&ORDER, StageId::Stg, &[]).await, keys };
        orders.put(&reference()).await;
        orders
    }

    /// Puts reference data in force.
    async fn put(&self, reference: &Reference) {
        let mut redis = Servers::configured().connect_redis().await;
        let (users, restaurants) = (reference.users_ndjson(), reference.restaurants_ndjson());
        let users = users.lines().map(|line| (self.keys.user(&id(line)), line));
        let entries = users.chain(restaurants.lines().map(|line| (self.keys.restaurant(&id(line)), line)));
        let mut put = redis::pipe();
        // They go by themselves when the test has long ended.
        for (key, line) in entries {
            put.set_ex(key, line, 600).ignore();
        }
        let version = self.keys.version();
        put.incr(&version, 1).ignore().expire(&version, 600).ignore();
        put.exec_async(&mut redis).await.expect("the reference data are put");
    }

    /// An instance runs during the work, and to the end.
    async fn run_during(&self, work: impl Future<Output = ()>) {
        let settings = Settings::from_env("STG_PORT").expect("settings fit");
        let cache = ReferenceCache::new(connect(&settings.redis), self.keys.clone());
        let stage: PgStage<OrderHandler> = self.alone.stage(OrderHandler::new(cache, self.alone.output()));
        self.alone.run_during(vec![vec![stage]], work).await;
    }

    /// What the next stage gets, by order.
    fn sent(&self) -> Vec<Value> {
        let records = self.alone.records(&self.alone.output()).into_iter();
        let mut facts: Vec<Value> = records
            .map(|record| serde_json::from_slice(&record.payload.unwrap_or_default()).expect("JSON"))
            .collect();
        facts.sort_by_key(|fact| fact["object_id"].as_i64());
        facts
    }
}

fn id(line: &str) -> String {
    let entry: Value = serde_json::from_str(line).expect("an entry");
    entry["_id"].as_str().expect("an id").to_owned()
}

/// A version of order 1 that was sent at this minute.
fn sent(status: &str, minute: u32) -> NewRecord {
    let mut message = simple_order(1, status);
    message["sent_dttm"] = json!(format!("2025-02-22T09:{minute:02}:00Z"));
    NewRecord::of(message.to_string()).partition(2)
}

/// The status of the only order.
async fn current(orders: &Orders) -> String {
    sqlx::query_scalar("select payload ->> 'final_status' from stg.order_events")
        .fetch_one(orders.alone.pool())
        .await
        .expect("the order")
}

#[tokio::test]
async fn a_version_that_arrives_late_is_not_the_one_that_is_kept() {
    // GIVEN an order that was closed
    let orders = Orders::new().await;
    for (status, minute, now) in [
        ("OPEN", 0, "OPEN"),
        ("CLOSED", 30, "CLOSED"),
        // WHEN an older version arrives THEN it changes nothing
        ("COOKING", 10, "CLOSED"),
        // WHEN a newer one says what came last THEN that is what holds
        ("COOKING", 40, "COOKING"),
        // WHEN one that was sent at the same time arrives THEN the later arrival holds
        ("CANCELLED", 40, "CANCELLED"),
    ] {
        orders.alone.arrive(&[sent(status, minute)]);
        orders.run_during(async {}).await;
        assert_eq!(current(&orders).await, now, "after {status} of minute {minute}");
    }
    // AND all of them were passed on, for the vault keeps the history
    assert_eq!(orders.sent().len(), 5);
    // AND so it is all in one batch
    let orders = Orders::new().await;
    let versions = [("OPEN", 0), ("CLOSED", 30), ("COOKING", 10), ("CLOSED", 40), ("COOKING", 35)];
    orders.alone.arrive(&versions.map(|(status, minute)| sent(status, minute)));
    orders.run_during(async {}).await;
    assert_eq!(current(&orders).await, "CLOSED");
    assert_eq!(orders.sent().len(), 5);
    assert_eq!(orders.alone.dead_letters().await, []);
}

#[tokio::test]
async fn a_dish_that_moves_has_the_category_in_which_it_was_ordered() {
    // GIVEN an order of a dish
    let orders = Orders::new().await;
    let mut reference = reference();
    let order = |number: i64| {
        let made = strata_testkit::order(number).user(reference.user(0)).dishes(reference.restaurant(0), [0]);
        NewRecord::of(made.status("CLOSED").build().to_string()).partition(0)
    };
    let (first, second) = (order(1), order(2));
    let restaurant = reference.restaurants.values_mut().next().expect("a restaurant");
    let before = std::mem::replace(&mut restaurant.menu[0].category, "Десерты".to_owned());
    let work = async {
        orders.alone.arrive(&[first]);
        orders.alone.at_rest().await;
        // WHEN the menu moves the dish, and it is ordered again, while the stage runs
        orders.put(&reference).await;
        orders.alone.arrive(&[second]);
    };
    orders.run_during(work).await;
    // THEN each order goes on with the category of its time
    let sent = orders.sent();
    let categories: Vec<&Value> =
        sent.iter().map(|fact| &fact["payload"]["products"][0]["category"]).collect();
    assert_eq!(categories, [&json!(before), &json!("Десерты")]);
}
