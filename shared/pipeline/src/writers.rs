//! A batch in several transactions side by side, each with partitions of its own.
//!
//! What the loop computes and what the store does take turns within one transaction; with two of them
//! neither waits for the other. To the store they are two instances that share the partitions.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures::future::join_all;
use strata_events::Reject;

use crate::error::StageError;
use crate::guard::DeadLetterGuard;
use crate::record::{Output, Record};
use crate::stage::{Span, Stage};
use strata_service::config::BatchSettings;

/// A full batch is split into so many parts at most: smaller ones are not worth round trips and a flush each.
const SMALLEST_SHARE: usize = 8;

/// One transaction at a time.
struct Writer<S> {
    stage: S,
    /// Stops the stage when most of what it reads is refused.
    guard: DeadLetterGuard,
}

/// All writers of a loop.
pub struct Writers<S> {
    writers: Vec<Writer<S>>,
    /// Fewest records that another writer is called for.
    min_rows: usize,
}

impl<S: Stage> Writers<S> {
    /// One writer a stage.
    pub fn new(stages: Vec<S>, batch: &BatchSettings) -> Self {
        let writer = |stage| Writer { stage, guard: DeadLetterGuard::new(batch.dead_letters) };
        Self {
            writers: stages.into_iter().map(writer).collect(),
            min_rows: (batch.max_rows / SMALLEST_SHARE).max(1),
        }
    }

    /// The stage, for what concerns all partitions.
    pub fn stage(&mut self) -> &mut S {
        &mut self.writers[0].stage
    }

    /// Splits a batch: the records of a partition stay together and in order.
    pub fn split(&self, records: Vec<Record>) -> Vec<Vec<Record>> {
        split(records, self.writers.len(), self.min_rows)
    }

    /// Applies each part in a transaction of its own and tells how each ended: outputs, or why not.
    ///
    /// `parts` came from [`Self::split`], or are a piece of one such part.
    pub async fn apply(
        &mut self,
        parts: &[(&[Record], Span)],
        refuse_as: Option<&Reject>,
    ) -> Vec<Result<Vec<Output>, StageError>> {
        debug_assert!(parts.len() <= self.writers.len());
        join_all(self.writers.iter_mut().zip(parts).map(async |(writer, (records, span))| {
            let outputs = writer.stage.apply(records, span, refuse_as.cloned(), &mut writer.guard).await?;
            writer.guard.applied();
            Ok(outputs)
        }))
        .await
    }
}

/// Spreads records over at most `shares` parts of about `min_rows` and more, the largest partitions first.
fn split(records: Vec<Record>, shares: usize, min_rows: usize) -> Vec<Vec<Record>> {
    let shares = shares.min(records.len() / min_rows).max(1);
    if shares == 1 {
        return vec![records];
    }
    let mut sizes: BTreeMap<i32, usize> = BTreeMap::new();
    for record in &records {
        *sizes.entry(record.partition).or_default() += 1;
    }
    let mut largest_first: Vec<(i32, usize)> = sizes.into_iter().collect();
    largest_first.sort_by_key(|&(_, size)| Reverse(size));
    let mut given = vec![0; shares];
    let mut share_of: BTreeMap<i32, usize> = BTreeMap::new();
    for (partition, size) in largest_first {
        let smallest = (0..shares).min_by_key(|&share| given[share]).unwrap_or_default();
        given[smallest] += size;
        share_of.insert(partition, smallest);
    }
    let mut parts: Vec<Vec<Record>> = given.into_iter().map(Vec::with_capacity).collect();
    for record in records {
        parts[share_of[&record.partition]].push(record);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of partitions with so many each, taken in turns.
    fn batch(sizes: &[i64]) -> Vec<Record> {
        let turns = sizes.iter().copied().max().unwrap_or_default();
        let turn = |offset: i64| {
            let alive = (0..).zip(sizes).filter(move |&(_, &size)| offset < size);
            alive.map(move |(partition, _)| Record {
                topic: "dds_topic".into(),
                partition,
                offset,
                ..Record::default()
            })
        };
        (0..turns).flat_map(turn).collect()
    }

    /// The partitions of each part with their numbers of records, which must be in order.
    fn sizes_of_parts(sizes: &[i64], min_rows: usize) -> Vec<BTreeMap<i32, i64>> {
        let parts = split(batch(sizes), 2, min_rows);
        let count = |part: Vec<Record>| {
            let mut counts: BTreeMap<i32, i64> = BTreeMap::new();
            for record in part {
                let count = counts.entry(record.partition).or_default();
                assert_eq!(record.offset, *count, "partition {}", record.partition);
                *count += 1;
            }
            counts
        };
        parts.into_iter().map(count).collect()
    }

    #[test]
    fn partitions_stay_whole_and_the_parts_are_about_equal() {
        assert_eq!(sizes_of_parts(&[5, 9, 4, 2], 5), [[(1, 9), (3, 2)].into(), [(0, 5), (2, 4)].into()]);
    }

    #[test]
    fn little_is_not_split_and_one_partition_cannot_be() {
        assert_eq!(sizes_of_parts(&[3, 6], 5), [[(0, 3), (1, 6)].into()]);
        assert_eq!(sizes_of_parts(&[0, 20], 5), [[(1, 20)].into()]);
        assert_eq!(sizes_of_parts(&[], 5), [[].into()]);
    }
}
