//! `strata dlq replay`: open dead letters through their stage again, each with the effect of one event.
//!
//! Under a lock that one replayer holds: (1) one transaction gives the chosen letters numbers that grow
//! within stage and topic and marks them `replaying`; (2) every `replaying` letter, also of a run that was
//! interrupted, is sent to the partition it came from, in the order of the numbers, as a record with the
//! origin `<topic>.dlq/0/<number>`; (3) what Kafka acknowledged is marked `replayed`.
//!
//! However often 2 is repeated, a letter keeps its number and its partition, and a stage whose effect is not
//! idempotent skips origins that are not newer than the last it applied there. Numbers are on disk before
//! anything is sent, so that none is ever given to two letters. The record keeps its Kafka time, and the
//! header `replay_of` names the record that started the event's way, so the vault gets the rows that it would
//! have had, and sending twice brings the same rows. A replay that is refused again is a new dead letter, at
//! its new place, that goes on counting the attempts.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use sqlx::PgPool;
use strata_events::stream::dlq_topic;
use strata_events::{origin, search};
use strata_runtime::kafka::{Output, Producer};
use strata_runtime::{Settings, failpoint, pg};

use super::filter::{Filter, matching};
use super::letter::{Letter, columns};

use crate::fleet::Fleet;
use crate::layers::grouped;
use crate::lock::OperatorLock;

/// Letters that are sent and marked at once,
const CHUNK: i64 = 500;

/// and their bytes, one letter at least.
const CHUNK_BYTES: i64 = 32 << 20;

/// Pause between two looks at a stage that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What to replay.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: Filter,
    /// All open dead letters.
    #[arg(long)]
    all: bool,
    /// Dead letters at most, the oldest first.
    #[arg(long)]
    limit: Option<u32>,
    /// Waits this many seconds at most until the stages have read them, and counts those refused again.
    #[arg(long)]
    wait: Option<u32>,
    /// One JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

/// What a run did.
#[derive(Debug, Default)]
struct Done {
    /// Left `replaying` by an earlier run.
    resumed: i64,
    /// Numbered by this one.
    numbered: i64,
    /// Records that Kafka had brought twice; the effect is that of the one that is replayed.
    copies: i64,
    /// Acknowledged by Kafka.
    sent: u64,
    /// The last number sent, by stage and topic, after the first.
    numbers: Vec<(String, String, i64, i64)>,
}

/// Replays the chosen dead letters.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    args.filter.require_choice(args.all)?;
    let pool = pg::pool(&settings.postgres, "strata", settings.postgres.worker_connections);
    let mut lock = OperatorLock::take(&pool).await?;
    let resumed = sqlx::query_scalar("select count(*) from ops.dead_letters where status = 'replaying'");
    let mut done = Done { resumed: resumed.fetch_one(&pool).await?, ..Done::default() };
    (done.numbered, done.copies) = number(&pool, args).await?;
    failpoint::pass("replay_numbered")?;
    send(settings, &pool, &mut lock, &mut done).await?;
    drop(lock);
    let refused = match args.wait {
        Some(seconds) => Some(wait(settings, &pool, &done, Duration::from_secs(seconds.into())).await?),
        None => None,
    };
    report(args, &done, refused);
    Ok(ExitCode::SUCCESS)
}

/// Step 1: numbers, on disk before anything is sent.
async fn number(pool: &PgPool, args: &Args) -> anyhow::Result<(i64, i64)> {
    let mut tx = pool.begin().await?;
    sqlx::query("set local synchronous_commit = on").execute(&mut *tx).await?;
    sqlx::query("set local statement_timeout = 0").execute(&mut *tx).await?;
    let choose =
        concat!("select d.id from ops.dead_letters as d where ", matching!(), " order by d.id limit $8");
    let chosen: Vec<i64> = args
        .filter
        .bind_scalar(sqlx::query_scalar(choose), Some("open"))
        .bind(args.limit.map(i64::from))
        .fetch_all(&mut *tx)
        .await?;
    let numbered = sqlx::query_as(include_str!("../../sql/number_dead_letters.sql"));
    let numbered: (i64, i64) = numbered.bind(&chosen).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(numbered)
}

/// Steps 2 and 3, a chunk at a time.
async fn send(
    settings: &Settings,
    pool: &PgPool,
    lock: &mut OperatorLock,
    done: &mut Done,
) -> anyhow::Result<()> {
    let lanes: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "select stage, topic, min(replay_seq), max(replay_seq) from ops.dead_letters \
         where status = 'replaying' group by stage, topic order by stage, topic",
    )
    .fetch_all(pool)
    .await?;
    if lanes.is_empty() {
        return Ok(());
    }
    let fleet = Fleet::connect(settings)?;
    for (_, topic, ..) in &lanes {
        anyhow::ensure!(!fleet.watermarks(topic)?.is_empty(), "Kafka has no topic {topic}");
    }
    let producer = Producer::new(&settings.kafka)?;
    let style =
        ProgressStyle::with_template("  {prefix:<4}{bar:40} {human_pos:>10}/{human_len} {per_sec:>16}")?;
    let bar = ProgressBar::new((done.resumed + done.numbered).unsigned_abs()).with_style(style);
    for (stage, topic, first, last) in &lanes {
        bar.set_prefix(stage.clone());
        let mut sent = first - 1;
        while sent < *last {
            lock.assert_held().await?;
            let letters = chunk(pool, stage, topic, sent).await?;
            let Some(newest) = letters.last().and_then(|letter| letter.replay_seq) else { break };
            let records: Vec<Output> = letters.iter().map(to_record).collect();
            producer.send_all(&records).await.context("Kafka took not all of them; run it again")?;
            failpoint::pass("replay_sent")?;
            let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
            sqlx::query(
                "update ops.dead_letters set status = 'replayed' where id = any($1) and status = 'replaying'",
            )
            .bind(&ids)
            .execute(pool)
            .await?;
            done.sent += ids.len() as u64;
            bar.inc(ids.len() as u64);
            sent = newest;
        }
    }
    bar.finish_and_clear();
    done.numbers = lanes;
    Ok(())
}

