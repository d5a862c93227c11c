//! Dead letters: records that a stage cannot use, kept as they came.
//!
//! The table is the truth and is written with, or before, the offset that passes them by; the copy in the
//! dead-letter topic is for consumers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use sqlx::{PgConnection, PgExecutor};
use strata_events::reject::Class;
use strata_events::stream::dlq_topic;
use strata_events::{Breach, Origin, Reject, Schema};

use crate::error::StageError;
use crate::metrics as names;
use crate::record::{Output, Record};
use strata_service::config::Route;

/// Largest payload that is copied into a dead-letter topic; the table keeps all of it.
const DLQ_PAYLOAD_BYTES: usize = crate::record::MAX_RECORD_BYTES - (64 << 10);

/// Longest detail of a dead letter, in characters.
const DETAIL_CHARS: usize = 500;

/// How long a resume also holds for loops that come to the same records later, and for a stage that was restarted.
const RESUME_HOLDS: Duration = Duration::from_secs(60);

/// What an operator did to let a stage go on with what it refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resumes {
    /// How often.
    pub times: i64,
    /// True where the last one was a moment ago.
    pub holds: bool,
}

/// The dead letters of one stage in one topic.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    stage: &'static str,
    stream: &'static str,
    topic: Arc<str>,
    schema: Schema,
}

impl DeadLetters {
    /// Those of a route.
    pub fn of(route: &Route) -> Self {
        let (stage, topic) = (route.stage.as_str(), (*route.input).into());
        Self { stage, stream: route.stream, topic, schema: route.schema }
    }

