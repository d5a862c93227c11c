//! The whole fleet over servers that speak TLS only.

use serde_json::json;
use strata_testkit::eventually::holds;
use strata_testkit::secure::PASSWORD;
use strata_testkit::{Fleet, Mechanism, SecureServers, Server, Service, eventually};

use crate::searches::support::assert_exact as assert_searches_exact;
use crate::support::{SOON, assert_exact};

#[tokio::test]
async fn a_fleet_over_secured_servers_ends_exact_and_says_who_refuses_it() {
    // GIVEN servers that were given other passwords than the services know
    let servers = SecureServers::start().await;
    let fleet = Fleet::prepare_on(servers.servers(Mechanism::Scram512), &[]).await;
    for server in [Server::Kafka, Server::Postgres, Server::Redis] {
        servers.set_password(server, "another").await;
    }
    for service in Service::ALL {
        fleet.start(service);
    }
    // THEN they say so
    for (check, expected) in [
        ("kafka", "refuses our user or password (SASL SCRAM-SHA-512)"),
        ("postgres", "refuses our user or password"),
        ("redis", "refuses our user or password"),
    ] {
        eventually(SOON, &format!("{check}: {expected}"), async || {
            let Some(health) = fleet.get_if_up(Service::Cdm, "/health").await else {
                return Err("down".into());
            };
            let said = health.body["checks"][check].as_str().unwrap_or_default().to_owned();
            holds(health.status == 503 && said.contains(expected), || said)
        })
        .await;
    }
    assert!(fleet.logs().contains("refuses our user or password (SASL SCRAM-SHA-512)"));
    assert!(!fleet.logs().contains(PASSWORD), "a password is in the log");
    // AND WHEN the servers are given back the old ones
    for server in [Server::Kafka, Server::Postgres, Server::Redis] {
        servers.set_password(server, PASSWORD).await;
    }
    // THEN the services are well without a restart, and everything that is sent ends exact
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
    // Reference data are made in the background, once Redis lets data-source in again.
    eventually(SOON, "a push that is taken", async || {
        let answer = fleet.post(Service::DataSource, "/push", &json!({"N": 1000})).await;
        holds(answer.status == 200, || answer.body.to_string())
    })
    .await;
    let searches = json!({"N": 1000, "stream": "hotel_search"});
    fleet.post(Service::DataSource, "/push", &searches).await.ok();
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
}
