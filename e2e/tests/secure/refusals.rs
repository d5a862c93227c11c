//! What a client says of a server that does not let it in, and that it gets in when that is repaired.

use std::time::Duration;

use strata_pipeline::Producer;
use strata_service::{Client as _, Settings, pg, redis as redis_client};
use strata_testkit::eventually::holds;
use strata_testkit::{Identity, Mechanism, SecureServers, Server, eventually};

use super::{settings, shared};

/// Kafka's client finds out in the background.
const FOUND_WITHIN: Duration = Duration::from_secs(20);

/// What a refused client says.
async fn says(what: &str, expected: &str, mut ask: impl AsyncFnMut() -> Result<(), String>) {
    eventually(FOUND_WITHIN, &format!("{what}: {expected:?}"), async || {
        let said = ask().await;
        holds(said.as_ref().is_err_and(|said| said.contains(expected)), || format!("{said:?}"))
    })
    .await;
}

/// It gets in.
async fn gets_in(what: &str, mut ask: impl AsyncFnMut() -> Result<(), String>) {
    eventually(FOUND_WITHIN, what, async || ask().await).await;
}

/// The clients that `/health` asks.
struct Clients {
    kafka: Producer,
    postgres: pg::Probe,
    redis: redis_client::Connection,
}

impl Clients {
    fn new(settings: &Settings) -> Self {
        Self {
            kafka: Producer::new(&settings.kafka).expect("a producer"),
            postgres: pg::Probe::new(&settings.postgres, "test"),
            redis: redis_client::connect(&settings.redis),
        }
    }

    async fn ask(&self, server: Server) -> Result<(), String> {
        match server {
            Server::Kafka => {
                let kafka = self.kafka.clone();
                let asked = tokio::task::spawn_blocking(move || kafka.ask(Duration::from_secs(1)));
                asked.await.expect("no panic")
            }
            Server::Postgres => self.postgres.ask().await,
            Server::Redis => self.redis.ask().await,
        }
    }
}

#[tokio::test]
async fn a_client_with_wrong_settings_says_which_one_is_wrong() {
    let servers = shared().await;
    let other = servers.file("other-ca.pem");
    let (certificate, key) = (servers.file("client.pem"), servers.file("client.key"));
    let variables = servers.variables(Mechanism::Scram512);
    let certified = servers.variables_of_certified();
    let certified_port = certified
        .iter()
        .find(|(name, _)| *name == "KAFKA_BROKERS")
        .map(|(_, value)| value.clone())
        .expect("a port");
    for (server, replaced, expected) in [
        (
            Server::Kafka,
            vec![("KAFKA_PASSWORD", "wrong")],
            "refuses our user or password (SASL SCRAM-SHA-512)",
        ),
        (
            Server::Kafka,
            vec![("KAFKA_PASSWORD", "wrong"), ("KAFKA_SASL_MECHANISM", "PLAIN")],
            "refuses our user or password (SASL PLAIN)",
        ),
        (Server::Kafka, vec![("KAFKA_CA", &*other)], "signed by a CA that we do not trust: see KAFKA_CA"),
        (
            Server::Kafka,
            vec![("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"), ("KAFKA_CA", "")],
            "wants TLS, which KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT is without",
        ),
        (
            Server::Kafka,
            vec![
                ("KAFKA_SECURITY_PROTOCOL", "SSL"),
                ("KAFKA_USERNAME", ""),
                ("KAFKA_PASSWORD", ""),
                ("KAFKA_BROKERS", &*certified_port),
            ],
            "does not accept our client certificate",
        ),
        (Server::Postgres, vec![("POSTGRES_PASSWORD", "wrong")], "refuses our user or password"),
        (
            Server::Postgres,
            vec![("POSTGRES_CA", &*other)],
            "signed by a CA that we do not trust: see POSTGRES_CA",
        ),
        (Server::Postgres, vec![("POSTGRES_SSLMODE", "disable"), ("POSTGRES_CA", "")], "with TLS only"),
        (Server::Postgres, vec![("POSTGRES_USER", "certified")], "client certificate"),
        (
            Server::Postgres,
            // Known by its certificate, but not under this name.
            vec![
                ("POSTGRES_USER", "certified"),
                ("POSTGRES_PASSWORD", ""),
                ("POSTGRES_CERTIFICATE", &*servers.file("server.pem")),
                ("POSTGRES_KEY", &*servers.file("server.key")),
            ],
            "client certificate",
        ),
        (Server::Redis, vec![("REDIS_PASSWORD", "wrong")], "refuses our user or password"),
        (Server::Redis, vec![("REDIS_TLS", "false"), ("REDIS_CA", "")], "wants TLS: see REDIS_TLS"),
        (Server::Redis, vec![("REDIS_CA", &*other)], "signed by a CA that we do not trust: see REDIS_CA"),
        (
            Server::Redis,
            vec![("REDIS_CERTIFICATE", &*certificate), ("REDIS_KEY", &*key), ("REDIS_USERNAME", "nobody")],
            "refuses our user or password",
        ),
    ] {
        let clients = Clients::new(&settings(&variables, &replaced));
        says(&format!("{server:?} with {replaced:?}"), expected, async || clients.ask(server).await).await;
    }
}

#[tokio::test]
async fn a_server_that_is_repaired_lets_the_same_clients_in() {
    // GIVEN clients of each server
    let servers = SecureServers::start().await;
    let variables = servers.variables(Mechanism::Scram512);
    for server in [Server::Postgres, Server::Redis, Server::Kafka] {
        for (identity, expected) in [
            (Identity::Expired, "its certificate has expired"),
            (Identity::WrongHost, "its certificate is for another host name"),
        ] {
            // WHEN its certificate is no good
            servers.show(server, identity).await;
            let clients = Clients::new(&settings(&variables, &[]));
            // THEN they say why
            says(&format!("{server:?} shows {identity:?}"), expected, async || clients.ask(server).await)
                .await;
            // AND WHEN it has a good one again
            servers.show(server, Identity::Server).await;
            // THEN the same clients get in
            gets_in(&format!("{server:?} is repaired"), async || clients.ask(server).await).await;
        }
        // AND the same with a password that is set later
        let clients = Clients::new(&settings(
            &variables,
            &[("KAFKA_PASSWORD", "later"), ("POSTGRES_PASSWORD", "later"), ("REDIS_PASSWORD", "later")],
        ));
        says(&format!("{server:?}"), "refuses our user or password", async || clients.ask(server).await)
            .await;
        servers.set_password(server, "later").await;
        gets_in(&format!("{server:?} knows the password"), async || clients.ask(server).await).await;
    }
}
