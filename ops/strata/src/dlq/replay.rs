//! `strata dlq replay`: open dead letters through their stage again, each with the effect of one event.
//!
//! How that is safe to interrupt and to repeat: [`strata_runtime::kafka::replay`].

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use sqlx::PgPool;
use strata_events::stream::dlq_topic;
use strata_runtime::kafka::Producer;
use strata_runtime::kafka::replay::{self, Numbered, Replaying};
use strata_runtime::{OperatorLock, Settings, failpoint, pg};

use super::filter::{Filter, UNSETTLED, matching};

use crate::fleet::Fleet;
use crate::layers::grouped;

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
    numbered: Numbered,
    /// Acknowledged by Kafka.
    sent: u64,
    /// What was sent.
    lanes: Vec<Replaying>,
}

/// Replays the chosen dead letters.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    args.filter.require_choice(args.all)?;
    let pool = pg::pool(&settings.postgres, "strata", settings.postgres.worker_connections);
    let mut lock = OperatorLock::take(&pool).await?;
    let resumed = sqlx::query_scalar("select count(*) from ops.dead_letters where status = 'replaying'");
    let mut done = Done { resumed: resumed.fetch_one(&pool).await?, ..Done::default() };
    done.numbered = number(&pool, args).await?;
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

/// Chooses and numbers.
async fn number(pool: &PgPool, args: &Args) -> anyhow::Result<Numbered> {
    let mut tx = pool.begin().await?;
    sqlx::query("set local statement_timeout = 0").execute(&mut *tx).await?;
    let choose =
        concat!("select d.id from ops.dead_letters as d where ", matching!(), " order by d.id limit $8");
    let chosen: Vec<i64> = args
        .filter
        .bind_scalar(sqlx::query_scalar(choose), Some(&UNSETTLED))
        .bind(args.limit.map(i64::from))
        .fetch_all(&mut *tx)
        .await?;
    let numbered = replay::number(&mut tx, &chosen).await?;
    tx.commit().await?;
    Ok(numbered)
}

/// Sends what is numbered.
async fn send(
    settings: &Settings,
    pool: &PgPool,
    lock: &mut OperatorLock,
    done: &mut Done,
) -> anyhow::Result<()> {
    done.lanes = replay::replaying(pool).await?;
    if done.lanes.is_empty() {
        return Ok(());
    }
    let fleet = Fleet::connect(settings)?;
    for Replaying { topic, .. } in &done.lanes {
        anyhow::ensure!(!fleet.watermarks(topic)?.is_empty(), "Kafka has no topic {topic}");
    }
    let producer = Producer::new(&settings.kafka)?;
    let style =
        ProgressStyle::with_template("  {prefix:<4}{bar:40} {human_pos:>10}/{human_len} {per_sec:>16}")?;
    let bar = ProgressBar::new((done.resumed + done.numbered.numbered).unsigned_abs()).with_style(style);
    for lane in &done.lanes {
        bar.set_prefix(lane.stage.clone());
        let on_sent = |count| {
            done.sent += count;
            bar.inc(count);
        };
        replay::send(pool, &producer, lock, lane, on_sent).await?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Waits until the stages have read what was sent; returns how many were refused again.
async fn wait(settings: &Settings, pool: &PgPool, done: &Done, within: Duration) -> anyhow::Result<i64> {
    let fleet = Fleet::connect(settings)?;
    let deadline = tokio::time::Instant::now() + within;
    let mut refused = 0;
    for Replaying { stage, topic, first, last } in &done.lanes {
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
            "copies": done.numbered.copies,
            "refused_again": refused,
        });
        println!("{all}");
        return;
    }
    if done.resumed > 0 {
        println!("{} were left by a run that was interrupted", grouped(done.resumed));
    }
    println!("{} dead letters replayed", grouped(done.sent as i64));
    if done.numbered.copies > 0 {
        println!("{} more were copies of records that are replayed once", grouped(done.numbered.copies));
    }
    match refused {
        Some(0) => println!("none was refused again"),
        Some(n) => println!("{} were refused again: strata dlq list", grouped(n)),
        None => {}
    }
}
