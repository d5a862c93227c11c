//! How far a stage has come with what piled up before it: work that is finite, so it has a progress.

use std::collections::BTreeMap;

use crate::snapshot::{Snapshot, Stage};

/// The backlogs of all stages.
#[derive(Debug, Default)]
pub struct Backlogs(BTreeMap<(String, String), Backlog>);

/// What one stage has before it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Backlog {
    /// Records still to be applied.
    pub lag: i64,
    /// The most there were since the stage was last at the end.
    pub peak: i64,
    /// Seconds until the end at the present rates; none where the backlog does not shrink.
    pub seconds_left: Option<f64>,
}

impl Backlogs {
    /// Takes a look into account.
    pub fn note(&mut self, snapshot: &Snapshot) {
        for (stream, stage) in snapshot.stages() {
            let backlog = self.0.entry((stream.to_owned(), stage.stage.clone())).or_default();
            // While the lag is not known, what was known stays.
            if let Some(lag) = stage.lag {
                *backlog = backlog.then(lag, shrinking(stage));
            }
        }
    }

    /// The backlog of a stage.
    pub fn of(&self, stream: &str, stage: &str) -> Backlog {
        self.0.get(&(stream.to_owned(), stage.to_owned())).copied().unwrap_or_default()
    }
}

/// Records a second by which the lag shrinks.
fn shrinking(stage: &Stage) -> f64 {
    stage.applied_per_second.unwrap_or_default() - stage.arrived_per_second.unwrap_or_default()
}

impl Backlog {
    fn then(self, lag: i64, shrinking: f64) -> Self {
        let peak = if lag == 0 { 0 } else { self.peak.max(lag) };
        let seconds_left = (lag > 0 && shrinking > 0.0).then(|| lag as f64 / shrinking);
        Self { lag, peak, seconds_left }
    }

    /// Share of the peak that is applied, from 0 to 1.
    pub fn done(self) -> f64 {
        if self.peak == 0 { 1.0 } else { 1.0 - self.lag as f64 / self.peak as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_done_by_what_is_applied_of_its_peak() {
        let first = Backlog::default().then(100, 0.0);
        assert_eq!((first.done(), first.seconds_left), (0.0, None));
        let growing = first.then(400, -300.0);
        assert_eq!((growing.peak, growing.done(), growing.seconds_left), (400, 0.0, None));
        let draining = growing.then(100, 50.0);
        assert_eq!((draining.done(), draining.seconds_left), (0.75, Some(2.0)));
        let over = draining.then(0, 100.0);
        assert_eq!((over.peak, over.done(), over.seconds_left), (0, 1.0, None));
    }
}
