//! The operator's `strata push`, and readers who leave.

use std::sync::Arc;

use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, LocalServers, Server, Service, eventually};

use crate::searches::support::assert_exact as assert_searches_exact;
use crate::support::{SOON, assert_exact};

#[tokio::test]
async fn a_push_that_waits_outlasts_kafka_and_data_source_and_pushes_nothing_twice() {
    // GIVEN a fleet on servers of its own
    let servers = Arc::new(LocalServers::start_these(&[Server::Kafka]).await);
    let fleet = Fleet::prepare_on(servers.servers(), &[]).await;
    for service in Service::ALL {
        fleet.start(service);
    }
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
    // WHEN events are pushed, and on their way data-source dies, and Kafka is away for longer than data-source
    // waits for it
    let count = async |table: &str| -> i64 {
        let count = format!("select count(*) from {table}");
        sqlx::query_scalar(&count).fetch_one(fleet.pool()).await.expect("a count")
    };
    let faults = async {
        eventually(SOON, "some orders", async || {
            holds(count("stg.order_events").await > 0, || "none".to_owned())
        })
        .await;
        fleet.kill(Service::DataSource);
        fleet.start(Service::DataSource);
        fleet.wait_healthy(Service::DataSource).await;
        servers.freeze(Server::Kafka);
        eventually(SOON, "a request that Kafka let die", async || {
            holds(fleet.logs().contains("nothing was acknowledged"), || "it lives".to_owned())
        })
        .await;
        servers.thaw(Server::Kafka);
    };
    let arguments = ["push", "order=6000", "hotel_search=6000", "--rate", "1000", "--wait"];
    let (pushed, ()) = tokio::join!(fleet.strata(&arguments), faults);
    // THEN it says what it waits for, and ends well
    let said = String::from_utf8_lossy(&pushed.stderr).into_owned();
    assert!(pushed.status.success(), "{said}");
    assert!(said.contains("data-source does not answer") && said.contains("asking again"), "{said}");
    // AND there are as many as were asked for, each once
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
    assert_eq!(count("stg.order_events").await, 6000);
    assert_eq!(count("stg.hotel_search_events").await, 6000);
}

#[tokio::test]
async fn no_command_panics_when_its_reader_has_left() {
    // GIVEN a fleet
    let fleet = Fleet::launch().await;
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["push", "order=10"],
        &["push", "order=10", "--wait"],
        &["dlq", "list"],
        &["reconcile"],
        &["watch"],
        &["--help"],
    ] {
        // WHEN a command prints and nobody reads
        let (status, said) = fleet.strata_unread(arguments).await;
        // THEN it ends without complaint
        assert!(!said.contains("panicked"), "{arguments:?} ({status}): {said}");
    }
}
