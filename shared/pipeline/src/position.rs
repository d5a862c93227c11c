//! Where the loop starts: what the store says, held against what Kafka has.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::loss::{self, Gone};
use crate::seams::{Sink, Source};
use crate::stage::{Position, Stage};
use crate::turn::{Loop, ask};
use strata_service::config::Route;

/// An end of a partition before the stored offset is a loss when it lasts this long.
const DOUBT: Duration = Duration::from_secs(5);
/// Kafka tells within this where a partition begins and ends.
const MARKS_WITHIN: Duration = Duration::from_secs(5);
/// Time between two comparisons of the loop's positions with the store's.
const VERIFY_EVERY: Duration = Duration::from_secs(1);

impl<S: Stage, R: Source, O: Sink> Loop<'_, S, R, O> {
    /// Asks the store where it stands, sends the outputs it kept, and starts there.
    pub(crate) fn find_position(&mut self, partitions: &[i32]) -> Result<(), Failure> {
        let found = ask(self.handle, self.writers.stage().positions(partitions))?;
        self.positions.clear();
        self.acknowledged.clear();
        let (mut fresh, mut kept, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        let mut unsent = BTreeSet::new();
        for Position { partition, next_offset, pending } in found {
            self.status.turned();
            let marks = self.source.watermarks(partition, MARKS_WITHIN).map_err(Failure::Kafka)?;
            if next_offset.is_none() {
                fresh.push(partition);
            }
            gone.extend(Gone::check(partition, next_offset, marks));
            self.positions.insert(partition, next_offset.unwrap_or(0));
            if !pending.is_empty() {
                unsent.insert(partition);
                kept.extend(pending);
            }
        }
        // Also when records are lost: what was made of those before them must not be.
        if !kept.is_empty() {
            tracing::info!(output.count = kept.len(), "sending outputs of the last batch again");
            self.deliver(&kept)?;
            self.acknowledged = unsent;
            self.forget_acknowledged();
        }
        self.check_loss(&gone)?;
        if !fresh.is_empty() {
            ask(self.handle, self.writers.stage().initialize(&fresh))?;
            self.status.turned();
        }
        self.source.start_at(&self.positions).map_err(Failure::Kafka)?;
        self.source.lag().assigned(&self.positions);
        self.stalls.started(self.positions.keys().copied(), Instant::now());
        tracing::info!(positions = ?self.positions, kafka.topic = self.settings.route.input, "reading");
        Ok(())
    }

    /// Stops where Kafka does not hold the next offset.
    ///
    /// A broker that comes back after a crash may show an old end of a partition for a moment, so an
    /// end before the offset must last.
    fn check_loss(&mut self, gone: &[Gone]) -> Result<(), Failure> {
        let Route { stage, input: topic, .. } = &self.settings.route;
        if gone.is_empty() {
            self.in_doubt = None;
            return Ok(());
        }
        let since = *self.in_doubt.get_or_insert_with(Instant::now);
        if gone.iter().all(|lost| lost.is_recreated()) && since.elapsed() < DOUBT {
            let doubt = anyhow::anyhow!("{topic} ends before the stored offset: {gone:?}; looking again");
            return Err(Failure::Kafka(doubt));
        }
        Err(Failure::Lost(loss::message(stage.as_str(), topic, gone, self.writers.stage().way_out())))
    }

    /// Asks the store, once in a while, whether it still holds what it confirmed.
    pub(crate) fn verify(&mut self) -> Result<(), Failure> {
        if self.verified.elapsed() < VERIFY_EVERY {
            return Ok(());
        }
        ask(self.handle, self.writers.stage().verify(&self.positions))?;
        self.status.turned();
        self.verified = Instant::now();
        Ok(())
    }

    /// Asks where the partitions end: paused ones bring no news of it, and the lag must show all the same.
    pub(crate) fn look_ahead(&self) {
        let marks = |&partition: &i32| self.source.watermarks(partition, Duration::from_millis(500));
        if let Some(Err(e)) = self.positions.keys().map(marks).find(Result::is_err) {
            tracing::debug!(error = %e, "the ends of partitions are not known");
        }
    }
}
