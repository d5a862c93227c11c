//! Callers take nothing from the consumer loops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, NewRecord, Service, eventually};

use crate::support::{SOON, assert_exact, random, reference, versions};

/// Path that reads a locked table.
const SLOW: &str = "/counters/users/d3275d9d9530440ea2b0be23/products";

#[tokio::test]
async fn requests_that_wait_for_a_locked_table_do_not_stop_the_stage() {
    // GIVEN callers of cdm who use up every connection that requests may have
    let fleet = Arc::new(Fleet::launch_only(&[Service::Cdm], &[]).await);
    let mut locking = fleet.pool().begin().await.expect("a transaction");
    sqlx::query("lock table cdm.user_product_counters in access exclusive mode")
        .execute(&mut *locking)
        .await
        .expect("the lock");
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let fleet = Arc::clone(&fleet);
        callers.spawn(async move { fleet.get(Service::Cdm, SLOW).await });
    }
    // THEN one of them hears what there is too little of
    let refused = callers.join_next().await.expect("an answer").expect("no panic");
    assert_eq!(refused.status, 503, "{}", refused.body);
    let said = refused.body["error"].as_str().unwrap_or_default();
    assert_eq!(
        said, "all 4 connections of this service are in use (POSTGRES_HTTP_CONNECTIONS); try again",
        "{}",
        refused.body
    );
    // AND the stage of another stream, which keeps a dead letter in Postgres, goes on
    let metrics_topic = fleet.topic("KAFKA_METRICS_TOPIC");
    let garbage = NewRecord { payload: Some(b"garbage".to_vec()), ..NewRecord::default() };
    fleet.kafka().produce(&metrics_topic, &[garbage]).await;
    eventually(Duration::from_secs(5), "the dead letter, while the table is locked", async || {
        let stored: i64 = sqlx::query_scalar("select count(*) from ops.dead_letters where topic = $1")
            .bind(&metrics_topic)
            .fetch_one(fleet.pool())
            .await
            .map_err(|e| e.to_string())?;
        holds(stored == 1, || format!("{stored} dead letters"))
    })
    .await;
    // AND the service is well
    let health = fleet.get(Service::Cdm, "/health").await;
    assert_eq!(health.status, 200, "{}", health.body);
    assert!(!callers.is_empty(), "nobody waits any more: the table was not locked long enough");
    locking.rollback().await.expect("the lock is given back");
    callers.join_all().await;
}

#[tokio::test]
async fn a_flood_of_questions_for_health_does_not_stop_the_stages() {
    // GIVEN callers who ask every stage for its health as fast as they can
    let fleet = Arc::new(Fleet::launch().await);
    fleet.put_reference(&reference()).await;
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut flood = tokio::task::JoinSet::new();
    for caller in 0..60 {
        let (fleet, stop, answers) = (Arc::clone(&fleet), Arc::clone(&stop), Arc::clone(&answers));
        flood.spawn(async move {
            let service = Service::STAGES[caller % 3];
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(fleet.get(service, "/health").await.status, 200, "{service:?}");
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    eventually(SOON, "a flood", async || {
        let answers = answers.load(Ordering::Relaxed);
        holds(answers > 1000, || format!("{answers} answers"))
    })
    .await;
    // WHEN orders come
    fleet.ingest(&versions(&mut random(), 60, 3)).await;
    // THEN they get through
    assert_exact(&fleet).await;
    // AND all of the questions together have used one connection of each service beside its loops'
    let sessions: i64 = sqlx::query_scalar(
        "select max(n) from (select count(*) as n from pg_stat_activity \
         where datname = current_database() and application_name like '%_service' group by application_name) s",
    )
    .fetch_one(fleet.pool())
    .await
    .expect("the list of sessions");
    assert!(sessions <= 7, "{sessions} sessions of one service");
    stop.store(true, Ordering::Relaxed);
    flood.join_all().await;
}
