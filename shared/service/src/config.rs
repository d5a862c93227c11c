//! Configuration from the environment, read once at start.
//!
//! [`VARIABLES`] is the only list of names and defaults; `.env_template` is compared with it by a test.

mod reader;
mod schema_registry;
mod servers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use strata_events::stream::dlq_topic;
use strata_events::{Hop, Schema, StageId, StreamSpec, TopicSpec};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use reader::Reader;
pub use reader::{ConfigError, Identity, Secret};
pub use schema_registry::RegistrySettings;
pub use servers::{KafkaSecurity, PostgresSettings, RedisSettings, Sasl};

/// A variable of the environment.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its default; without one the variable is optional.
    pub default: Option<&'static str>,
}

const fn var(name: &'static str, default: &'static str) -> Variable {
    Variable { name, default: Some(default) }
}

const fn optional(name: &'static str) -> Variable {
    Variable { name, default: None }
}

/// Every variable that the programs read, the topics of [`strata_streams::STREAMS`] aside.
pub const VARIABLES: &[Variable] = &[
    var("HTTP_HOST", "127.0.0.1"),
    var("HTTP_READ_TIMEOUT_SECS", "30"),
    var("HTTP_MAX_CONNECTIONS", "512"),
    var("HTTP_MAX_REQUESTS", "64"),
    var("DATA_SOURCE_PORT", "5011"),
    var("STG_PORT", "5012"),
    var("DDS_PORT", "5013"),
    var("CDM_PORT", "5014"),
    var("CONSOLE_PORT", "5015"),
    var("RECONCILE_EVERY_MINUTES", "15"),
    optional("DATA_SOURCE_URL"),
    optional("STG_URL"),
    optional("DDS_URL"),
    optional("CDM_URL"),
    optional("APIKEY"),
    optional("APIKEY_FILE"),
    var("LOG_LEVEL", "info"),
    var("LOG_FORMAT", "text"),
    optional("OTEL_EXPORTER_OTLP_ENDPOINT"),
    optional("OTEL_EXPORTER_OTLP_CERTIFICATE"),
    var("OTEL_TRACES_SAMPLER_ARG", "1"),
    var("POSTGRES_HOST", "localhost"),
    var("POSTGRES_PORT", "6432"),
    var("POSTGRES_USER", "de"),
    var("POSTGRES_PASSWORD", "engineer"),
    optional("POSTGRES_PASSWORD_FILE"),
    var("POSTGRES_DB", "dwh"),
    optional("DATABASE_URL"),
    optional("DATABASE_URL_FILE"),
    var("POSTGRES_SSLMODE", "prefer"),
    optional("POSTGRES_CA"),
    optional("POSTGRES_CERTIFICATE"),
    optional("POSTGRES_KEY"),
    var("POSTGRES_WORKER_CONNECTIONS", "6"),
    var("POSTGRES_HTTP_CONNECTIONS", "4"),
    var("REDIS_HOST", "localhost"),
    var("REDIS_PORT", "6379"),
    optional("REDIS_USERNAME"),
    optional("REDIS_PASSWORD"),
    optional("REDIS_PASSWORD_FILE"),
    optional("REDIS_URL"),
    optional("REDIS_URL_FILE"),
    var("REDIS_TLS", "false"),
    optional("REDIS_CA"),
    optional("REDIS_CERTIFICATE"),
    optional("REDIS_KEY"),
    var("REDIS_PREFIX", ""),
    var("KAFKA_BROKERS", "localhost:29092"),
    var("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"),
    var("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
    optional("KAFKA_USERNAME"),
    optional("KAFKA_PASSWORD"),
    optional("KAFKA_PASSWORD_FILE"),
    optional("KAFKA_CA"),
    optional("KAFKA_CERTIFICATE"),
    optional("KAFKA_KEY"),
    var("KAFKA_PARTITIONS", "6"),
    var("KAFKA_REPLICATION", "1"),
    var("KAFKA_GROUP_PREFIX", ""),
    var("KAFKA_SESSION_TIMEOUT_MS", "10000"),
    optional("SCHEMA_REGISTRY_URL"),
    var("SCHEMA_REGISTRY_REGISTER", "false"),
    optional("SCHEMA_REGISTRY_USERNAME"),
    optional("SCHEMA_REGISTRY_PASSWORD"),
    optional("SCHEMA_REGISTRY_PASSWORD_FILE"),
    optional("SCHEMA_REGISTRY_CA"),
    var("BATCH_MAX_ROWS", "2000"),
    var("BATCH_MAX_BYTES", "2097152"),
    var("BATCH_LINGER_MS", "2"),
    var("DDS_WRITERS", "2"),
    var("CDM_BATCH_FACTOR", "4"),
    var("CDM_BATCH_PATIENCE_MS", "500"),
    var("DEAD_LETTER_MAX_SHARE", "0.5"),
    var("DEAD_LETTER_MIN_RECORDS", "1000"),
    var("OPS_KEEP_DAYS", "90"),
];

/// A variable of the environment; an empty one is taken as absent.
pub fn value(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Everything a service is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address the HTTP server binds to.
    pub http_host: String,
    /// Port of this service.
    pub http_port: u16,
    /// What callers may ask of the HTTP server.
    pub http_limits: HttpLimits,
    /// Time from one reconcile of the console to the next; zero means none by schedule.
    pub reconcile_every: Duration,
    /// Key that requests which change state must carry; none means open.
    pub api_key: Option<Secret>,
    /// Filter for log lines, for example `info` or `strata_pipeline=debug`.
    pub log_level: String,
    /// True for JSON lines, false for text.
    pub log_json: bool,
    /// Traces.
    pub traces: TraceSettings,
    /// How to reach Postgres.
    pub postgres: PostgresSettings,
    /// How to reach Redis.
    pub redis: RedisSettings,
    /// Put before every Redis key, so that several fleets can share a server.
    pub redis_prefix: String,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// Who knows the schemas of the topics; none means nobody is asked.
    pub schema_registry: Option<RegistrySettings>,
    /// Names of the topics.
    pub topics: Topics,
    /// Size of batches.
    pub batch: BatchSettings,
    /// How long the fleet remembers what is settled: dead letters, outcomes of `strata reconcile`.
    pub keep_settled: Duration,
}

/// Where spans go, and of how many requests.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Base URL of a collector for OTLP over HTTP; none means no spans.
    pub endpoint: Option<String>,
    /// CAs that a collector behind https must be signed by; those of the system where absent.
    pub ca: Option<PathBuf>,
    /// Share of requests without a `traceparent` that begin a recorded trace, from 0 to 1.
    pub ratio: f64,
}

