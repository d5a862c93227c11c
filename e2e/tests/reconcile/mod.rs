//! `strata reconcile`: silent where all layers agree, and loud about a single row.

mod schedule;
mod tampered;
mod values;
mod victims;
mod victims_of_cdm;

use std::cell::Cell;
use std::time::Duration;

use serde_json::{Value, json};
use strata_testkit::{Fleet, NewRecord, Service, eventually, search};

use crate::searches::support::any_search;
use crate::support::{SOON, launch, random, versions};

/// Runs the command; its report, which must go with its exit status.
async fn reconcile(fleet: &Fleet) -> Value {
    let output = fleet.strata(&["reconcile", "--json", "--rows", "100"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{e}: {}", String::from_utf8_lossy(&output.stderr));
    });
    assert_eq!(report["clean"], json!(output.status.success()), "{}: {report:#}", output.status);
    report
}

/// Every row that the report names, each behind its check.
fn named(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().expect("checks");
    let rows = checks.iter().flat_map(|check| {
        let rows = check["rows"].as_array().expect("rows").iter();
        rows.map(|row| format!("{}: {}", check["check"].as_str().unwrap_or("?"), row.as_str().unwrap_or("?")))
    });
    rows.collect()
}

/// Makes sure that nothing differs.
pub async fn assert_clean(fleet: &Fleet) -> Value {
    let report = reconcile(fleet).await;
    assert_eq!(named(&report), Vec::<String>::new(), "{report:#}");
    assert_eq!(report["clean"], json!(true), "{report:#}");
    report
}

/// A warehouse with something in every table: versions, duplicates, searches, dead letters of every stage.
async fn fill(fleet: &Fleet) {
    let mut random = random();
    fleet.ingest(&versions(&mut random, 40, 4)).await;
    fleet.push(150).await;
    fleet.push_to(&strata_streams::click::DEF.spec, 50).await;
    let searches: Vec<Value> = (0..200).map(|_| any_search(&mut random).build()).collect();
    fleet.ingest_searches(&searches).await;
    // Each comes twice, with another user and hotel the second time.
    let mut named = |n: usize| any_search(&mut random).event_id(format!("search {}", n % 20)).build();
    let twice: Vec<Value> = (0..40).map(&mut named).collect();
    fleet.ingest_searches(&twice).await;
    fleet.ingest_searches(&[search(99, "6030").offer("Amoma", 6000).event_id("once").build()]).await;
    for (_, topic) in fleet.inputs() {
        let garbage: Vec<NewRecord> =
            (0..5).map(|n| NewRecord::of(format!("garbage {n} on {topic}"))).collect();
        fleet.kafka().produce(&topic, &garbage).await;
    }
}

async fn at_rest(fleet: &Fleet) {
    fleet.all_at_rest(SOON).await;
}

