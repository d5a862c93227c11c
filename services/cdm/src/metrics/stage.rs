//! `metrics_topic` into Redis: decode, skip what was applied, add up, one script call.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgPool;
use strata_events::{Contract, Reject};
use strata_pipeline::stage::{Position, Span, Stage};
use strata_pipeline::{DeadLetterGuard, DeadLetters, Output, Record, StageError};
use strata_service::config::Route;
use strata_streams::hotel_search::ProcessedSearch;

use strata_pipeline::metrics::Phases;

use super::store::{MetricsStore, key_of};
use strata_pipeline::watermark::Watermarks;
use strata_streams::hotel_search::delta::Delta;

/// Most entries of a script call; bounds how long Redis serves nobody else.
const MAX_ENTRIES: usize = 50_000;

/// What an operator does when neither Redis nor Kafka holds everything.
const WAY_OUT: &str = "run strata rebuild metrics";

/// A stage whose data, offsets and watermarks lie in Redis.
pub struct MetricsStage {
    store: MetricsStore,
    postgres: PgPool,
    place: DeadLetters,
}

impl MetricsStage {
    /// Binds the stage to its stores and to what it reads.
    pub fn new(store: MetricsStore, postgres: PgPool, route: &Route) -> Self {
        Self { store, postgres, place: DeadLetters::of(route) }
    }

    /// Keeps dead letters before Redis moves the offset past them; a repeat keeps them once.
    ///
    /// Synchronously: here a commit that a database crash takes back would not be repeated.
    async fn keep(&self, refused: &[(&Record, &Reject)]) -> Result<(), StageError> {
        if refused.is_empty() {
            return Ok(());
        }
        let mut tx = self.postgres.begin().await?;
        sqlx::query("set local synchronous_commit = on").execute(&mut *tx).await?;
        self.place.store(&mut tx, refused).await?;
        Ok(tx.commit().await?)
    }

    /// Applies records whose entries fit one call; returns how many had been applied before.
    async fn apply_chunk(&mut self, chunk: &[Decoded<'_>], span: &Span) -> Result<usize, StageError> {
        let sources: Vec<_> = chunk.iter().map(|(record, _)| record.source()).collect();
        let keys: BTreeSet<_> = chunk
            .iter()
            .zip(&sources)
            .filter(|((_, search), _)| search.is_some())
            .map(|((record, _), source)| key_of(record.partition, source))
            .collect();
        // Read without a lock: the script refuses the batch when any of them is another by then.
        let seen = self.store.watermarks(&keys).await?;
        let stored = seen.iter().filter_map(|(key, last)| Some((key.clone(), (*last)?)));
        let mut watermarks = Watermarks::new(stored);
        let mut delta = Delta::default();
        let mut duplicates = 0;
        for ((record, search), source) in chunk.iter().zip(&sources) {
            let Some(search) = search else { continue };
            if watermarks.advance(record.partition, source) {
                delta.add(search);
            } else {
                duplicates += 1;
            }
        }
        self.store.apply(span, &seen, &watermarks, &delta).await?;
        Ok(duplicates)
    }
}

/// A record and what it says; none for a dead letter, which only moves the offset.
type Decoded<'a> = (&'a Record, Option<ProcessedSearch>);

