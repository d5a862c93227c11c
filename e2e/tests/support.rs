//! What the tests share: reference data, loads, and the one question at the end.

use std::time::Duration;

use serde_json::Value;
pub use strata_testkit::samples::{random, reference, simple_order, versions};
use strata_testkit::{Fleet, Model, Service, assert_no_dead_letters, assert_warehouse_equals};

/// Deadline of whatever follows a load.
pub const SOON: Duration = Duration::from_secs(60);

/// Starts a fleet that knows the reference data of the tests.
pub async fn launch(variables: &[(&str, &str)]) -> Fleet {
    let fleet = Fleet::launch_with(variables).await;
    fleet.put_reference(&reference()).await;
    fleet
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
