//! Who sends events into the fleet: each instance of data-source says so in Redis once a second, and whoever shows the
//! fleet reads it there. What says nothing any more is gone by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{AsyncCommands as _, RedisResult};
use serde::{Deserialize, Serialize};

use crate::redis::Connection;

/// Time between two times that an instance speaks up.
pub const BEAT: Duration = Duration::from_secs(1);

/// An instance that says nothing for so long does not run: a few beats may be late.
const LASTS_MS: u64 = 5_000;

/// What one instance sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Producer {
    /// The instance; see [`crate::Settings::instance`].
    pub instance: String,
    /// What it sends, by stream.
    pub streams: BTreeMap<String, Sent>,
}

/// Records of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Since the instance was started.
    pub records: u64,
    /// In the last seconds.
    pub per_second: f64,
}

/// Where the instances lie in Redis.
struct Keys(String);

impl Keys {
    fn new(prefix: &str) -> Self {
        Self(format!("{prefix}{{producers}}:"))
    }

    /// Set of the names of all instances, of some too that are gone.
    fn index(&self) -> String {
        format!("{}index", self.0)
    }

    /// What an instance sends, as JSON; gone soon after it.
    fn instance(&self, name: &str) -> String {
        format!("{}at:{name}", self.0)
    }
}

/// Says what an instance sends.
pub async fn announce(redis: &mut Connection, prefix: &str, producer: &Producer) -> RedisResult<()> {
    let (keys, name) = (Keys::new(prefix), &producer.instance);
    let said = serde_json::to_string(producer).unwrap_or_default();
    let mut beat = redis::pipe();
    beat.sadd(keys.index(), name).ignore().pset_ex(keys.instance(name), said, LASTS_MS).ignore();
    beat.query_async(redis).await
}

/// The instances that send, by name; those that are gone are left out.
pub async fn read(redis: &mut Connection, prefix: &str) -> RedisResult<Vec<Producer>> {
    let known = known(redis, &Keys::new(prefix)).await?;
    let said = known.into_iter().filter_map(|(_, said)| serde_json::from_str(&said?).ok());
    let mut producers: Vec<Producer> = said.collect();
    producers.sort_by(|a, b| a.instance.cmp(&b.instance));
    Ok(producers)
}

/// Forgets the names of those that are gone.
pub async fn forget_gone(redis: &mut Connection, prefix: &str) -> RedisResult<()> {
    let keys = Keys::new(prefix);
    let gone = known(redis, &keys).await?.into_iter().filter(|(_, said)| said.is_none());
    let gone: Vec<String> = gone.map(|(name, _)| name).collect();
    if gone.is_empty() { Ok(()) } else { redis.srem(keys.index(), gone).await }
}

/// All names with what each says.
async fn known(redis: &mut Connection, keys: &Keys) -> RedisResult<Vec<(String, Option<String>)>> {
    let names: Vec<String> = redis.smembers(keys.index()).await?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let said: Vec<Option<String>> =
        redis.mget(names.iter().map(|name| keys.instance(name)).collect::<Vec<_>>()).await?;
    Ok(names.into_iter().zip(said).collect())
}
