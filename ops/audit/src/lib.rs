//! Every layer against the one before, at one moment, while the fleet runs.
//!
//! All checks look at one snapshot of Postgres. What was in flight at that moment is known exactly, since a
//! stage's offset, rows and outputs share a transaction: it is read from Kafka, by the offsets in the
//! snapshot, and taken into account. The metrics, which lie in Redis, are read just before, at positions
//! that are known. Each table is streamed once; the streams of events are read side by side. What each
//! check claims: docs/RECONCILE.md.

mod copy;
mod inputs;
mod keys;
mod letters;
mod metrics;
mod orders;
mod outputs;
mod positions;
mod reader;
mod report;
mod searches;
mod snapshot;
mod vault;

use std::time::Instant;

use anyhow::Context as _;
use strata_observe::Fleet;
use strata_service::Settings;
use strata_vault::hub_key;

use orders::vault::OrderVault;
use reader::Reader;
pub use report::{Check, Report};
use searches::vault::SearchVault;
use snapshot::Snapshot;

/// Says which step begins, in words for people.
type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Compares the layers and tells each step that begins. What it finds is kept by [`Report::store`].
pub async fn reconcile(
    settings: &Settings,
    progress: impl Fn(&str) + Send + Sync + 'static,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (own, fleet) = (settings.clone(), Fleet::connect(settings)?);
    let mut report = tokio::task::spawn_blocking(move || inspect(&own, &fleet, &progress)).await??;
    report.took = started.elapsed();
    Ok(report)
}

/// Runs all checks. Blocks.
fn inspect(settings: &Settings, fleet: &Fleet, progress: Progress<'_>) -> anyhow::Result<Report> {
    progress("taking a snapshot of all servers");
    let (snapshot, mut reader) = Snapshot::take(settings, fleet)?;
    let mut report = Report::default();
    report.checks.extend([
        positions::check_offsets(&snapshot),
        positions::check_watermarks(&snapshot),
        outputs::check(&snapshot),
    ]);
    letters::check(&snapshot, &mut report);
    let (orders, searches) = std::thread::scope(|scope| {
        let searches = scope.spawn(|| inspect_searches(&snapshot, fleet, progress));
        let orders = inspect_orders(&snapshot, fleet, &mut reader, progress);
        let searches = searches.join().map_err(|_| anyhow::anyhow!("the checks of the searches panicked"))?;
        anyhow::Ok((orders?, searches?))
    })?;
    let idle = idle_users(&orders.0, &searches.0);
    for found in [orders.1, searches.1] {
        report.checks.extend(found.checks);
        report.notes.extend(found.notes);
    }
    report.checks.push(idle);
    Ok(report)
}

fn inspect_orders(
    snapshot: &Snapshot<'_>,
    fleet: &Fleet,
    reader: &mut Reader,
    progress: Progress<'_>,
) -> anyhow::Result<(OrderVault, Report)> {
    let mut report = Report::default();
    progress("orders: vault");
    let (mut vault, in_vault) = orders::vault::read(snapshot, reader)?;
    progress("orders: raw layer against the vault");
    let mut staged = orders::staged::check(snapshot, reader, &mut vault)?;
    progress("orders: Kafka against the raw layer");
    let (inputs, note) = inputs::check_orders(snapshot, fleet, &vault, &staged)?;
    report.notes.push(note);
    report.notes.append(&mut staged.notes);
    report.checks.push(inputs);
    report.checks.append(&mut staged.checks);
    report.checks.extend(in_vault);
    progress("orders: counters against the vault");
    let waiting = orders::counters::waiting(snapshot)?;
    if waiting.messages > 0 {
        report.notes.push(format!("{} announcements are on their way from dds to cdm", waiting.messages));
    }
    if waiting.refused > 0 {
        let refused = waiting.refused;
        report
            .notes
            .push(format!("{refused} announcements are dead letters of cdm and count as not applied"));
    }
    report.checks.extend(orders::counters::check(reader, &vault, &waiting)?);
    Ok((vault, report))
}

fn inspect_searches(
    snapshot: &Snapshot<'_>,
    fleet: &Fleet,
    progress: Progress<'_>,
) -> anyhow::Result<(SearchVault, Report)> {
    let mut report = Report::default();
    let reader = &mut snapshot.reader().context("the second connection")?;
    let withheld = metrics::withheld(snapshot)?;
    if !withheld.is_empty() {
        report
            .notes
            .push(format!("{} searches are on their way from dds to Redis, or dead letters", withheld.len()));
    }
    progress("searches: vault and metrics");
    let (mut vault, in_vault) = searches::vault::read(snapshot, reader, &withheld)?;
    let counted = searches::counted::check(&snapshot.redis, &vault);
    progress("searches: raw layer against the vault");
    let mut staged = searches::staged::check(snapshot, reader, &mut vault)?;
    progress("searches: Kafka against the raw layer");
    let (inputs, note) = inputs::check_searches(snapshot, fleet, &vault, &staged)?;
    report.notes.push(note);
    report.notes.append(&mut staged.notes);
    report.checks.push(inputs);
    report.checks.append(&mut staged.checks);
    report.checks.extend(in_vault);
    report.checks.extend(counted);
    Ok((vault, report))
}

/// Users of the hub that neither orders nor searches name.
fn idle_users(orders: &OrderVault, searches: &SearchVault) -> Check {
    let mut check = Check::new("dds: users have orders or searches");
    for (number, name) in (0..).zip(&orders.users.names) {
        check.compared += 1;
        let searching =
            || searches.users.keys.find(&hub_key(name)).is_some_and(|n| searches.searching.has(n));
        if !orders.ordering.has(number) && !searching() {
            check.differs(|| format!("h_user: {name:?} has no row in any link"));
        }
    }
    check
}
