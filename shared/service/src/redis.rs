//! Redis: one multiplexed connection that heals by itself, and where the reference data lie in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncCommands as _, AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, Pipeline, RedisError,
    RedisFuture, RedisResult, Value,
};
use strata_events::Contract;
use tokio::sync::Mutex;

use crate::config::{RedisSettings, host_and_port};
use crate::status::UNREACHABLE;
use crate::tls;

/// Whoever waited for an attempt to connect takes its failure for his own for this long.
const FAILURE_LASTS: Duration = Duration::from_millis(100);

/// Keys of reference data that are asked for in one command.
const KEYS_PER_COMMAND: usize = 500;

/// A connection that is opened when it is first used, shared by its clones, and replaced when it is broken.
///
/// The crate's own connection manager keeps an attempt that Redis refused, such as one with an old password,
/// for good.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    config: AsyncConnectionConfig,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Open(MultiplexedConnection, Arc<()>),
    Failed(RedisError, Instant),
}

impl Connection {
    /// The open connection and its mark, by which it is known again.
    async fn open(&self) -> RedisResult<(MultiplexedConnection, Arc<()>)> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Open(connection, mark) => return Ok((connection.clone(), Arc::clone(mark))),
            State::Failed(error, since) if since.elapsed() < FAILURE_LASTS => return Err(error.clone()),
            State::Closed | State::Failed(..) => {}
        }
        match self.client.get_multiplexed_async_connection_with_config(&self.config).await {
            Ok(connection) => {
                let mark = Arc::new(());
                *state = State::Open(connection.clone(), Arc::clone(&mark));
                Ok((connection, mark))
            }
            Err(error) => {
                *state = State::Failed(error.clone(), Instant::now());
                Err(error)
            }
        }
    }

    /// Lets go of a connection that an error has shown to be of no use.
    async fn judge<T>(&self, result: &RedisResult<T>, mark: &Arc<()>) {
        let Err(error) = result else { return };
        if !error.is_unrecoverable_error() && error.code() != Some("NOAUTH") {
            return;
        }
        let mut state = self.state.lock().await;
        if matches!(&*state, State::Open(_, open) if Arc::ptr_eq(open, mark)) {
            *state = State::Closed;
        }
    }
}

impl Connection {
    /// Asks for an answer to an empty question; the error says what keeps us from it.
    pub async fn ask(&self) -> Result<(), String> {
        let Err(error) = redis::cmd("PING").query_async::<()>(&mut self.clone()).await else { return Ok(()) };
        tracing::debug!(error = %error, "redis is not well");
        if let Some(words) = refusal(&error) {
            return Err(words);
        }
        if let ConnectionAddr::Tcp(host, port) = self.client.get_connection_info().addr() {
            let address = host_and_port(host, *port);
            let asked = tokio::task::spawn_blocking(move || tls::is_spoken_by(&address)).await;
            if asked.is_ok_and(|spoken| spoken) {
                return Err("wants TLS: see REDIS_TLS".to_owned());
            }
        }
        Err(UNREACHABLE.to_owned())
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let (mut connection, mark) = self.open().await?;
            let result = connection.send_packed_command(command).await;
            self.judge(&result, &mark).await;
            result
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let (mut connection, mark) = self.open().await?;
            let result = connection.send_packed_commands(commands, offset, count).await;
            self.judge(&result, &mark).await;
            result
        })
    }

    fn get_db(&self) -> i64 {
        self.client.get_connection_info().redis_settings().db()
    }
}

/// Prepares a connection without opening it, so that a service starts while Redis is down.
pub fn connect(settings: &RedisSettings) -> Connection {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(2)));
    Connection { client: settings.client(), config, state: Arc::default() }
}

/// What Redis refuses us, as a predicate of it; none where waiting may help.
pub fn refusal(error: &RedisError) -> Option<String> {
    let words = match error.code() {
        Some("WRONGPASS" | "NOAUTH") => "refuses our user or password: see REDIS_USERNAME and REDIS_PASSWORD",
        _ if error.kind() == ErrorKind::AuthenticationFailed => {
            "refuses our user or password: see REDIS_USERNAME and REDIS_PASSWORD"
        }
        Some("NOPERM") => "does not let our user do this: see its ACL and REDIS_PREFIX",
        Some("READONLY") => "takes no writes, as a replica does: see REDIS_HOST",
        Some("OOM") => "is full: raise its maxmemory, or free some; nothing may be evicted",
        Some("MISCONF") => "cannot write its data to its disk: see its log, and free some space",
        Some("LOADING") => "is loading its data, and goes on by itself",
        _ => return tls::explain("REDIS", error),
    };
    Some(words.to_owned())
}

