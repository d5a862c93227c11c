//! Dead letters of cdm, and rebuilds that have counted what they say.

use strata_testkit::{Fleet, NewRecord, Service, TopicRecord, assert_warehouse_equals, eventually};

use super::tamper;
use crate::support::{SOON, assert_exact, launch, load, random, versions};

/// Status of the dead letter with this body.
async fn status_of(fleet: &Fleet, body: &str) -> String {
    eventually(SOON, &format!("the dead letter {body}"), async || {
        let found: Option<String> =
            sqlx::query_scalar("select status from ops.dead_letters where payload = $1")
                .bind(body.as_bytes())
                .fetch_optional(fleet.pool())
                .await
                .expect("the dead letters");
        found.ok_or_else(|| "there is none".to_owned())
    })
    .await
}

/// Garbage that says which record it was made from.
fn made_from(body: &str, origin: &str) -> NewRecord {
    let headers = vec![("origin".to_owned(), origin.to_owned())];
    NewRecord { headers, ..NewRecord::of(body).partition(0) }
}

#[tokio::test]
async fn a_dead_letter_of_what_a_rebuild_counted_needs_no_replay() {
    // GIVEN dead letters of cdm: of an input that dds had read, and of one that nobody knows
    let fleet = launch(&[]).await;
    load(&fleet, 300, &versions(&mut random(), 20, 3)).await;
    assert_exact(&fleet).await;
    let (dds_topic, topics) = (fleet.dds_topic(), [fleet.cdm_topic(), fleet.metrics_topic()]);
    let read = fleet.offsets(Service::Dds, &dds_topic).await;
    let (partition, next) = read.iter().max_by_key(|(_, next)| **next).expect("a partition");
    let (known, unknown) = (format!("{dds_topic}/{partition}/0"), format!("{dds_topic}/{partition}/{next}"));
    let first = [
        made_from("{1", &known),
        made_from("{2", &unknown),
        NewRecord::of("{3").partition(0),
        made_from("{0", &known),
    ];
    fleet.kafka().produce(&topics[0], &first).await;
    for body in ["{1", "{2", "{3", "{0"] {
        assert_eq!(status_of(&fleet, body).await, "open", "{body}");
    }
    tamper(&fleet, "update ops.dead_letters set status = 'discarded' where payload = '{0'").await;
    // WHEN the counters are rebuilt
    fleet.strata_ok(&["rebuild", "counters"]).await;
    // THEN the first is settled, and what cdm refuses later of the same input is, too
    fleet.kafka().produce(&topics[0], &[made_from("{4", &known), made_from("{5", &unknown)]).await;
    for (body, status) in [
        ("{0", "replayed"),
        ("{1", "replayed"),
        ("{2", "open"),
        ("{3", "open"),
        ("{4", "replayed"),
        ("{5", "open"),
    ] {
        assert_eq!(status_of(&fleet, body).await, status, "{body}");
    }
    // AND the metrics' rebuild keeps to the same
    fleet.push_searches(100).await;
    fleet.searches_at_rest(SOON).await;
    let processed = fleet.processed_topic();
    let read = fleet.offsets(Service::Dds, &processed).await;
    let (partition, next) = read.iter().max_by_key(|(_, next)| **next).expect("a partition");
    let (known, unknown) = (format!("{processed}/{partition}/0"), format!("{processed}/{partition}/{next}"));
    fleet.kafka().produce(&topics[1], &[made_from("{6", &known), made_from("{7", &unknown)]).await;
    assert_eq!(
        (status_of(&fleet, "{6").await, status_of(&fleet, "{7").await),
        ("open".into(), "open".into())
    );
    fleet.strata_ok(&["rebuild", "metrics"]).await;
    assert_eq!(
        (status_of(&fleet, "{6").await, status_of(&fleet, "{7").await),
        ("replayed".into(), "open".into())
    );
}

