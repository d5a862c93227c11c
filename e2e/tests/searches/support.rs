//! Random searches, and the one question at the end.

use std::cell::Cell;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::json;
use strata_testkit::{
    Fleet, SearchBuilder, SearchModel, Service, assert_no_dead_letters, assert_searches_equal, search,
};

use crate::support::SOON;

/// Advertisers of the tests; some share a beginning, some need care in JSON and in URLs.
const ADVERTISERS: [&str; 7] =
    ["Amoma", "Amoma & Co", "Expedia", "Отелло", "B\"B\\ Hotels", "a{6032:[1,2]}", "Trip.com"];

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

/// Does the work while searches arrive, some hundreds a second, until it is done.
pub async fn under_load<T>(fleet: &Fleet, work: impl Future<Output = T>) -> T {
    let done = Cell::new(false);
    let load = async {
        while !done.get() {
            let body = json!({"N": 40, "stream": "hotel_search", "rate": 400});
            fleet.post(Service::DataSource, "/push", &body).await.ok();
        }
    };
    let work = async {
        let result = work.await;
        done.set(true);
        result
    };
    tokio::join!(work, load).0
}

/// Waits until nothing moves any more, then compares every layer with the model.
pub async fn assert_exact(fleet: &Fleet) -> SearchModel {
    fleet.searches_at_rest(SOON).await;
    let model = fleet.search_model().await;
    assert_searches_equal(fleet, &model).await;
    assert_no_dead_letters(fleet.pool()).await;
    model
}
