//! Every layer against the one before, at one moment, while the fleet runs.
//!
//! All checks look at one snapshot of Postgres. What was in flight at that moment is known exactly, since a
//! stage's offset, rows and outputs share a transaction: it is read from Kafka, by the offsets in the
//! snapshot, and taken into account. The metrics, which lie in Redis, are read just before, at positions
//! that are known. Each table is read once, in the order of a key, and all tables of that key side by side
//! (module `ordered`): event by event, stream beside stream, and then what belongs to users, user by user. So
//! memory does not grow with the events. What each check claims: docs/RECONCILE.md.
//!
//! Nothing here knows a stream: what is compared follows from its definition in `shared/streams`.

mod claims;
mod copy;
mod counters;
mod dead_letters;
mod identity;
mod inputs;
mod keys;
mod metrics;
mod ordered;
mod outputs;
mod positions;
mod progress;
mod reader;
mod redis;
mod repeats;
mod report;
mod shape;
mod snapshot;
mod staged;
mod stream;
mod subjects;
mod tables;
#[cfg(test)]
mod tests;
mod unapplied;
mod users;

use std::time::Instant;

use strata_observe::Fleet;
use strata_service::Settings;
use strata_streams::STREAMS;
use tokio::runtime::Handle;

use progress::Progress;
pub use report::{Check, Report};
use snapshot::Snapshot;

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
        positions::check_outputs(&snapshot),
    ]);
    positions::check_dead_letters(&snapshot, &mut report);
    let mut streams = std::thread::scope(|scope| {
        let snapshot = &snapshot;
        let begin = |stream| scope.spawn(move || stream::check(snapshot, fleet, stream, progress));
        let running: Vec<_> = STREAMS.iter().copied().map(begin).collect();
        let ended = running.into_iter().map(|stream| match stream.join() {
            Ok(found) => found,
            Err(_) => Err(anyhow::anyhow!("the checks of a stream panicked")),
        });
        ended.collect::<anyhow::Result<Vec<_>>>()
    })?;
    let users = users::check(&snapshot, &mut streams, members, progress)?;
    drop(reader);
    let marts = users.counters.into_iter().zip(users.metrics);
    for (found, (counters, metrics)) in streams.into_iter().zip(marts) {
        let (many, vault) = (found.stream.words.many, found.vault);
        let [hubs, links, fingerprints, orphans, childless, positions] = vault.checks.all();
        report.checks.extend(found.staged);
        report.checks.extend([hubs, links, fingerprints, orphans, childless]);
        report.checks.extend(vault.pairs.into_iter().chain(vault.histories).chain([positions]));
        report.checks.extend(counters.into_iter().chain(metrics));
        if let Some(fold) = &vault.named.fold {
            report.checks.extend(fold.check(&snapshot.redis, &vault.named.hubs, many));
        }
        report.notes.extend(found.notes);
    }
    report.checks.push(users.idle);
    Ok(report)
}