/// Makes the record look as if cdm had refused it: read, not applied, kept as a dead letter.
async fn refuse(fleet: &Fleet, record: &TopicRecord) {
    sqlx::query(
        "insert into ops.dead_letters (stream, stage, topic, partition, \"offset\", record_dt, key, payload, reason, detail, origin) \
         values ('order', 'cdm', $1, $2, $3, now(), $4, $5, 'invalid_structure', 'a decoder that was wrong', $6)",
    )
    .bind(fleet.cdm_topic())
    .bind(record.partition)
    .bind(record.offset)
    .bind(&record.key)
    .bind(record.payload.as_deref().unwrap_or_default())
    .bind(record.header("origin"))
    .execute(fleet.pool())
    .await
    .expect("the dead letter is kept");
    sqlx::query("update ops.consumer_offsets set next_offset = $1 where stage = 'cdm' and topic = $2 and partition = $3")
        .bind(record.offset + 1)
        .bind(fleet.cdm_topic())
        .bind(record.partition)
        .execute(fleet.pool())
        .await
        .expect("the offset moves on");
}

#[tokio::test]
async fn a_replay_that_was_sent_before_a_rebuild_is_not_counted_once_more() {
    // GIVEN announcements that cdm refused, though they are good
    let fleet = launch(&[]).await;
    let versions = versions(&mut random(), 30, 3);
    load(&fleet, 100, &versions).await;
    assert_exact(&fleet).await;
    fleet.kill(Service::Cdm);
    load(&fleet, 200, &[]).await;
    fleet.stage_at_rest(Service::Stg, &fleet.stg_topic(), SOON).await;
    fleet.stage_at_rest(Service::Dds, &fleet.dds_topic(), SOON).await;
    let stored = fleet.offsets(Service::Cdm, &fleet.cdm_topic()).await;
    let records = fleet.kafka().read_all(&fleet.cdm_topic()).await;
    // The next one of each partition.
    let refused: Vec<&TopicRecord> =
        records.iter().filter(|record| stored.get(&record.partition) == Some(&record.offset)).collect();
    assert!(refused.len() > 2, "{} refused", refused.len());
    for record in &refused {
        refuse(&fleet, record).await;
    }
    // WHEN one is replayed, not yet read, and the counters are rebuilt
    fleet.strata_ok(&["dlq", "replay", "--all", "--limit", "1"]).await;
    fleet.strata_ok(&["rebuild", "counters"]).await;
    fleet.start(Service::Cdm);
    // THEN it is skipped, and nothing is left to replay
    fleet.at_rest(SOON).await;
    let open: i64 = sqlx::query_scalar("select count(*) from ops.dead_letters where status <> 'replayed'")
        .fetch_one(fleet.pool())
        .await
        .expect("the dead letters");
    assert_eq!(open, 0);
    let model = fleet.model(&fleet.reference().await).await;
    assert_warehouse_equals(fleet.pool(), &model).await;
    // WHEN an announcement is refused after the rebuild and replayed
    fleet.kill(Service::Cdm);
    fleet.push(100).await;
    fleet.stage_at_rest(Service::Stg, &fleet.stg_topic(), SOON).await;
    fleet.stage_at_rest(Service::Dds, &fleet.dds_topic(), SOON).await;
    let stored = fleet.offsets(Service::Cdm, &fleet.cdm_topic()).await;
    let records = fleet.kafka().read_all(&fleet.cdm_topic()).await;
    let later = records.iter().find(|record| stored.get(&record.partition) == Some(&record.offset));
    refuse(&fleet, later.expect("an announcement")).await;
    fleet.start(Service::Cdm);
    fleet.strata_ok(&["dlq", "replay", "--all"]).await;
    // THEN it is applied
    fleet.at_rest(SOON).await;
    let model = fleet.model(&fleet.reference().await).await;
    assert_warehouse_equals(fleet.pool(), &model).await;
}
