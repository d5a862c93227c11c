//! Where Postgres, Redis and Kafka are: the same variables as the services read.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use strata_runtime::Settings;

/// A server that does not answer within this is missing.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Addresses of the servers in use.
#[derive(Debug, Clone)]
pub struct Servers {
    /// How to connect to Postgres; the database named there is only used to create others.
    pub postgres: PgConnectOptions,
    /// Connection URL of Postgres.
    pub database_url: String,
    /// Connection URL of Redis.
    pub redis_url: String,
    /// Bootstrap servers of Kafka.
    pub brokers: String,
}

impl Servers {
    /// Reads the environment of the services and makes sure that each server answers.
    ///
    /// **Panics** when one does not: a missing server is a failed test, never a skipped one.
    pub async fn from_env() -> Self {
        let servers = Self::configured();
        drop(servers.connect_postgres().await);
        servers.ping_redis().await;
        servers.ask_kafka().await;
        servers
    }

    /// Reads the environment without asking the servers.
    pub fn configured() -> Self {
        let settings = Settings::from_env("STG_PORT").unwrap_or_else(|e| panic!("{e}"));
        let database_url = settings.database_url.expose().to_owned();
        Self {
            postgres: database_url.parse().unwrap_or_else(|e| panic!("DATABASE_URL does not fit: {e}")),
            database_url,
            redis_url: settings.redis_url.expose().to_owned(),
            brokers: settings.kafka.brokers,
        }
    }

    /// A connection to the database that the environment names.
    pub async fn connect_postgres(&self) -> PgConnection {
        let options = self.postgres.clone().disable_statement_logging();
        match tokio::time::timeout(ANSWER_WITHIN, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => missing("Postgres", options.get_host(), &e.to_string()),
            Err(_) => missing("Postgres", options.get_host(), "no answer"),
        }
    }

    /// A connection to Redis.
    pub async fn connect_redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.redis_url.as_str())
            .unwrap_or_else(|e| panic!("REDIS_URL does not fit: {e}"));
        match tokio::time::timeout(ANSWER_WITHIN, client.get_multiplexed_async_connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => missing("Redis", &self.redis_url, &e.to_string()),
            Err(_) => missing("Redis", &self.redis_url, "no answer"),
        }
    }

    async fn ping_redis(&self) {
        let mut connection = self.connect_redis().await;
        if let Err(e) = redis::cmd("PING").query_async::<String>(&mut connection).await {
            missing("Redis", &self.redis_url, &e.to_string());
        }
    }

    async fn ask_kafka(&self) {
        let brokers = self.brokers.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &brokers).create()?;
            consumer.fetch_metadata(None, ANSWER_WITHIN).map(drop)
        });
        if let Err(e) = asked.await.expect("asking kafka does not panic") {
            missing("Kafka", &self.brokers, &e.to_string());
        }
    }
}

fn missing(server: &str, address: &str, why: &str) -> ! {
    panic!("{server} at {address} does not answer ({why}); `make servers` starts the servers the tests need")
}
