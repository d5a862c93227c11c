//! Takes up parked records by itself when what they wait for has arrived.
//!
//! About once a second: which references do parked records wait for, which of these are there, and so which records
//! lack nothing any more? Those are replayed, as `strata dlq replay` would (see [`replay`]). Any number of processes may
//! do so: whoever finds the operator's lock taken looks again later. A record that still lacks something when it is
//! read again is parked again. Nothing here touches the loop or its transactions.

use std::collections::HashSet;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::{PgConnection, PgPool};
use strata_events::Reference;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::error::StageError;
use crate::metrics as names;
use crate::producer::Producer;
use crate::replay::{self, Replaying};
use strata_service::config::Route;
use strata_service::{Client as _, failpoint};

use crate::{Loops, OperatorLock};

/// Pause between two rounds.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A round that takes longer is given up: the lock must not be held while a server hangs.
const ROUND_WITHIN: Duration = Duration::from_secs(15);
/// Kafka answers within this, or nothing is numbered.
const KAFKA_ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// References that one round asks for; the next goes on behind them.
const REFERENCES: i64 = 10_000;
/// Records that one round takes up.
const RECORDS: i64 = 2_000;
/// Pause between two counts of what is parked.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// The reference data, as enrichment sees them.
pub trait References: Send + 'static {
    /// Which of `wanted` are there now, whatever was remembered of them.
    fn present(
        &mut self,
        wanted: &HashSet<Reference>,
    ) -> impl Future<Output = Result<HashSet<Reference>, StageError>> + Send;
}

/// The parked records of one stage in one stream.
pub struct Parked<R> {
    pool: PgPool,
    producer: Producer,
    route: Route,
    references: R,
    /// Where the next round goes on in the list of references.
    after: String,
    counted: Option<Instant>,
}

impl<R: References> Parked<R> {
    /// Takes up those of a route, in the background, when their `references` are there, until the service stops.
    pub fn start(loops: &Loops<'_>, route: &Route, references: R) {
        let (pool, producer, route) = (loops.app.postgres.clone(), loops.producer.clone(), route.clone());
        let parked = Self { pool, producer, route, references, after: String::new(), counted: None };
        tokio::spawn(parked.take_up(loops.app.shutdown.clone()));
    }

    /// Looks again and again until `stop` is cancelled. That may be in the middle of a round: the next finishes it.
    async fn take_up(mut self, stop: CancellationToken) {
        let mut is_well = true;
        loop {
            let round = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                round = timeout(ROUND_WITHIN, self.round()) => round.context("no answer in time").flatten(),
            };
            let (is_well_now, has_more) = (round.is_ok(), matches!(round, Ok(true)));
            match round {
                Err(e) if is_well => {
                    tracing::warn!(error = format!("{e:#}"), "parked records are not taken up; trying again");
                }
                Ok(_) if !is_well => tracing::info!("parked records are taken up again"),
                _ => {}
            }
            is_well = is_well_now;
            let pause = if has_more { Duration::ZERO } else { LOOK_EVERY };
            if timeout(pause, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// One look; true when there is more to be taken up at once.
    async fn round(&mut self) -> anyhow::Result<bool> {
        self.count().await?;
        let (waited_for, is_interrupted): (Vec<String>, bool) =
            sqlx::query_as(include_str!("../sql/select_waited_for.sql"))
                .bind(self.route.stage.as_str())
                .bind(&self.route.input)
                .bind(&self.after)
                .bind(REFERENCES)
                .fetch_one(&self.pool)
                .await?;
        let present = self.references.present(&parse(&waited_for)).await?;
        let arrived: Vec<&String> =
            waited_for.iter().filter(|text| text.parse().is_ok_and(|one| present.contains(&one))).collect();
        let is_whole_page = waited_for.len() as i64 == REFERENCES;
        self.after = waited_for.last().filter(|_| is_whole_page).cloned().unwrap_or_default();
        if arrived.is_empty() && !is_interrupted {
            return Ok(false);
        }
        let producer = self.producer.clone();
        let answer = spawn_blocking(move || producer.ask(KAFKA_ANSWERS_WITHIN)).await?;
        answer.map_err(|why| anyhow::anyhow!("kafka {why}"))?;
        let Some(mut lock) = OperatorLock::try_take(&self.pool).await? else { return Ok(false) };
        let has_more = self.number(&arrived).await?;
        failpoint::pass("replay_numbered")?;
        let own = |key: &Replaying| key.stage == self.route.stage.as_str() && key.topic == self.route.input;
        if let Some(replaying) = replay::replaying(&self.pool).await?.into_iter().find(own) {
            let mut sent = 0;
            replay::send(&self.pool, &self.producer, &mut lock, &replaying, |count| sent += count).await?;
            tracing::info!(kafka.topic = self.route.input, records = sent, "parked records are taken up");
            self.counted = None;
        }
        Ok(has_more)
    }

    /// Numbers records that lack nothing any more, under the lock, and notes what the others still lack.
    async fn number(&mut self, arrived: &[&String]) -> anyhow::Result<bool> {
        let rows: Vec<(i64, Vec<String>)> = sqlx::query_as(
            "select id, waits_for from ops.dead_letters where stage = $1 and topic = $2 and status = 'parked' \
             and waits_for[1] = any($3) limit $4",
        )
        .bind(self.route.stage.as_str())
        .bind(&self.route.input)
        .bind(arrived)
        .bind(RECORDS)
        .fetch_all(&self.pool)
        .await?;
        let wanted: Vec<String> = rows.iter().flat_map(|(_, waits_for)| waits_for).cloned().collect();
        let present = self.references.present(&parse(&wanted)).await?;
        let is_missing = |text: &&String| !text.parse().is_ok_and(|one| present.contains(&one));
        let (mut complete, mut waiting, mut lacks) = (Vec::new(), Vec::new(), Vec::new());
        for (id, waits_for) in &rows {
            let missing: Vec<&str> = waits_for.iter().filter(is_missing).map(String::as_str).collect();
            if missing.is_empty() {
                complete.push(*id);
            } else {
                waiting.push(*id);
                lacks.push(missing.join(" "));
            }
        }
        let mut tx = self.pool.begin().await?;
        wait_for_the_rest(&mut tx, &waiting, &lacks).await?;
        replay::number(&mut tx, &complete).await?;
        tx.commit().await?;
        Ok(rows.len() as i64 == RECORDS)
    }

    /// Measures what is parked, every now and then.
    async fn count(&mut self) -> sqlx::Result<()> {
        if self.counted.is_some_and(|at| at.elapsed() < COUNT_EVERY) {
            return Ok(());
        }
        let parked: i64 = sqlx::query_scalar(
            "select count(*) from ops.dead_letters where stage = $1 and topic = $2 and status = 'parked'",
        )
        .bind(self.route.stage.as_str())
        .bind(&self.route.input)
        .fetch_one(&self.pool)
        .await?;
        metrics::gauge!(names::PARKED, "stream" => self.route.stream).set(parked as f64);
        self.counted = Some(Instant::now());
        Ok(())
    }
}

/// Notes what records still lack of which something has arrived.
async fn wait_for_the_rest(tx: &mut PgConnection, ids: &[i64], lacks: &[String]) -> sqlx::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update ops.dead_letters as d set waits_for = string_to_array(n.lacks, ' ') \
         from unnest($1::bigint[], $2::text[]) as n (id, lacks) where d.id = n.id and d.status = 'parked'",
    )
    .bind(ids)
    .bind(lacks)
    .execute(tx)
    .await?;
    Ok(())
}

/// The references of a list; what has not their form is left out.
fn parse(texts: &[String]) -> HashSet<Reference> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
