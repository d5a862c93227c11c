//! A stage whose data lives in Postgres: one transaction holds rows, dead letter, the next offset
//! and the outputs that are about to be sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use strata_events::Reject;

use crate::dead_letter::DeadLetters;
use crate::error::StageError;
use crate::guard::DeadLetterGuard;
use crate::metrics::{Phases, written};
use crate::partitions::Partitions;
use crate::pending;
use crate::record::{Output, Record};
use crate::stage::{Handler, Input, Position, Span, Stage};
use strata_service::config::Route;
use strata_service::{failpoint, pg};

/// Offsets, dead letter and outputs around a [`Handler`].
pub struct PgStage<H> {
    pool: PgPool,
    stage: &'static str,
    topic: Arc<str>,
    place: DeadLetters,
    partitions: Partitions,
    handler: H,
}

impl<H: Handler> PgStage<H> {
    /// Binds a handler to what it reads; `partitions` knows every topic that is written.
    pub fn new(pool: PgPool, route: &Route, partitions: Partitions, handler: H) -> Self {
        let (stage, topic, place) = (route.stage.as_str(), (*route.input).into(), DeadLetters::of(route));
        Self { pool, stage, topic, place, partitions, handler }
    }

    /// Locks the offset rows in order and compares them with what this instance believes.
    async fn fence(&self, tx: &mut PgConnection, span: &Span) -> Result<(), StageError> {
        let partitions: Vec<i32> = span.keys().copied().collect();
        let rows: Vec<(i32, i64)> = sqlx::query_as(include_str!("../sql/lock_consumer_offsets.sql"))
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(&partitions)
            .fetch_all(tx)
            .await?;
        compare(&rows, span.iter().map(|(&partition, &(expected, _))| (partition, expected)))
    }

    async fn store_offsets(&self, tx: &mut PgConnection, span: &Span) -> Result<(), StageError> {
        let (partitions, offsets): (Vec<i32>, Vec<i64>) =
            span.iter().map(|(&partition, &(_, next))| (partition, next)).unzip();
        sqlx::query(include_str!("../sql/update_consumer_offsets.sql"))
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(&partitions)
            .bind(&offsets)
            .execute(tx)
            .await?;
        Ok(())
    }

    async fn store_pending(
        &self,
        tx: &mut PgConnection,
        span: &Span,
        outputs: &[(i32, Output)],
    ) -> Result<(), StageError> {
        let mut partitions = Vec::with_capacity(span.len());
        let mut packs = Vec::with_capacity(span.len());
        for &partition in span.keys() {
            let own: Vec<&Output> = outputs.iter().filter(|(p, _)| *p == partition).map(|(_, o)| o).collect();
            if own.is_empty() {
                continue;
            }
            partitions.push(partition);
            packs.push(pending::pack(&own).map_err(StageError::Data)?);
        }
        if partitions.is_empty() {
            return Ok(());
        }
        sqlx::query(include_str!("../sql/upsert_pending_outputs.sql"))
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(&partitions)
            .bind(&packs)
            .execute(tx)
            .await?;
        Ok(())
    }

    /// Says that what was kept cannot be sent.
    fn unreadable(&self, partition: i32, error: &anyhow::Error) -> StageError {
        let (stage, topic) = (self.stage, &self.topic);
        StageError::NeedsOperator(format!(
            "outputs of {stage} of {topic}/{partition} cannot be sent: {error:#}"
        ))
    }

