//! Every layer against the one before, at one moment, while the fleet runs.
//!
//! All checks look at one snapshot of Postgres. What was in flight at that moment is known exactly, since a
//! stage's offset, rows and outputs share a transaction: it is read from Kafka, by the offsets in the
//! snapshot, and taken into account. The metrics, which lie in Redis, are read just before, at positions
//! that are known. Each table is read once, in the order of a key, and all tables of that key side by side
//! (module `ordered`): orders by order, searches by search, and then what belongs to users, user by user. So
//! memory does not grow with the events. What each check claims: docs/RECONCILE.md.

mod copy;
mod dead_letters;
mod inputs;
mod keys;
mod metrics;
mod ordered;
mod orders;
mod outputs;
mod positions;
mod reader;
mod report;
mod searches;
mod snapshot;
mod users;
mod vault;

use std::time::Instant;

use strata_observe::Fleet;
use strata_service::Settings;
use tokio::runtime::Handle;
use uuid::Uuid;

pub use report::{Check, Report};
use snapshot::Snapshot;

/// Says which step begins, in words for people.
type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// How much of a table lies before a key, in percent: keys are hashes, so they lie evenly.
fn share(key: Uuid) -> u64 {
    ((key.as_u64_pair().0 >> 32) * 100) >> 32
}

/// Compares the layers and tells each step that begins. What it finds is kept by [`Report::store`].
pub async fn reconcile(
    settings: &Settings,
    progress: impl Fn(&str) + Send + Sync + 'static,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (own, fleet, runtime) = (settings.clone(), Fleet::connect(settings)?, Handle::current());
    let inspection = tokio::task::spawn_blocking(move || inspect(&own, &fleet, &runtime, &progress));
    let mut report = inspection.await??;
    report.took = started.elapsed();
    Ok(report)
}

/// Runs all checks. Blocks.
fn inspect(
    settings: &Settings,
    fleet: &Fleet,
    runtime: &Handle,
    progress: Progress<'_>,
) -> anyhow::Result<Report> {
    progress("taking a snapshot of all servers");
    let (snapshot, reader, members) = Snapshot::take(settings, fleet, runtime)?;
    let mut report = Report::default();
    report.checks.extend([
        positions::check_offsets(&snapshot),
        positions::check_watermarks(&snapshot),
        outputs::check(&snapshot),
    ]);
    dead_letters::check(&snapshot, &mut report);
    let (mut orders, mut searches) = std::thread::scope(|scope| {
        let searches = scope.spawn(|| searches::check(&snapshot, fleet, progress));
        let orders = orders::check(&snapshot, fleet, progress);
        let searches = searches.join().map_err(|_| anyhow::anyhow!("the checks of the searches panicked"))?;
        anyhow::Ok((orders?, searches?))
    })?;
    let waiting = orders::counters::waiting(&snapshot)?;
    let users = users::check(&snapshot, &mut orders, &mut searches, &waiting, members, progress)?;
    drop(reader);
    let [pairs, histories] = orders.vault;
    report.checks.extend(orders.staged);
    let [hubs, links, fingerprints, orphans, childless, positions] = orders.tables.all();
    report.checks.extend([hubs, links, fingerprints, orphans, childless, pairs, histories, positions]);
    report.checks.extend(users.counters);
    report.checks.extend(searches.staged);
    report.checks.extend(searches.tables.all());
    report.checks.push(users.metrics);
    report.checks.extend(searches.counted);
    report.checks.push(users.idle);
    report.notes.extend(orders.notes);
    report.notes.extend(waiting.notes());
    report.notes.extend(searches.notes);
    Ok(report)
}