/// What callers may ask of an HTTP server.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// A caller whose header takes longer, or who sends next to nothing for so long, is given up.
    pub read_timeout: Duration,
    /// Connections at once; more wait until one is closed.
    pub connections: usize,
    /// Requests at once, those for health and metrics aside; more are told to come back.
    pub requests: usize,
}

/// How to reach Kafka and how to lay out topics.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// Bootstrap servers, comma separated.
    pub brokers: String,
    /// What clients call themselves: the program, and of a service `@` and the [instance](Settings::instance).
    pub client_id: String,
    /// Encryption, user and password.
    pub security: KafkaSecurity,
    /// Partitions of a topic that the fleet creates.
    pub partitions: i32,
    /// Replicas of a topic that the fleet creates.
    pub replication: i32,
    /// Put before every consumer group, so that several fleets can share a broker.
    pub group_prefix: String,
    /// After this silence a consumer is taken for dead, in milliseconds.
    pub session_timeout_ms: u32,
}

/// When a batch is complete: whatever comes first.
#[derive(Debug, Clone, Copy)]
pub struct BatchSettings {
    /// Records.
    pub max_rows: usize,
    /// Bytes of payload.
    pub max_bytes: usize,
    /// Time since the first record.
    pub linger: Duration,
    /// Time more for a batch that is large by then, to become full.
    pub patience: Duration,
    /// Transactions that dds writes a large batch in, side by side.
    pub writers: usize,
    /// Batches of counters are so many times larger: their messages are small, and a counter is written once per
    /// batch, however many orders it grows by.
    pub counters_factor: usize,
    /// How long a large batch of counters waits to become full.
    pub counters_patience: Duration,
    /// How much of what is read may be unusable.
    pub dead_letters: DeadLetterLimits,
}

