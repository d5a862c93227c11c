//! The schedule: each target has faults one after another; targets run side by side.
//!
//! They are drawn from the seed before the run begins, so that it does not depend on how fast the
//! machine is; a fault whose time has come while the one before was over follows at once.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use strata_testkit::Service;

use super::Chaos;
use super::faults::Fault;

/// Seconds before the first fault of a target and between two of them.
struct Rhythm {
    first: std::ops::Range<f64>,
    gap: std::ops::Range<f64>,
}

/// The faults of one target and when each is due.
fn draw(
    chaos: &Chaos,
    number: u64,
    rhythm: &Rhythm,
    mut fault: impl FnMut(&mut StdRng) -> Fault,
) -> Vec<(Duration, Fault)> {
    let mut random = StdRng::seed_from_u64(chaos.seed.wrapping_mul(1000).wrapping_add(number));
    let mut due = Duration::from_secs_f64(random.random_range(rhythm.first.clone()));
    let mut faults = Vec::new();
    while due < chaos.length {
        faults.push((due, fault(&mut random)));
        due += Duration::from_secs_f64(random.random_range(rhythm.gap.clone()));
    }
    faults
}

async fn run(chaos: &Chaos, faults: Vec<(Duration, Fault)>) {
    for (due, fault) in faults {
        // What a slow machine has no time for is left out.
        if chaos.begin.elapsed() > chaos.length {
            return;
        }
        tokio::time::sleep_until((chaos.begin + due).into()).await;
        let started = Instant::now();
        println!("{:6.2} s {fault:?}", chaos.begin.elapsed().as_secs_f64());
        chaos.report.count(fault.kind());
        fault.happen(chaos).await;
        println!(
            "{:6.2} s {fault:?} over after {:?}",
            chaos.begin.elapsed().as_secs_f64(),
            started.elapsed()
        );
    }
}

/// A pause of up to this many milliseconds, drawn from the seed.
fn pause(random: &mut StdRng, at_most: u64) -> Duration {
    Duration::from_millis(random.random_range(0..at_most))
}

/// A fault of a stage: its death, its hanging, or company.
fn of_stage(service: Service) -> impl FnMut(&mut StdRng) -> Fault {
    move |random| match random.random_range(0..10) {
        0..4 => Fault::Kill(service, pause(random, 700)),
        4..6 => Fault::Freeze(service, Duration::from_millis(2500) + pause(random, 2500)),
        6 => Fault::Restart(service, pause(random, 700)),
        7 => Fault::TakeOver(service, pause(random, 3000)),
        _ => Fault::Join(service, pause(random, 4000), random.random_bool(0.5)),
    }
}

/// What the operator does meanwhile.
fn of_operator(random: &mut StdRng) -> Fault {
    let (target, windows): (&str, &[&str]) = match random.random_range(0..3) {
        0 => ("counters", &["rebuild_in_transaction"]),
        1 => ("metrics", &["rebuild_before_swap"]),
        _ => ("vault", &["rebuild_in_transaction", "rebuild_committed", "rebuild_before_swap"]),
    };
    let dies = random.random_bool(0.3);
    Fault::Rebuild(target, windows.choose(random).copied().filter(|_| dies))
}

/// Runs the faults of every target to its end.
pub async fn run_all(chaos: &Chaos) {
    let quick = Rhythm { first: 1.0..4.0, gap: 2.0..7.0 };
    let servers = Rhythm { first: 2.0..9.0, gap: 6.0..13.0 };
    let kafka = Rhythm { first: 6.0..10.0, gap: 20.0..30.0 };
    let steady = Rhythm { first: 0.5..1.5, gap: 0.5..2.5 };
    let stages = Service::STAGES.map(|stage| draw(chaos, stage as u64, &quick, of_stage(stage)));
    let [stg, dds, cdm] = stages.map(|faults| run(chaos, faults));
    let source = draw(chaos, 10, &servers, |random| match random.random_bool(0.6) {
        true => Fault::Kill(Service::DataSource, pause(random, 500)),
        false => Fault::Freeze(Service::DataSource, pause(random, 4000)),
    });
    let postgres = draw(chaos, 11, &servers, |random| match random.random_bool(0.4) {
        true => Fault::CrashPostgres(pause(random, 1500)),
        false => Fault::CutPostgres(pause(random, 3000)),
    });
    let redis = draw(chaos, 12, &servers, |random| match random.random_bool(0.5) {
        true => Fault::CrashRedis(pause(random, 1500)),
        false => Fault::CutRedis(pause(random, 3000)),
    });
    let kafka = draw(chaos, 13, &kafka, |random| Fault::CrashKafka(pause(random, 2000)));
    let operator = draw(chaos, 15, &servers, of_operator);
    let topics = draw(chaos, 16, &servers, |random| Fault::AddPartition(random.random()));
    let noise = draw(chaos, 14, &steady, |random| match random.random_bool(0.5) {
        true => Fault::Duplicates(random.random()),
        false => Fault::Garbage(random.random()),
    });
    tokio::join!(
        stg,
        dds,
        cdm,
        run(chaos, source),
        run(chaos, postgres),
        run(chaos, redis),
        run(chaos, kafka),
        run(chaos, noise),
        run(chaos, operator),
        run(chaos, topics),
    );
}
