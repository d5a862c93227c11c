//! What every client of Kafka is made of, and what it hears against its connection.
//!
//! librdkafka names a refused password or certificate in its error callback only; every call that fails over
//! it says no more than that Kafka is not there.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use strata_service::config::{KafkaSecurity, KafkaSettings};
use strata_service::tls;

/// A reason that was not heard again for this long is none any more: librdkafka keeps an error that repeats
/// itself back for half of it.
const LASTS: Duration = Duration::from_secs(60);

/// Time between two handshakes of our own, for a reason that librdkafka does not tell.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Brokers, encryption and user of any client: consumer, producer or admin.
pub fn client(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", &settings.client_id)
        .set("reconnect.backoff.max.ms", "1000")
        .set("security.protocol", settings.security.protocol);
    if let Some(sasl) = &settings.security.sasl {
        config
            .set("sasl.mechanism", sasl.mechanism)
            .set("sasl.username", &sasl.username)
            .set("sasl.password", sasl.password.expose());
    }
    if let Some(ca) = &settings.security.ca {
        config.set("ssl.ca.location", ca.display().to_string());
    }
    if let Some(identity) = &settings.security.identity {
        config
            .set("ssl.certificate.location", identity.certificate.display().to_string())
            .set("ssl.key.location", identity.key.display().to_string());
    }
    config
}

/// What a client last heard against its connection that waiting does not repair.
#[derive(Clone)]
pub struct Refusals(Arc<Inner>);

struct Inner {
    settings: KafkaSettings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest reason, and when it was heard last.
    current: Option<(String, Instant)>,
    /// When a reason was last looked for.
    looked: Option<Instant>,
}

impl Refusals {
    /// Nothing has been heard yet.
    pub fn new(settings: &KafkaSettings) -> Self {
        Self(Arc::new(Inner { settings: settings.clone(), state: Mutex::default() }))
    }

    /// The reason in force, as a predicate of Kafka.
    pub fn current(&self) -> Option<String> {
        let state = self.lock();
        state.current.as_ref().filter(|(_, at)| at.elapsed() < LASTS).map(|(words, _)| words.clone())
    }

    /// The connection works.
    pub fn over(&self) {
        self.lock().current = None;
    }

    /// Takes an error of the callback; a new reason is logged, once.
    pub fn heard(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(error = %error, reason, "kafka client");
        let code = error.rdkafka_error_code();
        let security = &self.0.settings.security;
        if code == Some(RDKafkaErrorCode::SSL) && reason.contains("certificate verify failed") {
            let address = reason.split_once("://").map_or(reason, |(_, rest)| rest);
            let address = address.split('/').next().unwrap_or_default().to_owned();
            let ca = security.ca.clone();
            self.look(move || Some(judge_certificate(&address, ca.as_deref())));
        }
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            let settings = self.0.settings.clone();
            self.look(move || {
                settings.brokers.split(',').find_map(|broker| try_out(broker, &settings.security))
            });
        }
        if let Some(words) = self.classify(code, reason) {
            self.set(words);
        }
    }

    fn classify(&self, code: Option<RDKafkaErrorCode>, reason: &str) -> Option<String> {
        let security = &self.0.settings.security;
        let mechanism = security.sasl.as_ref().map_or("none", |sasl| sasl.mechanism);
        let words = match code {
            Some(RDKafkaErrorCode::Authentication) if reason.contains("mechanism handshake failed") => {
                let offered = reason.rsplit_once("supported mechanisms: ").map_or("others", |(_, rest)| rest);
                format!("does not offer KAFKA_SASL_MECHANISM={mechanism}, but {offered}")
            }
            Some(RDKafkaErrorCode::Authentication) => format!(
                "refuses our user or password (SASL {mechanism}): see KAFKA_USERNAME and KAFKA_PASSWORD"
            ),
            Some(RDKafkaErrorCode::SSL) if reason.contains("certificate verify failed") => return None,
            Some(RDKafkaErrorCode::SSL) if reason.contains("alert") => format!(
                "does not accept our client certificate: see KAFKA_CERTIFICATE and KAFKA_KEY ({})",
                reason.rsplit_once(": ").map_or(reason, |(_, last)| last)
            ),
            Some(RDKafkaErrorCode::SSL) => {
                format!("does not speak TLS as KAFKA_SECURITY_PROTOCOL={} wants it", security.protocol)
            }
            Some(RDKafkaErrorCode::BrokerTransportFailure)
                if reason.contains("security.protocol") || reason.contains("PLAINTEXT broker listener") =>
            {
                format!(
                    "hangs up on us: its listener does not speak KAFKA_SECURITY_PROTOCOL={}",
                    security.protocol
                )
            }
            _ => return None,
        };
        Some(words)
    }

    /// Looks for a reason on a thread of its own, since a callback holds up its client; once in a while.
    fn look(&self, find: impl FnOnce() -> Option<String> + Send + 'static) {
        let mut state = self.lock();
        if state.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return;
        }
        state.looked = Some(Instant::now());
        drop(state);
        let refusals = self.clone();
        let look = move || {
            if let Some(words) = find() {
                refusals.set(words);
            }
        };
        if let Err(e) = thread::Builder::new().name("kafka-probe".into()).spawn(look) {
            tracing::warn!(error = %e, "kafka cannot be looked at");
        }
    }

    fn set(&self, words: String) {
        let mut state = self.lock();
        let known = state.current.as_ref().is_some_and(|(known, at)| *known == words && at.elapsed() < LASTS);
        if !known {
            tracing::warn!("kafka at {}: {words}", self.0.settings.brokers);
        }
        state.current = Some((words, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Refusals {
    fn error(&self, error: KafkaError, reason: &str) {
        self.heard(&error, reason);
    }
}

impl ConsumerContext for Refusals {}

/// What is wrong with a certificate that librdkafka refuses without saying why; blocks.
fn judge_certificate(address: &str, ca: Option<&Path>) -> String {
    ca.and_then(|ca| tls::probe("KAFKA", address, ca, None)).unwrap_or_else(|| {
        "its certificate has expired, is for another host, or is signed by a CA that we do not trust: \
         see KAFKA_CA"
            .to_owned()
    })
}

/// Why a broker may have hung up on us without a word; blocks.
fn try_out(broker: &str, security: &KafkaSecurity) -> Option<String> {
    let protocol = security.protocol;
    if protocol.ends_with("SSL") {
        return tls::probe("KAFKA", broker, security.ca.as_deref()?, security.identity.as_ref());
    }
    let words = || format!("wants TLS, which KAFKA_SECURITY_PROTOCOL={protocol} is without");
    tls::is_spoken_by(broker).then(words)
}