/// Cuts a batch where a script call would become too large. Every part is a batch of its own.
fn chunks<'a, 'b>(decoded: &'b [Decoded<'a>]) -> impl Iterator<Item = &'b [Decoded<'a>]> {
    let mut rest = decoded;
    std::iter::from_fn(move || {
        let mut entries = 0;
        let fitting = rest.iter().take_while(|(_, search)| {
            entries += search.as_ref().map_or(0, Delta::weight);
            entries <= MAX_ENTRIES
        });
        // A single search is far below the bound.
        let length = fitting.count().max(1).min(rest.len());
        let (chunk, after) = rest.split_at(length);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// The part of `span` that a chunk moves, starting where the chunk before ended.
fn chunk_span(chunk: &[Decoded<'_>], span: &Span, reached: &mut BTreeMap<i32, i64>) -> Span {
    let mut own = Span::new();
    for (record, _) in chunk {
        let at = span.get(&record.partition).map_or(0, |&(expected, _)| expected);
        let at = *reached.entry(record.partition).or_insert(at);
        own.entry(record.partition).or_insert((at, at)).1 = record.offset + 1;
    }
    reached.extend(own.iter().map(|(&partition, &(_, next))| (partition, next)));
    own
}

impl Stage for MetricsStage {
    async fn positions(&mut self, partitions: &[i32]) -> Result<Vec<Position>, StageError> {
        let offsets = self.store.offsets(partitions).await?;
        Ok(partitions
            .iter()
            .zip(offsets)
            .map(|(&partition, next_offset)| Position { partition, next_offset, pending: Vec::new() })
            .collect())
    }

    async fn initialize(&mut self, partitions: &[i32]) -> Result<(), StageError> {
        if !self.store.initialize(partitions).await? {
            return Err(StageError::NeedsOperator(format!(
                "redis holds metrics, but not how far metrics_topic was read: {WAY_OUT}"
            )));
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        records: &[Record],
        span: &Span,
        refuse_as: Option<Reject>,
        guard: &mut DeadLetterGuard,
    ) -> Result<Vec<Output>, StageError> {
        let mut phases = Phases::start(self.place.stream());
        let mut decoded: Vec<Decoded<'_>> = Vec::with_capacity(records.len());
        let mut refused: Vec<(&Record, Reject)> = Vec::new();
        for record in records {
            let outcome = record.read(refuse_as.as_ref(), |record| ProcessedSearch::decode(&record.payload));
            decoded.push((
                record,
                outcome.map_err(|reject| refused.push((record, self.place.locate(record, reject)))).ok(),
            ));
        }
        let refused: Vec<(&Record, &Reject)> =
            refused.iter().map(|(record, reject)| (*record, reject)).collect();
        guard.admit(&self.place, records.len(), &refused, &self.postgres).await?;
        phases.end("decode");
        self.keep(&refused).await?;
        let (mut reached, mut duplicates) = (BTreeMap::new(), 0);
        for chunk in chunks(&decoded) {
            let own = chunk_span(chunk, span, &mut reached);
            duplicates += self.apply_chunk(chunk, &own).await?;
        }
        phases.end("apply");
        self.place.count(records.len() - refused.len() - duplicates, duplicates, &refused);
        Ok(refused.iter().filter_map(|(record, reject)| self.place.output(record, reject)).collect())
    }

    /// Nothing is kept to be sent again: the only outputs are copies of dead letters, of which a crash may
    /// lose or double one in the dead-letter topic. The table has each once.
    async fn forget_acknowledged(&mut self, _positions: &[(i32, i64)]) -> Result<(), StageError> {
        std::future::ready(Ok(())).await
    }

    async fn verify(&mut self, positions: &BTreeMap<i32, i64>) -> Result<(), StageError> {
        let partitions: Vec<i32> = positions.keys().copied().collect();
        let stored = self.store.offsets(&partitions).await?;
        for ((&partition, &expected), stored) in positions.iter().zip(stored) {
            let stored = stored.unwrap_or(-1);
            if stored != expected {
                return Err(StageError::Fenced { partition, stored, expected });
            }
        }
        Ok(())
    }

    fn way_out(&self) -> Option<&'static str> {
        Some("Count everything again from the vault: run strata rebuild metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = strata_streams::hotel_search::golden::PROCESSED.as_bytes();

    fn record(partition: i32, offset: i64) -> Record {
        Record {
            topic: "metrics_topic".into(),
            partition,
            offset,
            payload: GOLDEN.to_vec(),
            ..Record::default()
        }
    }

    #[test]
    fn large_batches_are_cut_and_their_offsets_join() {
        let records: Vec<Record> = (0..200).map(|n| record(n % 2, i64::from(n / 2) * 3 + 7)).collect();
        let mut large = ProcessedSearch::decode(GOLDEN).expect("golden");
        large.advertisers = (0..997).map(|n| format!("a{n}")).collect();
        let decoded: Vec<Decoded<'_>> = records.iter().map(|r| (r, Some(large.clone()))).collect();
        let span = Span::from([(0, (5, 305)), (1, (6, 305))]);
        let (mut reached, mut spans) = (BTreeMap::new(), Vec::new());
        for chunk in chunks(&decoded) {
            assert!(chunk.len() <= 50);
            spans.push(chunk_span(chunk, &span, &mut reached));
        }
        assert_eq!(spans.len(), 4);
        for partition in [0, 1] {
            assert_eq!(spans[0][&partition].0, span[&partition].0);
            assert_eq!(spans[3][&partition].1, span[&partition].1);
            assert!(spans.windows(2).all(|pair| pair[0][&partition].1 == pair[1][&partition].0));
        }
    }

    #[test]
    fn an_empty_batch_has_no_chunks() {
        assert_eq!(chunks(&[]).count(), 0);
    }
}
