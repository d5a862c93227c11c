//! Stages that are told to stop while a server is away.

use std::sync::Arc;

use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, LocalServers, Server, Service, eventually};

use crate::searches::support::{any_search, assert_exact as assert_searches_exact};
use crate::support::{SOON, assert_exact, random, reference, versions};

#[tokio::test]
async fn a_stage_that_is_told_to_stop_while_kafka_hangs_keeps_the_outputs_it_could_not_send() {
    // GIVEN a stage behind the commit of a batch whose outputs are not sent, one before it acknowledged
    let servers = Arc::new(LocalServers::start_these(&[Server::Kafka]).await);
    let fleet = Fleet::prepare_on(servers.servers(), &[("BATCH_MAX_ROWS", "15")]).await;
    for service in [Service::DataSource, Service::Stg, Service::Cdm] {
        fleet.start(service);
    }
    fleet.wait_healthy(Service::DataSource).await;
    fleet.put_reference(&reference()).await;
    fleet.ingest(&versions(&mut random(), 60, 5)).await;
    fleet.stage_at_rest(Service::Stg, &fleet.stg_topic(), SOON).await;
    fleet.start_failing(Service::Dds, "after_commit:stop:6");
    fleet.frozen(Service::Dds, SOON).await;
    // WHEN Kafka hangs, and the stage is told to stop
    servers.freeze(Server::Kafka);
    fleet.ask_to_stop(Service::Dds);
    fleet.thaw(Service::Dds);
    let (status, log) = fleet.ended(Service::Dds, SOON).await;
    assert!(status.success(), "{status}: {log}");
    // AND both come back
    servers.thaw(Server::Kafka);
    fleet.start(Service::Dds);
    // THEN the outputs are sent
    assert_exact(&fleet).await;
}

#[tokio::test]
async fn no_outage_of_a_server_makes_a_dead_letter_of_any_stream() {
    // GIVEN a fleet on servers of its own, under load of both streams
    let servers = Arc::new(LocalServers::start().await);
    let fleet = Fleet::prepare_on(servers.servers(), &[("BATCH_MAX_ROWS", "20")]).await;
    for service in Service::ALL {
        fleet.start(service);
    }
    fleet.wait_healthy(Service::DataSource).await;
    fleet.put_reference(&reference()).await;
    let mut random = random();
    let orders = versions(&mut random, 150, 4);
    let parts = orders.chunks(orders.len().div_ceil(3));
    for (server, orders) in [Server::Postgres, Server::Redis, Server::Kafka].into_iter().zip(parts) {
        let searches: Vec<_> = (0..200).map(|_| any_search(&mut random).build()).collect();
        fleet.ingest(orders).await;
        fleet.ingest_searches(&searches).await;
        // WHEN a server goes away in the middle of it, until every stage that needs it has noticed
        servers.freeze(server);
        let unhealthy = if server == Server::Redis { Service::Cdm } else { Service::Dds };
        eventually(SOON, &format!("{unhealthy:?} without {server:?}"), async || {
            let health = fleet.get(unhealthy, "/health").await;
            holds(health.status == 503, || format!("{} {}", health.status, health.body))
        })
        .await;
        // AND dies, and comes back
        servers.thaw(server);
        servers.crash(server).await;
        servers.restart(server).await;
    }
    // THEN nothing was refused, nothing lost, nothing counted twice
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
}
