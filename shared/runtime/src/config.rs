//! Configuration from the environment, read once at start.
//!
//! [`VARIABLES`] is the only list of names and defaults; `.env_template` is compared with it by a test.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use strata_events::stream;
use strata_events::{StageId, StreamSpec, TopicSpec};

use crate::kafka::Upstream;

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

/// Every variable that the programs read, the topics of [`strata_events::STREAMS`] aside.
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
    var("LOG_LEVEL", "info"),
    var("LOG_FORMAT", "text"),
    optional("OTEL_EXPORTER_OTLP_ENDPOINT"),
    var("OTEL_TRACES_SAMPLER_ARG", "1"),
    var("POSTGRES_HOST", "localhost"),
    var("POSTGRES_PORT", "6432"),
    var("POSTGRES_USER", "de"),
    var("POSTGRES_PASSWORD", "engineer"),
    var("POSTGRES_DB", "dwh"),
    optional("DATABASE_URL"),
    var("REDIS_HOST", "localhost"),
    var("REDIS_PORT", "6379"),
    optional("REDIS_URL"),
    var("REDIS_PREFIX", ""),
    var("KAFKA_BROKERS", "localhost:29092"),
    var("KAFKA_PARTITIONS", "6"),
    var("KAFKA_REPLICATION", "1"),
    var("KAFKA_GROUP_PREFIX", ""),
    var("KAFKA_SESSION_TIMEOUT_MS", "10000"),
    var("BATCH_MAX_ROWS", "2000"),
    var("BATCH_MAX_BYTES", "2097152"),
    var("BATCH_LINGER_MS", "2"),
    var("DEAD_LETTER_MAX_SHARE", "0.5"),
    var("DEAD_LETTER_MIN_RECORDS", "1000"),
];

/// A variable of the environment; an empty one is taken as absent.
pub fn value(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that is missing or does not fit.
#[derive(Debug, thiserror::Error)]
#[error("{name}={value:?} does not fit: {why}")]
pub struct ConfigError {
    name: &'static str,
    value: String,
    why: String,
}

/// A value that must not show in logs.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
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
    /// Filter for log lines, for example `info` or `strata_runtime=debug`.
    pub log_level: String,
    /// True for JSON lines, false for text.
    pub log_json: bool,
    /// Traces.
    pub traces: TraceSettings,
    /// Connection URL of Postgres.
    pub database_url: Secret,
    /// Connection URL of Redis.
    pub redis_url: Secret,
    /// Put before every Redis key, so that several fleets can share a server.
    pub redis_prefix: String,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// Names of the topics.
    pub topics: Topics,
    /// Size of batches.
    pub batch: BatchSettings,
}

/// Where spans go, and of how many requests.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Base URL of a collector for OTLP over HTTP; none means no spans.
    pub endpoint: Option<String>,
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

    /// Who writes what the stage reads of a stream; none for the stream's first.
    pub fn upstream(&self, stream: &StreamSpec, stage: StageId) -> Option<Upstream> {
        let hop = stream.before(stage)?;
        Some(Upstream { stage: hop.stage, topic: self.name(hop.topic).to_owned() })
    }
}

