//! Growth: the rate at which orders go in when so many are stored.

use std::time::{Duration, Instant};

use serde::Serialize;
use strata_streams::order;
use strata_testkit::Fleet;

use crate::load::{self, Load};
use crate::procs::Processes;
use crate::verify;

/// Orders of one measurement.
const MEASURED: u64 = 50_000;

/// Measurements that end at each mark, of which the best counts: one alone tells more of the machine.
const TRIES: u64 = 2;

/// The rate at a number of stored orders.
#[derive(Debug, Clone, Serialize)]
pub struct Mark {
    /// Orders stored at the end.
    pub stored: u64,
    /// The best of the last loads.
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
        let rest = mark.saturating_sub(stored).saturating_sub(TRIES * MEASURED);
        if rest > 0 {
            load::run(fleet, processes, &order::DEF, rest).await?;
        }
        let mut load = load::run(fleet, processes, &order::DEF, MEASURED).await?;
        for _ in 1..TRIES {
            let next = load::run(fleet, processes, &order::DEF, MEASURED).await?;
            if next.seconds < load.seconds {
                load = next;
            }
        }
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