    /// One batch, one transaction.
    async fn transact(
        &mut self,
        connection: &mut PgConnection,
        records: &[Record],
        span: &Span,
        refuse_as: Option<Reject>,
        guard: &mut DeadLetterGuard,
    ) -> Result<Vec<Output>, StageError> {
        let mut phases = Phases::start(self.place.stream());
        let mut inputs = Vec::with_capacity(records.len());
        let mut refused: Vec<(&Record, Reject)> = Vec::new();
        for record in records {
            match record.read(refuse_as.as_ref(), |record| self.handler.decode(record)) {
                Ok(event) => inputs.push(Input { record, event }),
                Err(reject) => refused.push((record, self.place.locate(record, reject))),
            }
        }
        phases.end("decode");
        self.partitions.refresh().await?;
        let prepared = match inputs.is_empty() {
            true => H::Prepared::default(),
            false => self.handler.prepare(&inputs).await?,
        };
        phases.end("prepare");
        let mut tx = connection.begin().await?;
        self.fence(&mut tx, span).await?;
        let (effects, written) = match inputs.is_empty() {
            true => Default::default(),
            false => {
                let (effects, written) =
                    written::collect(self.handler.apply(&mut tx, &inputs, prepared)).await;
                (effects?, written)
            }
        };
        phases.end("apply");
        let duplicates = effects.duplicates;
        let applied = inputs.len() - effects.rejects.len() - duplicates;
        refused.extend(effects.rejects.into_iter().map(|(index, reject)| (inputs[index].record, reject)));
        let refused: Vec<(&Record, &Reject)> =
            refused.iter().map(|(record, reject)| (*record, reject)).collect();
        guard.admit(&self.place, records.len(), &refused, &mut *tx).await?;
        let mut outputs: Vec<(i32, Output)> = effects
            .outputs
            .into_iter()
            .map(|(index, output)| (inputs[index].record.partition, output))
            .collect();
        outputs.extend(
            refused
                .iter()
                .filter_map(|(record, reject)| Some((record.partition, self.place.output(record, reject)?))),
        );
        for (_, output) in &mut outputs {
            self.partitions.assign(output)?;
        }
        self.place.store(&mut tx, &refused).await?;
        self.store_pending(&mut tx, span, &outputs).await?;
        self.store_offsets(&mut tx, span).await?;
        failpoint::pass("in_transaction")?;
        tx.commit().await?;
        phases.end("commit");
        written.count();
        self.place.count(applied, duplicates, &refused);
        Ok(outputs.into_iter().map(|(_, output)| output).collect())
    }
}

/// A connection that is closed unless the work on it came to its end: one that is given up in the middle of
/// a COPY would hand the rest of an answer to whoever uses it next.
struct Held {
    connection: PoolConnection<Postgres>,
    ended: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}

/// Compares stored offsets with expected ones; a partition without a row counts as moved.
fn compare(stored: &[(i32, i64)], expected: impl Iterator<Item = (i32, i64)>) -> Result<(), StageError> {
    for (partition, expected) in expected {
        let stored = stored.iter().find(|(found, _)| *found == partition).map_or(-1, |(_, offset)| *offset);
        if stored != expected {
            return Err(StageError::Fenced { partition, stored, expected });
        }
    }
    Ok(())
}

impl<H: Handler> Stage for PgStage<H> {
    async fn positions(&mut self, partitions: &[i32]) -> Result<Vec<Position>, StageError> {
        let rows: Vec<(i32, i64, Option<Vec<u8>>)> =
            sqlx::query_as(include_str!("../sql/select_positions.sql"))
                .bind(self.stage)
                .bind(&*self.topic)
                .bind(partitions)
                .fetch_all(&self.pool)
                .await?;
        let mut positions = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            let row = rows.iter().find(|(found, ..)| *found == partition);
            let pending = match row.and_then(|(_, _, outputs)| outputs.as_deref()) {
                Some(bytes) => pending::unpack(bytes).map_err(|e| self.unreadable(partition, &e))?,
                None => Vec::new(),
            };
            positions.push(Position { partition, next_offset: row.map(|(_, offset, _)| *offset), pending });
        }
        Ok(positions)
    }

    async fn initialize(&mut self, partitions: &[i32]) -> Result<(), StageError> {
        sqlx::query(include_str!("../sql/insert_consumer_offsets.sql"))
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(partitions)
            .bind(vec![0_i64; partitions.len()])
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn apply(
        &mut self,
        records: &[Record],
        span: &Span,
        refuse_as: Option<Reject>,
        guard: &mut DeadLetterGuard,
    ) -> Result<Vec<Output>, StageError> {
        let mut held = Held { connection: self.pool.acquire().await?, ended: false };
        let applied = self.transact(&mut held.connection, records, span, refuse_as, guard).await;
        if applied.as_ref().is_err_and(StageError::is_lock_timeout) {
            pg::end_hung_copies(&mut held.connection).await?;
        }
        held.ended = true;
        applied
    }

    /// A crash of the database may take back commits that were not flushed: an idle loop would not notice.
    async fn verify(&mut self, positions: &BTreeMap<i32, i64>) -> Result<(), StageError> {
        let partitions: Vec<i32> = positions.keys().copied().collect();
        let stored: Vec<(i32, i64)> = sqlx::query_as(include_str!("../sql/select_consumer_offsets.sql"))
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(&partitions)
            .fetch_all(&self.pool)
            .await?;
        compare(&stored, positions.iter().map(|(&partition, &expected)| (partition, expected)))
    }

    async fn forget_acknowledged(&mut self, positions: &[(i32, i64)]) -> Result<(), StageError> {
        let (partitions, offsets): (Vec<i32>, Vec<i64>) = positions.iter().copied().unzip();
        sqlx::query(include_str!("../sql/delete_pending_outputs.sql"))
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(&partitions)
            .bind(&offsets)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