    /// The kind of event, as metrics name it.
    pub fn stream(&self) -> &'static str {
        self.stream
    }

    /// The layer that refuses.
    pub fn stage(&self) -> &'static str {
        self.stage
    }

    /// Whether an operator has let the stage go on with what it refused.
    pub async fn resumes(&self, executor: impl PgExecutor<'_>) -> Result<Resumes, StageError> {
        let sql = "select resumed, resumed_at > now() - $3 * interval '1 second' from ops.stage_resumes \
                   where stage = $1 and topic = $2";
        let holds = RESUME_HOLDS.as_secs_f64();
        let found =
            sqlx::query_as(sql).bind(self.stage).bind(&*self.topic).bind(holds).fetch_optional(executor);
        Ok(found.await?.map_or_else(Resumes::default, |(times, holds)| Resumes { times, holds }))
    }

    /// The reason of a record with the place and the rule of its schema that it breaks.
    ///
    /// Reads the body once more: for records that are refused only.
    pub fn locate(&self, record: &Record, reject: Reject) -> Reject {
        reject.located(self.schema, &record.payload)
    }

    /// Stores records with their reasons.
    ///
    /// **Idempotent**: a record is kept once, by its coordinates.
    pub async fn store(
        &self,
        tx: &mut PgConnection,
        refused: &[(&Record, &Reject)],
    ) -> Result<(), StageError> {
        if refused.is_empty() {
            return Ok(());
        }
        let column = |f: fn(&Record) -> i64| refused.iter().map(|(record, _)| f(record)).collect::<Vec<_>>();
        let text = |f: fn(&Record) -> Option<&Origin>| {
            refused.iter().map(|(record, _)| f(record).map(Origin::to_string)).collect::<Vec<_>>()
        };
        let partitions: Vec<i32> = refused.iter().map(|(record, _)| record.partition).collect();
        let keys: Vec<Option<&[u8]>> = refused.iter().map(|(record, _)| record.key.as_deref()).collect();
        let kept: Vec<Cow<'_, [u8]>> = refused.iter().map(|(record, _)| record.kept()).collect();
        let payloads: Vec<&[u8]> = kept.iter().map(|value| &**value).collect();
        let reasons: Vec<&str> = refused.iter().map(|(_, reject)| reject.code).collect();
        let details: Vec<String> = refused.iter().map(|(_, reject)| printable(&reject.detail)).collect();
        sqlx::query(include_str!("../sql/insert_dead_letters.sql"))
            .bind(self.stream)
            .bind(self.stage)
            .bind(&*self.topic)
            .bind(&partitions)
            .bind(column(|record| record.offset))
            .bind(column(Record::clamped_timestamp_ms))
            .bind(&keys)
            .bind(&payloads)
            .bind(&reasons)
            .bind(&details)
            .bind(text(|record| record.origin.as_ref()))
            .bind(text(|record| record.replay_of.as_ref()))
            .bind(
                refused
                    .iter()
                    .map(|(record, _)| record.event_id.as_deref().map(printable))
                    .collect::<Vec<_>>(),
            )
            .bind(refused.iter().map(|(record, _)| record.replay_seq()).collect::<Vec<_>>())
            .bind(refused.iter().map(|(record, _)| record.implausible_timestamp()).collect::<Vec<_>>())
            .bind(refused.iter().map(|(_, reject)| waits_for(reject)).collect::<Vec<_>>())
            .bind(breach(refused, |breach| &breach.pointer))
            .bind(breach(refused, |breach| &breach.rule))
            .execute(tx)
            .await?;
        Ok(())
    }

    /// The dead letter as a record of the dead-letter topic; none for what is only parked.
    pub fn output(&self, record: &Record, reject: &Reject) -> Option<Output> {
        if reject.is_parked() {
            return None;
        }
        let payload = record.kept();
        let payload = &payload[..payload.len().min(DLQ_PAYLOAD_BYTES)];
        let key = record.key.clone().unwrap_or_default();
        let mut output = Output::from_input(record, &dlq_topic(&self.topic).into(), key, payload.to_vec());
        // Brokers take no records that come from the future.
        output.timestamp_ms = record.clamped_timestamp_ms().min(Utc::now().timestamp_millis());
        output.headers.extend([
            ("reason".into(), reject.code.to_owned()),
            ("detail".into(), printable(&reject.detail)),
            ("stage".into(), self.stage.to_owned()),
            ("original_topic".into(), record.topic.to_string()),
            ("original_partition".into(), record.partition.to_string()),
            ("original_offset".into(), record.offset.to_string()),
        ]);
        if let Some(Breach { pointer, rule }) = &reject.breach {
            output.headers.extend([("pointer".into(), pointer.clone()), ("rule".into(), rule.clone())]);
        }
        Some(output)
    }

    /// Measures a batch that is stored: `applied` records were used, `duplicates` had been before, and `refused`
    /// cannot be.
    pub fn count(&self, applied: usize, duplicates: usize, refused: &[(&Record, &Reject)]) {
        let parked = refused.iter().filter(|(_, reject)| reject.is_parked()).count();
        for (outcome, records) in [
            ("applied", applied),
            ("duplicate", duplicates),
            ("parked", parked),
            ("dead_letter", refused.len() - parked),
        ] {
            metrics::counter!(names::EVENTS, "stream" => self.stream, "outcome" => outcome)
                .increment(records as u64);
        }
        if parked > 0 {
            tracing::info!(kafka.topic = %self.topic, parked, "records wait for reference data");
        }
        for (record, reject) in refused.iter().filter(|(_, reject)| !reject.is_parked()) {
            metrics::counter!(names::DEAD_LETTERS, "stream" => self.stream, "reason" => reject.code)
                .increment(1);
            tracing::warn!(
                kafka.topic = %record.topic,
                kafka.partition = record.partition,
                kafka.offset = record.offset,
                reason = reject.code,
                trace_id = record.traceparent.map(|at| tracing::field::display(at.trace_id())),
                "dead letter kept"
            );
        }
    }
}

/// One half of where records break their schema.
fn breach<'a>(refused: &[(&Record, &'a Reject)], half: fn(&Breach) -> &String) -> Vec<Option<&'a str>> {
    refused.iter().map(|(_, reject)| reject.breach.as_ref().map(|breach| half(breach).as_str())).collect()
}

/// What a parked record waits for, as `insert_dead_letters.sql` takes it.
fn waits_for(reject: &Reject) -> Option<String> {
    match &reject.class {
        Class::Parked { waits_for } => Some(waits_for.join(" ")),
        Class::Malformed | Class::Suspicious => None,
    }
}

/// Text that Postgres and a Kafka header can hold.
fn printable(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(DETAIL_CHARS).collect()
}
