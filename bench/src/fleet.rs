//! The fleet that is measured.

use strata_testkit::{Fleet, Servers};

use crate::procs::Processes;

/// Settings that the fleet of a bench has beside the defaults: those of its tests are for quick crashes.
pub const VARIABLES: [(&str, &str); 2] = [("KAFKA_SESSION_TIMEOUT_MS", "10000"), ("LOG_LEVEL", "warn")];

/// Orders that go through a fleet before anything of it is measured.
pub const WARM_UP: u64 = 1000;

/// Starts a fleet of its own and finds its processes.
pub async fn launch(servers: &Servers) -> (Fleet, Processes) {
    let fleet = Fleet::launch_with(&VARIABLES).await;
    let processes = Processes::of(&fleet, &servers.kafka().brokers).await;
    (fleet, processes)
}
