//! A stage whose data lives in Postgres: one transaction holds rows, dead letters, the next offset
//! and the outputs that are about to be sent.

use std::sync::Arc;

use sqlx::{PgConnection, PgPool};
use strata_events::stream::dlq_topic;
use strata_events::{Origin, Reject};

use super::guard::DeadLetterGuard;
use super::pending;
use super::record::{Output, Record};
use super::stage::{Effects, Handler, Input, Position, Span, Stage, StageError};
use crate::metrics as names;

/// Largest payload that is copied into a dead-letter topic; the table keeps all of it.
const DLQ_PAYLOAD_BYTES: usize = super::producer::MAX_RECORD_BYTES - (64 << 10);

/// Longest detail of a dead letter, in characters.
const DETAIL_CHARS: usize = 500;

/// Offsets, dead letters and outputs around a [`Handler`].
pub struct PgStage<H> {
    pool: PgPool,
    stage: &'static str,
    stream: &'static str,
    topic: Arc<str>,
    handler: H,
}

impl<H: Handler> PgStage<H> {
    /// Binds a handler to the topic it reads: `stage` is the layer, `stream` the kind of event.
    pub fn new(pool: PgPool, stage: &'static str, stream: &'static str, topic: &str, handler: H) -> Self {
        Self { pool, stage, stream, topic: topic.into(), handler }
    }

    /// Locks the offset rows in order and compares them with what this instance believes.
    async fn fence(&self, tx: &mut PgConnection, span: &Span) -> Result<(), StageError> {
        let partitions: Vec<i32> = span.keys().copied().collect();
        let rows: Vec<(i32, i64)> = sqlx::query_as(include_str!("../../sql/lock_consumer_offsets.sql"))
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(&partitions)
            .fetch_all(tx)
            .await?;
        for (&partition, &(expected, _)) in span {
            let stored = rows.iter().find(|(found, _)| *found == partition).map_or(-1, |(_, offset)| *offset);
            if stored != expected {
                return Err(StageError::Fenced { partition, stored, expected });
            }
        }
        Ok(())
    }

    async fn store_offsets(&self, tx: &mut PgConnection, span: &Span) -> Result<(), StageError> {
        let (partitions, offsets): (Vec<i32>, Vec<i64>) =
            span.iter().map(|(&partition, &(_, next))| (partition, next)).unzip();
        sqlx::query(include_str!("../../sql/update_consumer_offsets.sql"))
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
            packs.push(pending::pack(&own).map_err(|e| StageError::Data(e.into()))?);
        }
        if partitions.is_empty() {
            return Ok(());
        }
        sqlx::query(include_str!("../../sql/upsert_pending_outputs.sql"))
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(&partitions)
            .bind(&packs)
            .execute(tx)
            .await?;
        Ok(())
    }

    async fn store_dead_letters(
        &self,
        tx: &mut PgConnection,
        letters: &[(&Record, &Reject)],
    ) -> Result<(), StageError> {
        if letters.is_empty() {
            return Ok(());
        }
        let column = |f: fn(&Record) -> i64| letters.iter().map(|(record, _)| f(record)).collect::<Vec<_>>();
        let text = |f: fn(&Record) -> Option<&Origin>| {
            letters.iter().map(|(record, _)| f(record).map(Origin::to_string)).collect::<Vec<_>>()
        };
        let partitions: Vec<i32> = letters.iter().map(|(record, _)| record.partition).collect();
        let keys: Vec<Option<&[u8]>> = letters.iter().map(|(record, _)| record.key.as_deref()).collect();
        let payloads: Vec<&[u8]> = letters.iter().map(|(record, _)| record.payload.as_slice()).collect();
        let reasons: Vec<&str> = letters.iter().map(|(_, reject)| reject.code).collect();
        let details: Vec<String> = letters.iter().map(|(_, reject)| printable(&reject.detail)).collect();
        sqlx::query(include_str!("../../sql/insert_dead_letters.sql"))
            .bind(self.stream)
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(&partitions)
            .bind(column(|record| record.offset))
            .bind(column(|record| record.timestamp_ms))
            .bind(&keys)
            .bind(&payloads)
            .bind(&reasons)
            .bind(&details)
            .bind(text(|record| record.origin.as_ref()))
            .bind(text(|record| record.replay_of.as_ref()))
            .bind(letters.iter().map(|(record, _)| record.event_id.as_deref()).collect::<Vec<_>>())
            .bind(letters.iter().map(|(record, _)| record.replay_seq()).collect::<Vec<_>>())
            .execute(tx)
            .await?;
        Ok(())
    }

    /// The dead letter as a record of the dead-letter topic.
    fn dead_letter(&self, record: &Record, reject: &Reject) -> Output {
        let payload = &record.payload[..record.payload.len().min(DLQ_PAYLOAD_BYTES)];
        let key = record.key.clone().unwrap_or_default();
        let mut output = Output::from_input(record, &dlq_topic(&self.topic), key, payload.to_vec());
        output.headers.extend([
            ("reason".to_owned(), reject.code.to_owned()),
            ("detail".to_owned(), printable(&reject.detail)),
            ("stage".to_owned(), self.stage.to_owned()),
            ("original_topic".to_owned(), record.topic.to_string()),
            ("original_partition".to_owned(), record.partition.to_string()),
            ("original_offset".to_owned(), record.offset.to_string()),
        ]);
        output
    }

    fn count(&self, applied: usize, letters: &[(&Record, &Reject)]) {
        metrics::counter!(names::EVENTS, "stream" => self.stream, "outcome" => "applied")
            .increment(applied as u64);
        metrics::counter!(names::EVENTS, "stream" => self.stream, "outcome" => "dead_letter")
            .increment(letters.len() as u64);
        for (record, reject) in letters {
            metrics::counter!(names::DEAD_LETTERS, "stream" => self.stream, "reason" => reject.code)
                .increment(1);
            tracing::warn!(
                kafka.topic = %record.topic,
                kafka.partition = record.partition,
                kafka.offset = record.offset,
                reason = reject.code,
                "dead letter kept"
            );
        }
    }
}