/// When a stage stops instead of refusing most of what it reads.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetterLimits {
    /// Largest share of dead letters, from 0 to 1; 1 means no limit.
    pub max_share: f64,
    /// Records, the newest ones, of which the share is taken; fewer are never judged.
    pub min_records: usize,
}

/// Names of the topics in force.
#[derive(Debug, Clone)]
pub struct Topics(Vec<(TopicSpec, String)>);

impl Topics {
    /// The name of a topic.
    pub fn name(&self, spec: TopicSpec) -> &str {
        self.0.iter().find(|(known, _)| *known == spec).map_or(spec.default, |(_, name)| name)
    }

    /// The stages of a stream with the topics they read, in the order of its hops.
    pub fn of(&self, stream: &StreamSpec) -> impl Iterator<Item = (StageId, &str)> {
        stream.hops.iter().map(|hop| (hop.stage, self.name(hop.topic)))
    }

    /// The way of a stream through a stage; none where it does not pass the stage.
    pub fn route(&self, stream: &StreamSpec, stage: StageId) -> Option<Route> {
        let name = |hop: &Hop| self.name(hop.topic).to_owned();
        Some(Route {
            stage,
            stream: stream.name,
            input: name(stream.hop(stage)?),
            schema: stream.hop(stage)?.schema,
            upstream: stream.before(stage).map(|hop| Upstream { stage: hop.stage, topic: name(hop) }),
            output: stream.after(stage).map(name),
        })
    }
}

/// The way of one stream through one stage.
#[derive(Debug, Clone)]
pub struct Route {
    /// The stage.
    pub stage: StageId,
    /// Name of the stream.
    pub stream: &'static str,
    /// Topic that the stage reads.
    pub input: String,
    /// What the messages of that are.
    pub schema: Schema,
    /// Who writes that; none for a stream's first.
    pub upstream: Option<Upstream>,
    /// Topic that the stage writes; none for a stream's last.
    pub output: Option<String>,
}

impl Route {
    /// Topic of the next layer, for a stage that has one.
    ///
    /// **Errors**: the stream ends here, so the registry and the wiring of the service contradict each other.
    pub fn next(&self) -> anyhow::Result<Arc<str>> {
        let Self { stage, stream, .. } = self;
        self.output
            .as_deref()
            .map(Arc::from)
            .with_context(|| format!("no stage follows {stage} in the stream {stream}"))
    }

    /// Topics that the stage writes to: its dead letters, and its outputs.
    pub fn written(&self) -> Vec<String> {
        let mut topics = vec![dlq_topic(&self.input)];
        topics.extend(self.output.clone());
        topics
    }
}

/// The stage that writes a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its layer.
    pub stage: StageId,
    /// The topic that it reads.
    pub topic: String,
}

impl Settings {
    /// Where the HTTP server listens, as `host:port`.
    pub fn http_address(&self) -> String {
        host_and_port(self.http_host.trim_matches(['[', ']']), self.http_port)
    }

