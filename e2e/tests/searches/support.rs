//! Random searches, and the one question at the end.

use std::cell::Cell;

use serde_json::json;
pub use strata_testkit::samples::any_search;
use strata_testkit::{Fleet, SearchModel, Service, assert_no_dead_letters, assert_searches_equal};

use crate::support::SOON;

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
