//! Growth: the rate at which the last 50 000 orders go in when so many are stored.

use std::time::{Duration, Instant};

use serde::Serialize;
use strata_testkit::Fleet;

use crate::load::{self, Load};
use crate::procs::Processes;
use crate::stream::ORDERS;
use crate::verify;

/// Orders that are measured at each mark.
const MEASURED: u64 = 50_000;

/// The rate at a number of stored orders.
#[derive(Debug, Clone, Serialize)]
pub struct Mark {
    /// Orders stored at the end.
    pub stored: u64,
    /// The last of them.
    pub load: Load,
}

/// Fills up to each mark in turn; stops early when the time is up.
pub async fn run(
    fleet: &Fleet,
    processes: &Processes,
    marks: &[u64],
    limit: Duration,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<Mark>> {
    let (started, mut stored, mut reached) = (Instant::now(), 0, Vec::new());
    for &mark in marks {
        let rest = mark.saturating_sub(stored).saturating_sub(MEASURED);
        if rest > 0 {
            load::run(fleet, processes, &ORDERS, rest).await?;
        }
        let load = load::run(fleet, processes, &ORDERS, MEASURED.min(mark)).await?;
        stored = mark;
        verify::orders(fleet.pool(), stored).await?;
        eprintln!("  at {stored}: {:.0} orders a second", load.events_per_second);
        reached.push(Mark { stored, load });
        if started.elapsed() > limit {
            notes.push(format!("growth was stopped after {} s", limit.as_secs()));
            break;
        }
    }
    verify::reconciled(fleet).await?;
    Ok(reached)
}
