//! What the loop does where its client may be stuck: it has another one look, and ends the process when that one is
//! served. See ADR 10.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::probe;
use crate::record::Record;
use crate::seams::{Sink, Source};
use crate::stage::Stage;
use crate::turn::Loop;
use crate::turn::LoopSettings;
use crate::watchdog::{Gap, Unserved};
use strata_service::config::Route;
use strata_service::failpoint;
use strata_service::restart::RestartNeeded;

/// Longest wait for the end of a partition that is quiet.
const ASK_WITHIN: Duration = Duration::from_millis(500);

impl<S: Stage, R: Source, O: Sink> Loop<'_, S, R, O> {
    /// Kafka gives the consumer no partitions; an error when it has served others for too long meanwhile.
    pub(crate) fn check_partitions(&mut self) -> Result<(), RestartNeeded> {
        served(&mut self.unserved, &self.settings, "no partitions")
    }

    /// What the loop asks of Kafka fails; an error when Kafka has served others for too long meanwhile.
    pub(crate) fn check_errors(&mut self) -> Result<(), RestartNeeded> {
        served(&mut self.failing, &self.settings, "only errors")
    }

    /// Ends the process when a partition does not bring what another client reads there.
    pub(crate) fn check_stalls(&mut self, records: &[Record], drained: bool) -> Result<(), Failure> {
        let now = Instant::now();
        for gap in self.stalls.collected(records, &self.positions, drained, now) {
            if !self.look_at(gap)? {
                return Err(Failure::Kafka(anyhow::anyhow!(
                    "nobody can tell yet whether records are missing at {gap:?}"
                )));
            }
        }
        for partition in self.stalls.due(now) {
            let Some(&position) = self.positions.get(&partition) else { continue };
            // Kafka being away is noticed elsewhere.
            let high = self.source.watermarks(partition, ASK_WITHIN).map_or(position, |(_, high)| high);
            if let Some(gap) = self.stalls.ends_at(partition, position, high, now) {
                self.look_at(gap)?;
            }
        }
        Ok(())
    }

    /// Has another client look where records seem to be missing; false where Kafka does not answer it.
    fn look_at(&mut self, gap: Gap) -> Result<bool, Failure> {
        let LoopSettings { route: Route { input: topic, .. }, kafka, .. } = &self.settings;
        let Gap { partition, position, found } = gap;
        match probe::first_record(kafka, topic, partition, position) {
            Some(at) if at < found => Err(RestartNeeded(format!(
                "{topic}/{partition} brings nothing from offset {position} to {found}, though another client reads {at}"
            ))
            .into()),
            Some(_) => {
                tracing::info!(kafka.partition = partition, position, found, "kafka itself has a hole here");
                self.stalls.believe(gap);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// The windows in which a test has the consumer go wrong.
    pub(crate) fn pass_windows_of_consumers(&self) {
        if failpoint::pass("silent_partition").is_err() {
            self.source.mute(self.positions.keys().copied().take(1));
        }
        if failpoint::pass("forgotten_consumer").is_err() {
            self.source.leave();
        }
    }
}

/// Kafka gives our clients only this; an error when it has served others for too long meanwhile.
fn served(unserved: &mut Unserved, settings: &LoopSettings, only: &str) -> Result<(), RestartNeeded> {
    let (now, LoopSettings { route, kafka, .. }) = (Instant::now(), settings);
    if unserved.is_due(now) && unserved.learn(probe::answers(kafka), now) {
        return Err(RestartNeeded(format!(
            "kafka answers a new client, but gives ours {only} of {}",
            route.input
        )));
    }
    Ok(())
}
