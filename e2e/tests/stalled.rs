//! Loops that hang, and loops that only wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, LocalServers, Server, Service, eventually};

use crate::support::{SOON, reference, simple_order};

/// After so long a loop counts as hanging here; longer than one attempt to reach a server that is away.
const STALL_AFTER: (&str, &str) = ("STRATA_STALL_AFTER_MS", "10000");

#[tokio::test]
async fn livez_tells_a_loop_that_hangs_and_stays_well_while_a_server_is_down() {
    // GIVEN two stages, of which the batches of one will hang in a call
    let servers = Arc::new(LocalServers::start_these(&[Server::Postgres]).await);
    let fleet = Fleet::prepare_on(servers.servers(), &[STALL_AFTER]).await;
    fleet.start(Service::DataSource);
    fleet.start_failing(Service::Stg, "after_fetch:sleep:20000");
    fleet.start(Service::Dds);
    fleet.wait_healthy(Service::DataSource).await;
    fleet.put_reference(&reference()).await;
    fleet.wait_healthy(Service::Stg).await;
    fleet.wait_healthy(Service::Dds).await;
    // WHEN one does
    fleet.ingest(&[simple_order(1, "CLOSED")]).await;
    // THEN /livez says so, and /health and /readyz do
    eventually(SOON, "503 of /livez", async || {
        let live = fleet.get(Service::Stg, "/livez").await;
        holds(live.status == 503 && live.body["error"].is_string(), || live.body.to_string())
    })
    .await;
    for path in ["/health", "/readyz"] {
        let health = fleet.get(Service::Stg, path).await;
        assert_eq!(health.status, 503, "{path}");
        assert!(
            health.body["worker"].as_str().is_some_and(|worker| worker.contains("stalled")),
            "{}",
            health.body
        );
    }
    // AND of one whose servers are away for longer than that it does not
    servers.crash(Server::Postgres).await;
    let away = Instant::now();
    let mut unwell = false;
    while away.elapsed() < Duration::from_secs(14) {
        assert_eq!(fleet.get(Service::Dds, "/livez").await.status, 200);
        unwell |= fleet.get(Service::Dds, "/readyz").await.status == 503;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(unwell, "/readyz is as /health");
    servers.restart(Server::Postgres).await;
    fleet.wait_healthy(Service::Dds).await;
}
