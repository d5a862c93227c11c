//! Redis: one multiplexed connection that heals by itself, and where the reference data lie in it.

use std::time::Duration;

use redis::Client;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use crate::config::Secret;

/// Prepares a connection without opening it, so that a service starts while Redis is down.
///
/// Call within the tokio runtime.
pub fn connect(url: &Secret) -> redis::RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_millis(500))
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(2)));
    ConnectionManager::new_lazy_with_config(Client::open(url.expose())?, config)
}

/// What Redis refuses us, as a predicate of it; none where waiting may help.
pub fn refusal(error: &redis::RedisError) -> Option<String> {
    let words = match error.code()? {
        "NOAUTH" | "WRONGPASS" => "refuses our user or password: see REDIS_USERNAME and REDIS_PASSWORD",
        "NOPERM" => "does not let our user do this: see its ACL and REDIS_PREFIX",
        "READONLY" => "takes no writes, as a replica does: see REDIS_HOST",
        "OOM" => "is full: raise its maxmemory, or free some; nothing may be evicted",
        "MISCONF" => "cannot write its data to its disk: see its log, and free some space",
        "LOADING" => "is loading its data, and goes on by itself",
        _ => return None,
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

    /// Hash: partition of the topic → next offset to read.
    pub fn offsets(&self) -> String {
        format!("{}offsets", self.base)
    }

    /// Hash: [`Self::lane`] → last applied origin offset.
    pub fn watermarks(&self) -> String {
        format!("{}watermarks", self.base)
    }

    /// Sorted set: user → how often seen.
    pub fn users(&self) -> String {
        format!("{}users", self.base)
    }

    /// Sorted set: hotel → how often seen; lists the hotels that [`Self::offers`] may exist for.
    pub fn hotels(&self) -> String {
        format!("{}hotels", self.base)
    }

    /// Sorted set: advertiser → how often seen.
    pub fn advertisers(&self) -> String {
        format!("{}advertisers", self.base)
    }

    /// Hash of a hotel: advertiser → lowest winning price, euro cents.
    pub fn offers(&self, hotel: &str) -> String {
        format!("{}{hotel}", self.offers_prefix())
    }

    /// What the key of a hotel's offers begins with.
    pub fn offers_prefix(&self) -> String {
        format!("{}offers:", self.base)
    }

    /// Field of [`Self::watermarks`]: partition read, topic and partition of the origin.
    pub fn lane(partition: i32, origin_topic: &str, origin_partition: i32) -> String {
        format!("{partition}/{origin_topic}/{origin_partition}")
    }
}
