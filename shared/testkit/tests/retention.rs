//! What is settled is removed by age, and nothing else.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use strata_pipeline::retention::{Retention, remove_outcomes};
use strata_testkit::{Servers, TestDatabase};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A dead letter of a stage with this status; its number is its offset.
async fn refuse(pool: &PgPool, stage: &str, offset: i64, status: &str, origin: Option<&str>) {
    sqlx::query(
        "insert into ops.dead_letters \
         (stream, stage, topic, partition, \"offset\", record_dt, payload, reason, detail, origin, status, replay_seq, waits_for) \
         values ('order', $1, 'a_topic', 0, $2, now() - interval '1 day', '', 'unknown_user', '', $3, $4, \
             case $4 when 'replaying' then 1 end, case $4 when 'parked' then array['user/1'] else '{}' end)",
    )
    .bind(stage)
    .bind(offset)
    .bind(origin)
    .bind(status)
    .execute(pool)
    .await
    .expect("a dead letter");
}

async fn offsets(pool: &PgPool) -> Vec<i64> {
    sqlx::query_scalar("select \"offset\" from ops.dead_letters order by 1")
        .fetch_all(pool)
        .await
        .expect("rows")
}

/// Removes what a stage may remove at a moment, when it keeps settled ones for 90 days.
async fn remove(pool: &PgPool, stage: &'static str, is_first: bool, now: DateTime<Utc>) -> u64 {
    let retention = Retention { stage, topic: "a_topic".to_owned(), is_first, keep: 90 * DAY };
    retention.remove(pool, now).await.expect("removed")
}

#[tokio::test]
async fn dead_letters_go_once_they_were_settled_long_ago() {
    // GIVEN dead letters in every state, the replay numbers being in use
    let database = TestDatabase::create(&Servers::from_env().await).await;
    let pool = database.pool();
    sqlx::query("insert into ops.replay_sequences values ('stg', 'a_topic', 7)")
        .execute(pool)
        .await
        .expect("a number");
    for (offset, status) in (0..).zip(["open", "replaying", "replayed", "discarded", "parked"]) {
        refuse(pool, "stg", offset, status, None).await;
    }
    // AND one whose copy is still open, with others of a later stage
    refuse(pool, "stg", 10, "replayed", Some("x/0/1")).await;
    refuse(pool, "stg", 11, "open", Some("x/0/1")).await;
    refuse(pool, "dds", 20, "replayed", None).await;
    refuse(pool, "dds", 21, "discarded", None).await;
    let settled = Utc::now();
    // WHEN they are looked at before their time THEN all stay
    let early = settled + TimeDelta::days(89);
    assert_eq!((remove(pool, "stg", true, early).await, remove(pool, "dds", false, early).await), (0, 0));
    // WHEN their time has come THEN the settled ones go, but what dds discarded, and what tells of a copy
    let late = settled + TimeDelta::days(91);
    assert_eq!((remove(pool, "stg", true, late).await, remove(pool, "dds", false, late).await), (2, 1));
    assert_eq!(offsets(pool).await, [0, 1, 4, 10, 11, 21]);
    // WHEN an old one is settled only now THEN its time begins now
    sqlx::query("update ops.dead_letters set first_seen = now() - interval '1 year'")
        .execute(pool)
        .await
        .expect("old");
    sqlx::query("update ops.dead_letters set status = 'discarded' where \"offset\" in (0, 11)")
        .execute(pool)
        .await
        .expect("discarded");
    assert_eq!(remove(pool, "stg", true, settled + TimeDelta::days(1)).await, 0);
    assert_eq!(remove(pool, "stg", true, late).await, 3);
    assert_eq!(offsets(pool).await, [1, 4, 21]);
    // AND the numbers of replays have not gone back
    let last: i64 =
        sqlx::query_scalar("select last_seq from ops.replay_sequences").fetch_one(pool).await.expect("it");
    assert_eq!(last, 7);
}

#[tokio::test]
async fn many_dead_letters_go_in_several_batches_side_by_side() {
    // GIVEN more than one statement removes
    let database = TestDatabase::create(&Servers::from_env().await).await;
    let pool = database.pool();
    sqlx::query(
        "insert into ops.dead_letters \
         (stream, stage, topic, partition, \"offset\", record_dt, payload, reason, detail, status) \
         select 'order', 'stg', 'a_topic', 0, n, now() - interval '1 day', '', '', '', 'discarded' \
         from generate_series(1, 2500) as n",
    )
    .execute(pool)
    .await
    .expect("dead letters");
    // WHEN two instances remove them at once
    let late = Utc::now() + TimeDelta::days(91);
    let removed = tokio::join!(remove(pool, "stg", true, late), remove(pool, "stg", true, late));
    // THEN each goes once, and what one left to the other goes with the next look
    let left = offsets(pool).await.len() as u64;
    assert_eq!(removed.0 + removed.1 + left, 2500);
    assert_eq!(remove(pool, "stg", true, late).await, left);
}

#[tokio::test]
async fn the_newest_outcome_of_reconcile_stays_however_old_it_is() {
    // GIVEN three outcomes of long ago
    let database = TestDatabase::create(&Servers::from_env().await).await;
    let pool = database.pool();
    for differences in 0..3_i64 {
        sqlx::query("insert into ops.reconciliations (duration_ms, checks, differences) values (1, 1, $1)")
            .bind(differences)
            .execute(pool)
            .await
            .expect("an outcome");
    }
    let kept = async || -> Vec<i64> {
        let select = "select differences from ops.reconciliations order by id";
        sqlx::query_scalar(select).fetch_all(pool).await.expect("outcomes")
    };
    // WHEN they are not old enough THEN all stay
    remove_outcomes(pool, Utc::now() - TimeDelta::days(90)).await.expect("nothing to remove");
    assert_eq!(kept().await, [0, 1, 2]);
    // WHEN they are THEN the newest stays
    remove_outcomes(pool, Utc::now() + TimeDelta::days(1)).await.expect("removed");
    assert_eq!(kept().await, [2]);
}
