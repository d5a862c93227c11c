//! Layers that were damaged, rebuilt by the operator's tool while the fleet works.

mod counters;
mod dead_letters;
mod vault;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;

use serde_json::json;
use strata_testkit::{Fleet, Service};

use crate::searches;
use crate::support::{assert_exact, launch, load, random, simple_order};

/// What ends a process in a failpoint, and nothing else here.
const SIGABRT: i32 = 6;

/// Does the work while orders and searches arrive.
async fn under_load<T>(fleet: &Fleet, work: impl Future<Output = T>) -> T {
    let done = Cell::new(false);
    let orders = async {
        while !done.get() {
            let body = json!({"N": 20, "rate": 300});
            fleet.post(Service::DataSource, "/push", &body).await.ok();
        }
    };
    let work = async {
        let result = work.await;
        done.set(true);
        result
    };
    tokio::join!(searches::support::under_load(fleet, work), orders).0
}

/// Every layer of both streams equals its model, and the tool agrees.
async fn assert_all_exact(fleet: &Fleet) {
    assert_exact(fleet).await;
    searches::support::assert_exact(fleet).await;
    fleet.strata_ok(&["reconcile"]).await;
}

/// A fleet whose orders have one version each, and which holds searches too: staging knows all of it.
async fn launch_filled() -> Fleet {
    let fleet = launch(&[("BATCH_MAX_ROWS", "100")]).await;
    let mut random = random();
    let orders: Vec<_> =
        (0..200).map(|n| simple_order(n, if n % 3 == 0 { "OPEN" } else { "CLOSED" })).collect();
    let bodies: Vec<_> = (0..200).map(|_| searches::support::any_search(&mut random).build()).collect();
    load(&fleet, 500, &orders).await;
    fleet.ingest_searches(&bodies).await;
    fleet.push_searches(300).await;
    assert_all_exact(&fleet).await;
    fleet
}

/// Runs a statement; it must change something.
async fn tamper(fleet: &Fleet, statement: &str) {
    let done = sqlx::query(statement).execute(fleet.pool()).await;
    let done = done.unwrap_or_else(|e| panic!("{e}: {statement}"));
    assert!(done.rows_affected() > 0, "nothing was changed by: {statement}");
}

/// All rows of tables, in order, as text.
async fn contents(fleet: &Fleet, tables: &[&str]) -> Vec<String> {
    let mut rows = Vec::new();
    for table in tables {
        let select = format!("select '{table}: ' || t::text from {table} as t order by t::text");
        let found: Vec<String> = sqlx::query_scalar(&select).fetch_all(fleet.pool()).await.expect("rows");
        rows.extend(found);
    }
    rows
}

/// Compares rows, and tells the first of those that differ.
fn assert_same(found: &[String], expected: &[String]) {
    let [of_found, of_expected] = [found, expected].map(BTreeSet::from_iter);
    let extra: Vec<_> = BTreeSet::difference(&of_found, &of_expected).take(8).collect();
    let missing: Vec<_> = BTreeSet::difference(&of_expected, &of_found).take(8).collect();
    assert!(found == expected, "unexpected: {extra:#?}\nmissing: {missing:#?}");
}

/// Runs the tool until it dies in a window.
async fn die_in(fleet: &Fleet, arguments: &[&str], window: &str) {
    let output = fleet.strata_failing(arguments, &format!("{window}:kill")).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(SIGABRT), "{arguments:?} ended with {}: {said}", output.status);
    assert!(said.contains(&format!("failpoint {window}")), "{said}");
}