/// The keys of users and restaurants, shared by data-source, which writes them, and stg, which reads.
///
/// A value is the JSON of [`strata_events::User`] or [`strata_events::Restaurant`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceKeys {
    /// Put before every key, as [`crate::Settings::redis_prefix`] says.
    pub prefix: String,
}

impl ReferenceKeys {
    /// Key of one user.
    pub fn user(&self, id: &str) -> String {
        format!("{}ref:user:{id}", self.prefix)
    }

    /// Key of one restaurant with its menu.
    pub fn restaurant(&self, id: &str) -> String {
        format!("{}ref:restaurant:{id}", self.prefix)
    }

    /// Set of the ids of all users.
    pub fn users_index(&self) -> String {
        format!("{}ref:users", self.prefix)
    }

    /// Set of the ids of all restaurants.
    pub fn restaurants_index(&self) -> String {
        format!("{}ref:restaurants", self.prefix)
    }

    /// Number that grows with every change, in the transaction that makes it: a cache is stale when it differs.
    pub fn version(&self) -> String {
        format!("{}ref:version", self.prefix)
    }
}

/// Looks reference data up by id: (id, value) of each that is there, in the order of the ids.
///
/// Each id is asked for once, many in a command. What is not readable counts as missing, and is logged.
pub async fn look_up<'i, S: for<'b> Contract<'b>>(
    redis: &mut Connection,
    ids: &[&'i str],
    key: impl Fn(&str) -> String,
) -> Result<Vec<(&'i str, S)>, RedisError> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_PER_COMMAND) {
        let keys: Vec<String> = chunk.iter().map(|id| key(id)).collect();
        let values: Vec<Option<Vec<u8>>> = redis.mget(keys).await?;
        for (&id, value) in chunk.iter().zip(values) {
            let Some(bytes) = value else { continue };
            match S::decode(&bytes) {
                Ok(value) => found.push((id, value)),
                Err(reject) => tracing::warn!(id, reason = reject.code, "reference data is not readable"),
            }
        }
    }
    Ok(found)
}

/// Names of what the fleet remembers of its schema registry.
#[derive(Debug, Clone)]
pub struct SchemaKeys {
    base: String,
}

impl SchemaKeys {
    /// The keys below a prefix.
    pub fn new(prefix: &str) -> Self {
        Self { base: format!("{prefix}schemas:") }
    }

    /// Hash: topic → fingerprint of its schema, and the id that the registry gave that.
    pub fn ids(&self) -> String {
        format!("{}ids", self.base)
    }

    /// Set: ids of schemas of others that records have named.
    pub fn met(&self) -> String {
        format!("{}met", self.base)
    }
}

/// Names of the hotel metrics: written by cdm, rebuilt by the operator's tool.
///
/// All carry one hash tag, so that one script can change them together on any Redis.
#[derive(Debug, Clone)]
pub struct MetricsKeys {
    base: String,
}

impl MetricsKeys {
    /// The keys in force, below a prefix.
    pub fn new(prefix: &str) -> Self {
        Self { base: format!("{prefix}{{metrics}}:") }
    }

    /// The keys that a rebuild fills before it puts them in place.
    pub fn rebuilt(&self) -> Self {
        Self { base: format!("{}new:", self.base) }
    }

    /// A key by its name.
    pub fn named(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// Hash: partition of the topic → next offset to read.
    pub fn offsets(&self) -> String {
        self.named("offsets")
    }

    /// Hash: [`Self::watermark`] → last applied origin offset.
    pub fn watermarks(&self) -> String {
        self.named("watermarks")
    }

    /// Sorted set: user → how often seen.
    pub fn users(&self) -> String {
        self.named("users")
    }

    /// Sorted set: hotel → how often seen; lists the hotels that [`Self::offers`] may exist for.
    pub fn hotels(&self) -> String {
        self.named("hotels")
    }

    /// Sorted set: advertiser → how often seen.
    pub fn advertisers(&self) -> String {
        self.named("advertisers")
    }

    /// Hash of a hotel: advertiser → lowest winning price, euro cents.
    pub fn offers(&self, hotel: &str) -> String {
        format!("{}{hotel}", self.offers_prefix())
    }

    /// What the key of a hotel's offers begins with.
    pub fn offers_prefix(&self) -> String {
        self.named("offers:")
    }

    /// Field of [`Self::watermarks`]: partition read, topic and partition of the origin.
    pub fn watermark(partition: i32, origin_topic: &str, origin_partition: i32) -> String {
        format!("{partition}/{origin_topic}/{origin_partition}")
    }
}