/// Text that Postgres and a Kafka header can hold.
fn printable(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(DETAIL_CHARS).collect()
}

impl<H: Handler> Stage for PgStage<H> {
    async fn positions(&mut self, partitions: &[i32]) -> Result<Vec<Position>, StageError> {
        let rows: Vec<(i32, i64, Option<Vec<u8>>)> =
            sqlx::query_as(include_str!("../../sql/select_positions.sql"))
                .bind(self.stage)
                .bind(&*self.topic)
                .bind(partitions)
                .fetch_all(&self.pool)
                .await?;
        let mut positions = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            let row = rows.iter().find(|(found, ..)| *found == partition);
            let pending = match row.and_then(|(_, _, outputs)| outputs.as_deref()) {
                Some(bytes) => pending::unpack(bytes).map_err(StageError::Data)?,
                None => Vec::new(),
            };
            positions.push(Position { partition, next_offset: row.map(|(_, offset, _)| *offset), pending });
        }
        Ok(positions)
    }

    async fn initialize(&mut self, offsets: &[(i32, i64)]) -> Result<(), StageError> {
        let (partitions, offsets): (Vec<i32>, Vec<i64>) = offsets.iter().copied().unzip();
        sqlx::query(include_str!("../../sql/insert_consumer_offsets.sql"))
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(&partitions)
            .bind(&offsets)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn apply(
        &mut self,
        records: &[Record],
        span: &Span,
        condemned: Option<Reject>,
        guard: &mut DeadLetterGuard,
    ) -> Result<Vec<Output>, StageError> {
        let mut inputs = Vec::with_capacity(records.len());
        let mut letters: Vec<(&Record, Reject)> = Vec::new();
        for record in records {
            match condemned.clone().map_or_else(|| self.handler.decode(record), Err) {
                Ok(event) => inputs.push(Input { record, event }),
                Err(reject) => letters.push((record, reject)),
            }
        }
        let mut tx = self.pool.begin().await?;
        self.fence(&mut tx, span).await?;
        let effects = match inputs.is_empty() {
            true => Effects::default(),
            false => self.handler.apply(&mut tx, &inputs).await?,
        };
        let applied = inputs.len() - effects.rejects.len();
        letters.extend(effects.rejects.into_iter().map(|(index, reject)| (inputs[index].record, reject)));
        let letters: Vec<(&Record, &Reject)> =
            letters.iter().map(|(record, reject)| (*record, reject)).collect();
        guard.admit(records.len(), &letters)?;
        let mut outputs: Vec<(i32, Output)> = effects
            .outputs
            .into_iter()
            .map(|(index, output)| (inputs[index].record.partition, output))
            .collect();
        outputs.extend(
            letters.iter().map(|(record, reject)| (record.partition, self.dead_letter(record, reject))),
        );
        self.store_dead_letters(&mut tx, &letters).await?;
        self.store_pending(&mut tx, span, &outputs).await?;
        self.store_offsets(&mut tx, span).await?;
        tx.commit().await?;
        self.count(applied, &letters);
        Ok(outputs.into_iter().map(|(_, output)| output).collect())
    }

    async fn settle(&mut self, partitions: &[i32]) -> Result<(), StageError> {
        sqlx::query(include_str!("../../sql/delete_pending_outputs.sql"))
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(partitions)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