async fn chunk(pool: &PgPool, stage: &str, topic: &str, after: i64) -> anyhow::Result<Vec<Letter>> {
    let select = concat!(
        "select ",
        columns!(),
        " from (select *, sum(octet_length(payload)) over (order by replay_seq) - octet_length(payload) as before \
         from ops.dead_letters where stage = $1 and topic = $2 and status = 'replaying' and replay_seq > $3 \
         order by replay_seq limit $4) as d where d.before < $5 order by d.replay_seq"
    );
    let query = sqlx::query_as(select).bind(stage).bind(topic).bind(after).bind(CHUNK).bind(CHUNK_BYTES);
    Ok(query.fetch_all(pool).await?)
}

/// The letter as a record of the partition it came from.
fn to_record(letter: &Letter) -> Output {
    let number = letter.replay_seq.unwrap_or_default();
    let mut headers = vec![
        (origin::HEADER.into(), format!("{}/0/{number}", dlq_topic(&letter.topic))),
        (origin::REPLAY_OF_HEADER.into(), letter.start()),
    ];
    headers.extend(letter.event_id.clone().map(|id| (search::EVENT_ID_HEADER.into(), id)));
    Output {
        topic: letter.topic.as_str().into(),
        key: letter.key.clone(),
        payload: letter.payload.clone(),
        timestamp_ms: letter.record_dt.timestamp_millis(),
        headers,
        partition: Some(letter.partition),
    }
}

/// Waits until the stages have read what was sent; returns how many were refused again.
async fn wait(settings: &Settings, pool: &PgPool, done: &Done, within: Duration) -> anyhow::Result<i64> {
    let fleet = Fleet::connect(settings)?;
    let deadline = tokio::time::Instant::now() + within;
    let mut refused = 0;
    for (stage, topic, first, last) in &done.numbers {
        let ends = fleet.watermarks(topic)?;
        loop {
            let stored = fleet.offsets(stage, topic).await?;
            let behind = ends.iter().find(|(p, _, high)| stored.get(p).is_some_and(|next| next < high));
            if behind.is_none() {
                break;
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "they are sent, but {stage} has not read all of {topic} yet; strata status says why"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let again: i64 = sqlx::query_scalar(
            "select count(distinct n) from generate_series($3::bigint, $4::bigint) as n \
             join ops.dead_letters as d on d.stage = $1 and d.topic = $2 and d.origin = $5 || '/0/' || n",
        )
        .bind(stage)
        .bind(topic)
        .bind(first)
        .bind(last)
        .bind(dlq_topic(topic))
        .fetch_one(pool)
        .await?;
        refused += again;
    }
    Ok(refused)
}

fn report(args: &Args, done: &Done, refused: Option<i64>) {
    if args.json {
        let all = json!({
            "resumed": done.resumed,
            "replayed": done.sent,
            "copies": done.copies,
            "refused_again": refused,
        });
        println!("{all}");
        return;
    }
    if done.resumed > 0 {
        println!("{} were left by a run that was interrupted", grouped(done.resumed));
    }
    println!("{} dead letters replayed", grouped(done.sent as i64));
    if done.copies > 0 {
        println!("{} more were copies of records that are replayed once", grouped(done.copies));
    }
    match refused {
        Some(0) => println!("none was refused again"),
        Some(n) => println!("{} were refused again: strata dlq list", grouped(n)),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn letter() -> Letter {
        Letter {
            id: 9,
            stream: "order".into(),
            stage: "stg".into(),
            topic: "stg_topic".into(),
            partition: 3,
            offset: 17,
            record_dt: DateTime::from_timestamp_millis(1_740_214_574_049).expect("in range"),
            key: None,
            payload: b"{}".to_vec(),
            reason: "unknown_user".into(),
            detail: String::new(),
            first_seen: DateTime::UNIX_EPOCH,
            attempts: 2,
            status: "replaying".into(),
            origin: None,
            source: None,
            event_id: None,
            replay_seq: Some(5),
        }
    }

    fn headers(letter: &Letter) -> Vec<String> {
        to_record(letter).headers.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_replay_is_the_same_record_with_an_origin_of_its_own() {
        let record = to_record(&letter());
        assert_eq!((&*record.topic, record.key.as_deref()), ("stg_topic", None));
        assert_eq!((record.timestamp_ms, record.payload.as_slice()), (1_740_214_574_049, &b"{}"[..]));
        assert_eq!(headers(&letter()), ["origin=stg_topic.dlq/0/5", "replay_of=stg_topic/3/17"]);
    }

    #[test]
    fn it_says_where_the_event_began_however_often_it_was_replayed() {
        let between = Letter { origin: Some("stg_topic/1/2".into()), ..letter() };
        assert_eq!(headers(&between)[1], "replay_of=stg_topic/1/2");
        let again = Letter {
            origin: Some("stg_topic.dlq/0/4".into()),
            source: Some("stg_topic/1/2".into()),
            event_id: Some("a-1".into()),
            ..letter()
        };
        assert_eq!(headers(&again), ["origin=stg_topic.dlq/0/5", "replay_of=stg_topic/1/2", "event_id=a-1"]);
    }
}
