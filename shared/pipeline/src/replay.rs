//! Dead letters and parked records through their stage again, each with the effect of one event.
//!
//! Under the [`OperatorLock`], which one replayer holds: (1) one transaction gives the chosen ones numbers that grow
//! within stage and topic and marks them `replaying`; (2) whatever is `replaying`, also of a replayer that was
//! interrupted, is sent to the partition it came from, in the order of the numbers, as a record with the origin
//! `<topic>.dlq/0/<number>`; (3) what Kafka acknowledged is marked `replayed`.
//!
//! However often 2 is repeated, a record keeps its number and its partition, and a stage whose effect is not
//! idempotent skips origins that are not newer than the last it applied there. Numbers are on disk before
//! anything is sent, so that none is ever given to two. The record keeps its Kafka time, and the header `replay_of`
//! names the record that started the event's way, so the vault gets the rows that it would have had, and sending
//! twice brings the same rows. A replay that is refused again is a new row, at its new place, that goes on counting
//! the attempts.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use strata_events::stream::dlq_topic;
use strata_events::{event_id, origin};

use crate::OperatorLock;
use crate::producer::Producer;
use crate::record::Output;
use crate::seams::Sink as _;
use strata_service::failpoint;

/// Records that are sent and marked at once,
const CHUNK: i64 = 500;

/// and their bytes, one record at least.
const CHUNK_BYTES: i64 = 32 << 20;

/// How many records were numbered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Numbered {
    /// Those that are to be sent.
    pub numbered: i64,
    /// Records that Kafka had brought twice; the effect is that of the one that is replayed.
    pub copies: i64,
}

/// The records of one topic of a stage that are being replayed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Replaying {
    /// The layer.
    pub stage: String,
    /// The topic that it reads.
    pub topic: String,
    /// Smallest number.
    pub first: i64,
    /// Largest number.
    pub last: i64,
}

/// What a replay is made of.
#[derive(Debug, Clone, sqlx::FromRow)]
struct DeadLetter {
    id: i64,
    topic: String,
    partition: i32,
    timestamp_ms: Option<i64>,
    record_dt: DateTime<Utc>,
    key: Option<Vec<u8>>,
    payload: Vec<u8>,
    event_id: Option<String>,
    replay_seq: i64,
    /// The record that started the event's way.
    start: String,
}

/// Step 1, in the caller's transaction: gives open and parked records, by id, their numbers.
pub async fn number(tx: &mut PgConnection, ids: &[i64]) -> sqlx::Result<Numbered> {
    sqlx::query("set local synchronous_commit = on").execute(&mut *tx).await?;
    sqlx::query_as(include_str!("../sql/number_dead_letters.sql")).bind(ids).fetch_one(tx).await
}

/// What is numbered and not known to be sent.
pub async fn replaying(pool: &PgPool) -> sqlx::Result<Vec<Replaying>> {
    sqlx::query_as(
        "select stage, topic, min(replay_seq) as first, max(replay_seq) as last from ops.dead_letters \
         where status = 'replaying' group by stage, topic order by stage, topic",
    )
    .fetch_all(pool)
    .await
}

/// Steps 2 and 3 of one topic, a chunk at a time; `on_sent` hears how many each chunk had.
pub async fn send(
    pool: &PgPool,
    producer: &Producer,
    lock: &mut OperatorLock,
    replaying: &Replaying,
    mut on_sent: impl FnMut(u64),
) -> anyhow::Result<()> {
    let mut sent = replaying.first - 1;
    while sent < replaying.last {
        lock.assert_held().await?;
        let dead_letters: Vec<DeadLetter> = sqlx::query_as(include_str!("../sql/select_replaying.sql"))
            .bind(&replaying.stage)
            .bind(&replaying.topic)
            .bind(sent)
            .bind(CHUNK)
            .bind(CHUNK_BYTES)
            .fetch_all(pool)
            .await?;
        let Some(newest) = dead_letters.last().map(|one| one.replay_seq) else { break };
        let ids: Vec<i64> = dead_letters.iter().map(|one| one.id).collect();
        let records: Vec<Output> = dead_letters.into_iter().map(to_record).collect();
        producer.send_all(&records).await.context("Kafka took not all of them; run it again")?;
        failpoint::pass("replay_sent")?;
        sqlx::query(
            "update ops.dead_letters set status = 'replayed' where id = any($1) and status = 'replaying'",
        )
        .bind(&ids)
        .execute(pool)
        .await?;
        on_sent(ids.len() as u64);
        sent = newest;
    }
    Ok(())
}

/// The dead letter as a record of the topic it came from.
fn to_record(dead_letter: DeadLetter) -> Output {
    let origin = format!("{}/0/{}", dlq_topic(&dead_letter.topic), dead_letter.replay_seq);
    let mut headers =
        vec![(origin::HEADER.into(), origin), (origin::REPLAY_OF_HEADER.into(), dead_letter.start)];
    headers.extend(dead_letter.event_id.map(|id| (event_id::EVENT_ID_HEADER.into(), id)));
    Output {
        topic: dead_letter.topic.as_str().into(),
        key: dead_letter.key,
        payload: dead_letter.payload,
        timestamp_ms: dead_letter.timestamp_ms.unwrap_or_else(|| dead_letter.record_dt.timestamp_millis()),
        headers,
        partition: Some(dead_letter.partition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_letter() -> DeadLetter {
        DeadLetter {
            id: 9,
            topic: "stg_topic".into(),
            partition: 3,
            timestamp_ms: None,
            record_dt: DateTime::from_timestamp_millis(1_740_214_574_049).expect("in range"),
            key: None,
            payload: b"{}".to_vec(),
            event_id: None,
            replay_seq: 5,
            start: "stg_topic/3/17".into(),
        }
    }

    fn headers(dead_letter: DeadLetter) -> Vec<String> {
        to_record(dead_letter).headers.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_replay_is_the_same_record_with_an_origin_of_its_own() {
        let record = to_record(dead_letter());
        assert_eq!((&*record.topic, record.key.as_deref(), record.partition), ("stg_topic", None, Some(3)));
        assert_eq!((record.timestamp_ms, record.payload.as_slice()), (1_740_214_574_049, &b"{}"[..]));
        assert_eq!(headers(dead_letter()), ["origin=stg_topic.dlq/0/5", "replay_of=stg_topic/3/17"]);
    }

    #[test]
    fn it_keeps_the_identity_and_the_time_that_the_record_had() {
        let other = DeadLetter { event_id: Some("a-1".into()), timestamp_ms: Some(1), ..dead_letter() };
        assert_eq!(to_record(other.clone()).timestamp_ms, 1);
        assert_eq!(headers(other)[2], "event_id=a-1");
    }
}
