//! Stages that are told to stop while a server is away.

use std::sync::Arc;

use strata_testkit::{Fleet, LocalServers, Server, Service};

use crate::support::{SOON, assert_exact, random, reference, versions};

#[tokio::test]
async fn a_stage_that_is_told_to_stop_while_kafka_hangs_keeps_the_outputs_it_could_not_send() {
    // GIVEN a stage behind the commit of a batch whose outputs are not sent, one before it acknowledged
    let servers = Arc::new(LocalServers::start().await);
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