    /// How the HTTP server is reached on this machine, as `host:port`.
    pub fn http_address_here(&self) -> String {
        let host = match self.http_host.trim_matches(['[', ']']) {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        host_and_port(host, self.http_port)
    }

    /// What tells this process from others of the same service: host and port, for people and for Kafka.
    pub fn instance(&self) -> String {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
        format!("{host}:{}", self.http_port)
    }

    /// Reads the environment; `port_variable` names the port of this service.
    pub fn from_env(port_variable: &'static str) -> Result<Self, ConfigError> {
        Self::from_lookup(port_variable, |name| std::env::var(name).ok())
    }

    /// Reads variables from `lookup`, an empty one being taken as absent.
    pub fn from_lookup(
        port_variable: &'static str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let reader = Reader(&lookup);
        let topics = strata_streams::topics()
            .map(|spec| (spec, reader.value(spec.env).unwrap_or_else(|| spec.default.to_owned())))
            .collect();
        Ok(Self {
            http_host: reader.text("HTTP_HOST"),
            http_port: reader.parsed(port_variable)?,
            http_limits: HttpLimits {
                read_timeout: Duration::from_secs(reader.positive("HTTP_READ_TIMEOUT_SECS")? as u64),
                connections: reader.positive("HTTP_MAX_CONNECTIONS")?,
                requests: reader.positive("HTTP_MAX_REQUESTS")?,
            },
            reconcile_every: Duration::from_secs(60 * reader.parsed::<u64>("RECONCILE_EVERY_MINUTES")?),
            api_key: reader.secret("APIKEY", "APIKEY_FILE")?,
            log_level: log_level(&reader)?,
            log_json: reader.choice("LOG_FORMAT", &[("text", false), ("json", true)])?,
            traces: TraceSettings {
                endpoint: reader.value("OTEL_EXPORTER_OTLP_ENDPOINT"),
                ca: reader.certificates("OTEL_EXPORTER_OTLP_CERTIFICATE")?,
                ratio: reader.share("OTEL_TRACES_SAMPLER_ARG")?,
            },
            postgres: PostgresSettings::read(&reader)?,
            redis: RedisSettings::read(&reader)?,
            redis_prefix: reader.text("REDIS_PREFIX"),
            kafka: KafkaSettings {
                brokers: reader.text("KAFKA_BROKERS"),
                client_id: "strata".to_owned(),
                security: KafkaSecurity::read(&reader)?,
                partitions: reader.parsed("KAFKA_PARTITIONS")?,
                replication: reader.parsed("KAFKA_REPLICATION")?,
                group_prefix: reader.text("KAFKA_GROUP_PREFIX"),
                session_timeout_ms: reader.parsed("KAFKA_SESSION_TIMEOUT_MS")?,
            },
            schema_registry: RegistrySettings::read(&reader)?,
            topics: Topics(topics),
            batch: BatchSettings {
                max_rows: reader.positive("BATCH_MAX_ROWS")?,
                max_bytes: reader.positive("BATCH_MAX_BYTES")?,
                linger: Duration::from_millis(reader.parsed("BATCH_LINGER_MS")?),
                patience: Duration::ZERO,
                writers: reader.positive("DDS_WRITERS")?,
                counters_factor: reader.positive("CDM_BATCH_FACTOR")?,
                counters_patience: Duration::from_millis(reader.parsed("CDM_BATCH_PATIENCE_MS")?),
                dead_letters: DeadLetterLimits {
                    max_share: reader.share("DEAD_LETTER_MAX_SHARE")?,
                    min_records: reader.positive("DEAD_LETTER_MIN_RECORDS")?,
                },
            },
            keep_settled: reader.days("OPS_KEEP_DAYS")?,
        })
    }
}

/// A host with a port; addresses of IPv6 stand in brackets.
pub(crate) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The filter for log lines, once it is known to name levels that exist.
fn log_level(reader: &Reader<'_>) -> Result<String, ConfigError> {
    let level = reader.text("LOG_LEVEL");
    let known = |word: &str| {
        let level = word.rsplit_once('=').map_or(word, |(_, level)| level);
        level.trim().parse::<LevelFilter>().is_ok()
    };
    // The filter's own parser takes a level that does not exist for the name of a module.
    match level.split(',').all(known) && EnvFilter::try_new(&level).is_ok() {
        true => Ok(level),
        false => Err(reader.refused(
            "LOG_LEVEL",
            "it must be error, warn, info, debug, trace or off, also per module as in info,rdkafka=debug",
        )),
    }
}

#[cfg(test)]
mod tests;