impl Settings {
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
        let postgres = ["USER", "PASSWORD", "HOST", "PORT", "DB"].map(|part| {
            let name = VARIABLES.iter().find(|v| v.name == format!("POSTGRES_{part}"));
            name.map(|v| reader.text(v.name)).unwrap_or_default()
        });
        let [user, password, host, port, database] = postgres;
        let topics = stream::topics()
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
            api_key: reader.value("APIKEY").map(Secret),
            log_level: reader.text("LOG_LEVEL"),
            log_json: reader.text("LOG_FORMAT") == "json",
            traces: TraceSettings {
                endpoint: reader.value("OTEL_EXPORTER_OTLP_ENDPOINT"),
                ratio: reader.share("OTEL_TRACES_SAMPLER_ARG")?,
            },
            database_url: Secret(
                reader
                    .value("DATABASE_URL")
                    .unwrap_or_else(|| format!("postgres://{user}:{password}@{host}:{port}/{database}")),
            ),
            redis_url: Secret(reader.value("REDIS_URL").unwrap_or_else(|| {
                format!("redis://{}:{}", reader.text("REDIS_HOST"), reader.text("REDIS_PORT"))
            })),
            redis_prefix: reader.text("REDIS_PREFIX"),
            kafka: KafkaSettings {
                brokers: reader.text("KAFKA_BROKERS"),
                partitions: reader.parsed("KAFKA_PARTITIONS")?,
                replication: reader.parsed("KAFKA_REPLICATION")?,
                group_prefix: reader.text("KAFKA_GROUP_PREFIX"),
                session_timeout_ms: reader.parsed("KAFKA_SESSION_TIMEOUT_MS")?,
            },
            topics: Topics(topics),
            batch: BatchSettings {
                max_rows: reader.positive("BATCH_MAX_ROWS")?,
                max_bytes: reader.positive("BATCH_MAX_BYTES")?,
                linger: Duration::from_millis(reader.parsed("BATCH_LINGER_MS")?),
                patience: Duration::ZERO,
                dead_letters: DeadLetterLimits {
                    max_share: reader.share("DEAD_LETTER_MAX_SHARE")?,
                    min_records: reader.positive("DEAD_LETTER_MIN_RECORDS")?,
                },
            },
        })
    }
}

struct Reader<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Reader<'_> {
    fn value(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &'static str) -> String {
        let default = VARIABLES.iter().find(|v| v.name == name).and_then(|v| v.default).unwrap_or_default();
        self.value(name).unwrap_or_else(|| default.to_owned())
    }

    fn parsed<T: FromStr>(&self, name: &'static str) -> Result<T, ConfigError>
    where
        T::Err: fmt::Display,
    {
        let value = self.text(name);
        value.parse().map_err(|e: T::Err| ConfigError { name, value, why: e.to_string() })
    }

    fn positive(&self, name: &'static str) -> Result<usize, ConfigError> {
        match self.parsed(name)? {
            0 => Err(ConfigError { name, value: "0".into(), why: "it must be at least 1".into() }),
            n => Ok(n),
        }
    }

    fn share(&self, name: &'static str) -> Result<f64, ConfigError> {
        let share: f64 = self.parsed(name)?;
        match (0.0..=1.0).contains(&share) {
            true => Ok(share),
            false => Err(ConfigError { name, value: self.text(name), why: "it must be from 0 to 1".into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_template_lists_what_the_programs_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.env_template");
        let template = std::fs::read_to_string(path).expect(".env_template");
        let (programs, _scripts) =
            template.split_once("# --- local servers and docker compose only ---").expect("the section mark");
        let mut listed = BTreeSet::new();
        for line in programs.lines() {
            let line = line.strip_prefix("# ").unwrap_or(line);
            let Some((name, value)) = line.split_once('=') else { continue };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
                continue;
            }
            listed.insert((name.to_owned(), value.trim().to_owned()));
        }
        let read: BTreeSet<_> = VARIABLES
            .iter()
            .map(|v| (v.name.to_owned(), v.default.unwrap_or_default().to_owned()))
            .chain(stream::topics().map(|t| (t.env.to_owned(), t.default.to_owned())))
            .collect();
        assert_eq!(listed, read);
    }

    #[test]
    fn a_value_that_does_not_fit_names_its_variable() {
        let lookup = |name: &str| (name == "BATCH_MAX_ROWS").then(|| "many".to_owned());
        let error = Settings::from_lookup("STG_PORT", lookup).expect_err("not a number").to_string();
        assert!(error.contains("BATCH_MAX_ROWS") && error.contains("many"), "{error}");
    }

    #[test]
    fn a_share_lies_between_nothing_and_all() {
        for value in ["-0.1", "1.1", "NaN", "half"] {
            let lookup = |name: &str| (name == "DEAD_LETTER_MAX_SHARE").then(|| value.to_owned());
            let error = Settings::from_lookup("STG_PORT", lookup).expect_err("no share").to_string();
            assert!(error.contains("DEAD_LETTER_MAX_SHARE") && error.contains(value), "{error}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let settings = Settings::from_lookup("STG_PORT", |_| None).expect("defaults fit");
        assert!(!format!("{settings:?}").contains("engineer"));
    }
}