#[tokio::test]
async fn a_settled_fleet_is_clean_and_the_outcome_is_kept() {
    // GIVEN a fleet at rest that has seen all kinds of records
    let fleet = launch(&[]).await;
    fill(&fleet).await;
    at_rest(&fleet).await;
    // WHEN it is reconciled THEN nothing differs, and every layer was looked at
    let report = assert_clean(&fleet).await;
    let idle: Vec<&Value> = report["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["compared"] == json!(0))
        .map(|check| &check["check"])
        .collect();
    assert_eq!(idle, ["outputs that wait were made of records below their stage's offset"], "{report:#}");
    // AND the outcome is where the fleet can see it
    let kept: Vec<(i64, i32, i64, String)> =
        sqlx::query_as("select duration_ms, checks, differences, detail::text from ops.reconciliations")
            .fetch_all(fleet.pool())
            .await
            .expect("the outcomes");
    let checks = i32::try_from(report["checks"].as_array().map_or(0, Vec::len)).expect("few");
    assert_eq!(kept.len(), 1);
    assert!(kept[0].0 > 0);
    assert_eq!((kept[0].1, kept[0].2, kept[0].3.as_str()), (checks, 0, "[]"));
}

#[tokio::test]
async fn a_search_that_comes_again_with_another_hotel_leaves_no_difference() {
    // GIVEN a search that is in the vault
    let fleet = launch(&[]).await;
    fleet.ingest_searches(&[search(1, "6030").offer("Amoma", 6000).event_id("twice").build()]).await;
    at_rest(&fleet).await;
    // WHEN it comes again for another hotel, of another user, with another advertiser
    fleet.ingest_searches(&[search(2, "6031").offer("Expedia", 5000).event_id("twice").build()]).await;
    at_rest(&fleet).await;
    // THEN the vault knows nothing of these, and nothing differs
    assert_clean(&fleet).await;
    let strangers: i64 = sqlx::query_scalar(
        "select (select count(*) from dds.h_hotel where hotel_id = '6031') \
         + (select count(*) from dds.h_advertiser where advertiser_name = 'Expedia')",
    )
    .fetch_one(fleet.pool())
    .await
    .expect("a number");
    assert_eq!(strangers, 0);
    // WHEN the vault loses its hubs, and is rebuilt
    for hub in ["h_user", "h_hotel", "h_advertiser"] {
        sqlx::query(&format!("delete from dds.{hub}")).execute(fleet.pool()).await.expect("deleted");
    }
    fleet.strata_ok(&["rebuild", "vault"]).await;
    // THEN they are those of the search again
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn an_empty_fleet_is_clean() {
    let fleet = launch(&[]).await;
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn a_fleet_under_load_is_clean_whatever_is_in_flight() {
    // GIVEN a fleet under load of both streams
    let fleet = launch(&[("BATCH_MAX_ROWS", "50")]).await;
    fill(&fleet).await;
    let done = Cell::new(false);
    let load = async {
        let mut random = random();
        while !done.get() {
            fleet.push(100).await;
            fleet.push_searches(100).await;
            fleet.ingest(&versions(&mut random, 10, 3)).await;
            // What waits at the end is to be applied in reasonable time on a busy machine, too.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let looks = async {
        // WHEN it is reconciled while all stages run THEN nothing differs
        for _ in 0..4 {
            assert_clean(&fleet).await;
        }
        // AND while each stage in turn is behind
        for service in Service::STAGES {
            fleet.kill(service);
            for _ in 0..2 {
                assert_clean(&fleet).await;
            }
            fleet.start(service);
            fleet.wait_healthy(service).await;
        }
        done.set(true);
    };
    tokio::join!(looks, load);
    fleet.at_rest(4 * SOON).await;
    fleet.searches_at_rest(4 * SOON).await;
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn outputs_that_wait_are_taken_into_account() {
    // GIVEN stages that died behind the commit, before they sent what they had made
    let fleet = launch(&[("BATCH_MAX_ROWS", "15")]).await;
    for service in [Service::Stg, Service::Dds] {
        fleet.terminate(service).await;
        fleet.start_failing(service, "after_commit:kill:3");
        fleet.ingest(&versions(&mut random(), 60, 4)).await;
        fleet.push_searches(200).await;
        let (status, log) = fleet.ended(service, SOON).await;
        assert!(!status.success(), "{service:?} lives: {log}");
        // WHEN they are reconciled THEN what waits is counted as on its way
        let report = assert_clean(&fleet).await;
        let waiting = &report["checks"].as_array().expect("checks")[2];
        assert!(waiting["compared"].as_i64() > Some(0), "{report:#}");
        fleet.start(service);
        fleet.wait_healthy(service).await;
    }
    // AND at rest nothing waits
    eventually(SOON, "kept outputs that are sent", async || {
        let kept: i64 = sqlx::query_scalar("select count(*) from ops.pending_outputs")
            .fetch_one(fleet.pool())
            .await
            .map_err(|e| e.to_string())?;
        if kept == 0 { Ok(()) } else { Err(format!("{kept} wait")) }
    })
    .await;
    at_rest(&fleet).await;
    assert_clean(&fleet).await;
}
