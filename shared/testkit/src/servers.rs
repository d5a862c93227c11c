//! Where Postgres, Redis and Kafka are: the same variables as the services read.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use strata_pipeline::connection;
use strata_service::config::{self, KafkaSettings, VARIABLES};
use strata_service::{Settings, tls};
use tokio::sync::OnceCell;

/// A server that does not answer within this is missing.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Servers in use, and how to connect to them.
#[derive(Debug, Clone)]
pub struct Servers {
    settings: Settings,
    /// What a service is told to reach them, the database aside.
    variables: Vec<(String, String)>,
}

impl Servers {
    /// Reads the environment of the services and makes sure, once in this process, that each server answers.
    ///
    /// **Panics** when one does not: a missing server is a failed test, never a skipped one.
    pub async fn from_env() -> Self {
        static ANSWERED: OnceCell<()> = OnceCell::const_new();
        let servers = Self::configured();
        let ask = async || {
            drop(servers.connect_postgres().await);
            servers.ping_redis().await;
            servers.ask_kafka().await;
        };
        ANSWERED.get_or_init(ask).await;
        servers
    }

    /// Reads the environment without asking the servers.
    pub fn configured() -> Self {
        let ours =
            |name: &str| ["KAFKA_", "POSTGRES_", "REDIS_", "DATABASE_"].iter().any(|p| name.starts_with(p));
        // Every fleet has a prefix of its own.
        let ours = VARIABLES.iter().filter(|v| ours(v.name) && !v.name.ends_with("_PREFIX"));
        Self::at(ours.filter_map(|v| Some((v.name, config::value(v.name)?))))
    }

    /// Servers that these variables lead to.
    ///
    /// **Panics** when a variable does not fit.
    pub fn at(variables: impl IntoIterator<Item = (impl Into<String>, String)>) -> Self {
        tls::install();
        let variables: Vec<(String, String)> =
            variables.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let settings = Settings::from_lookup("STG_PORT", |name| {
            variables.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.clone())
        });
        Self { settings: settings.unwrap_or_else(|e| panic!("{e}")), variables }
    }

    /// The same servers, where a variable has another value.
    pub fn with_variable(&self, name: &str, value: &str) -> Self {
        let others = self.variables.iter().filter(|(variable, _)| variable != name).cloned();
        Self::at(others.chain([(name.to_owned(), value.to_owned())]))
    }

    /// The same servers, but the one whose variables begin so is where this variable says.
    pub(crate) fn with_other(&self, prefixes: &[&str], (name, value): (&str, String)) -> Self {
        let is_other = |variable: &str| prefixes.iter().any(|prefix| variable.starts_with(prefix));
        let others = self.variables.iter().filter(|(variable, _)| !is_other(variable)).cloned();
        Self::at(others.chain([(name.to_owned(), value)]))
    }

    /// What a service is told to reach these servers and this database.
    pub fn variables(&self, database: &str) -> Vec<(String, String)> {
        let given = |name: &str| self.variables.iter().any(|(variable, _)| variable == name);
        let mut variables = self.variables.clone();
        if given("DATABASE_URL") || given("DATABASE_URL_FILE") {
            variables.retain(|(name, _)| !name.starts_with("DATABASE_URL"));
            let url = self.postgres().database(database).to_url_lossy();
            variables.push(("DATABASE_URL".to_owned(), url.to_string()));
        } else {
            variables.push(("POSTGRES_DB".to_owned(), database.to_owned()));
        }
        variables
    }

    /// How to connect to Postgres; the database named there is only used to create others.
    pub fn postgres(&self) -> PgConnectOptions {
        self.settings.postgres.options()
    }

    /// How to connect to Redis.
    pub fn redis(&self) -> redis::Client {
        self.settings.redis.client()
    }

    /// How to connect to Kafka.
    pub fn kafka(&self) -> &KafkaSettings {
        &self.settings.kafka
    }

    /// A connection to the database that the environment names.
    pub async fn connect_postgres(&self) -> PgConnection {
        let options = self.postgres();
        match tokio::time::timeout(ANSWER_WITHIN, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => missing("Postgres", options.get_host(), &e.to_string()),
            Err(_) => missing("Postgres", options.get_host(), "no answer"),
        }
    }

    /// A connection to Redis.
    pub async fn connect_redis(&self) -> redis::aio::MultiplexedConnection {
        let client = self.redis();
        match tokio::time::timeout(ANSWER_WITHIN, client.get_multiplexed_async_connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => missing("Redis", &format!("{:?}", self.settings.redis), &e.to_string()),
            Err(_) => missing("Redis", &format!("{:?}", self.settings.redis), "no answer"),
        }
    }

    async fn ping_redis(&self) {
        let mut connection = self.connect_redis().await;
        if let Err(e) = redis::cmd("PING").query_async::<String>(&mut connection).await {
            missing("Redis", &format!("{:?}", self.settings.redis), &e.to_string());
        }
    }

    async fn ask_kafka(&self) {
        let settings = self.kafka().clone();
        let asked = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = connection::client(&settings).create()?;
            consumer.fetch_metadata(None, ANSWER_WITHIN).map(drop)
        });
        if let Err(e) = asked.await.expect("asking kafka does not panic") {
            missing("Kafka", &self.kafka().brokers, &e.to_string());
        }
    }
}

fn missing(server: &str, address: &str, why: &str) -> ! {
    panic!("{server} at {address} does not answer ({why}); `make servers` starts the servers the tests need")
}
