//! Postgres and Redis put back to a copy: Kafka holds the rest.

use std::sync::Arc;

use strata_testkit::{
    Fleet, LocalServers, Server, Service, assert_no_dead_letters, assert_searches_equal,
    assert_warehouse_equals,
};

use crate::support::SOON;

#[tokio::test]
async fn a_fleet_on_a_restored_copy_reads_the_rest_from_kafka_and_is_exact() {
    // GIVEN a copy made under load
    let servers = Arc::new(LocalServers::start().await);
    let fleet = Fleet::prepare_on(servers.servers(), &[("BATCH_MAX_ROWS", "100")]).await;
    for service in Service::ALL {
        fleet.start(service);
    }
    fleet.wait_healthy(Service::DataSource).await;
    let copy = servers.directory("copy");
    push(&fleet).await;
    servers.back_up(&copy).await;
    // AND a good deal more in every layer since
    push(&fleet).await;
    fleet.at_rest(SOON).await;
    fleet.searches_at_rest(SOON).await;
    push(&fleet).await;
    // WHEN everything is lost but Kafka and the copy
    for service in Service::ALL {
        fleet.kill(service);
    }
    for server in [Server::Postgres, Server::Redis] {
        servers.crash(server).await;
    }
    servers.restore(&copy).await;
    fleet.strata_ok(&["stage", "restored"]).await;
    // AND the last stages start first, so that they read what the former life sent before its senders are back
    for service in Service::ALL.into_iter().rev() {
        fleet.start(service);
        fleet.wait_healthy(service).await;
    }
    // THEN nothing is lost, refused or counted twice
    fleet.at_rest(SOON).await;
    fleet.searches_at_rest(SOON).await;
    assert_warehouse_equals(fleet.pool(), &fleet.model(&fleet.reference().await).await).await;
    assert_searches_equal(&fleet, &fleet.search_model().await).await;
    assert_no_dead_letters(fleet.pool()).await;
    fleet.strata_ok(&["reconcile"]).await;
}

async fn push(fleet: &Fleet) {
    fleet.push(1500).await;
    fleet.push_searches(1500).await;
}
