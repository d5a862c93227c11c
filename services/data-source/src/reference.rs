//! Users and restaurants in Redis, and the sequences of ids.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use redis::{AsyncCommands, RedisResult};
use serde::Serialize;
use strata_events::{Contract, Restaurant, User};
use strata_service::redis::{Connection, ReferenceKeys};
use strata_streams::order::catalog;
use strata_streams::source::Snapshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Users that unseeded events choose from: a random part where there are more.
const MAX_USERS: usize = 10_000;

/// Restaurants that unseeded events choose from.
const MAX_RESTAURANTS: usize = 1000;

/// Restaurants read with one command.
const READ_BATCH: usize = 100;

/// Moves a sequence by a block and returns the first id. Microseconds fit a Lua number exactly.
const TAKE_IDS: &str = "
local taken = KEYS[2] and redis.call('GET', KEYS[2])
if taken then return tonumber(taken) end
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local before = math.max(last, tonumber(ARGV[1]))
redis.call('SET', KEYS[1], string.format('%.0f', before + tonumber(ARGV[2])))
if KEYS[2] then redis.call('SET', KEYS[2], string.format('%.0f', before + 1), 'EX', ARGV[3]) end
return before + 1";

/// A push may be repeated for so long, in seconds.
const REPEATABLE_SECS: u32 = 24 * 60 * 60;

/// Longest pause between two attempts to fill an empty Redis.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A kind of reference data.
pub trait Referenced: for<'a> Contract<'a> + Serialize + Send + Sync {
    /// Business key.
    fn id(&self) -> &str;
    /// Key of its value.
    fn key(&self, keys: &ReferenceKeys) -> String;
    /// Set of all ids.
    fn index(keys: &ReferenceKeys) -> String;
}

impl Referenced for User {
    fn id(&self) -> &str {
        &self.id
    }
    fn key(&self, keys: &ReferenceKeys) -> String {
        keys.user(&self.id)
    }
    fn index(keys: &ReferenceKeys) -> String {
        keys.users_index()
    }
}

impl Referenced for Restaurant {
    fn id(&self) -> &str {
        &self.id
    }
    fn key(&self, keys: &ReferenceKeys) -> String {
        keys.restaurant(&self.id)
    }
    fn index(keys: &ReferenceKeys) -> String {
        keys.restaurants_index()
    }
}

/// Redis as this service uses it.
#[derive(Clone)]
pub struct ReferenceStore {
    redis: Connection,
    keys: ReferenceKeys,
}

impl ReferenceStore {
    /// A store below the given prefix.
    pub fn new(redis: Connection, prefix: &str) -> Self {
        Self { redis, keys: ReferenceKeys { prefix: prefix.to_owned() } }
    }

    /// Reads what events are generated from; none while users or restaurants are missing.
    ///
    /// `complete` reads all of it, for events that must be the same again.
    pub async fn snapshot(&self, complete: bool) -> RedisResult<Option<Arc<Snapshot>>> {
        let mut redis = self.redis.clone();
        let users = self.ids(self.keys.users_index(), (!complete).then_some(MAX_USERS)).await?;
        let ids = self.ids(self.keys.restaurants_index(), (!complete).then_some(MAX_RESTAURANTS)).await?;
        let mut restaurants = Vec::with_capacity(ids.len());
        for batch in ids.chunks(READ_BATCH) {
            let keys: Vec<String> = batch.iter().map(|id| self.keys.restaurant(id)).collect();
            let values: Vec<Option<Vec<u8>>> = redis.mget(keys).await?;
            // Somebody else's value under our key is no reason to stop.
            restaurants
                .extend(values.into_iter().flatten().filter_map(|json| Restaurant::decode(&json).ok()));
        }
        restaurants.retain(|restaurant| !restaurant.menu.is_empty());
        if users.is_empty() || restaurants.is_empty() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Snapshot { users, restaurants })))
    }

    /// The ids of an index, sorted, so that a seed means the same events.
    async fn ids(&self, index: String, at_most: Option<usize>) -> RedisResult<Vec<String>> {
        let mut redis = self.redis.clone();
        let mut ids: Vec<String> = match at_most {
            Some(count) => redis.srandmember_multiple(index, count as isize).await?,
            None => redis.smembers(index).await?,
        };
        ids.sort_unstable();
        Ok(ids)
    }

    /// Takes a block of ids that nobody else gets; returns the first one.
    ///
    /// A block starts behind the last one and never before the present microsecond: ids do not come
    /// again either when Redis was emptied, or lost its last second in a crash.
    ///
    /// **Idempotent** for the same `push` within a day: it gets its block again.
    pub async fn take_ids(&self, stream: &str, count: u32, push: Option<Uuid>) -> RedisResult<i64> {
        let prefix = &self.keys.prefix;
        let mut redis = self.redis.clone();
        let script = redis::Script::new(TAKE_IDS);
        let mut call = script.key(format!("{prefix}seq:{stream}"));
        if let Some(push) = push {
            call.key(format!("{prefix}push:{stream}:{count}:{push}"));
        }
        call.arg(Utc::now().timestamp_micros()).arg(count).arg(REPEATABLE_SECS);
        call.invoke_async(&mut redis).await
    }

    /// Writes a batch, its index and a new version in one transaction.
    pub async fn upsert<R: Referenced>(&self, batch: &[(R, String)]) -> RedisResult<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        pipe.atomic();
        self.add(&mut pipe, batch);
        self.commit(pipe).await
    }

    /// Adds values and index entries to a transaction.
    fn add<R: Referenced>(&self, pipe: &mut redis::Pipeline, batch: &[(R, String)]) {
        for (item, json) in batch {
            pipe.set(item.key(&self.keys), json).ignore();
        }
        let ids: Vec<&str> = batch.iter().map(|(item, _)| item.id()).collect();
        pipe.sadd(R::index(&self.keys), ids).ignore();
    }

    /// Runs the writes; the version grows with them or not at all.
    ///
    /// The version is a time: counted up by one, it would come again for other data when Redis lost its
    /// last second, and caches would keep what is not there any more.
    async fn commit(&self, mut pipe: redis::Pipeline) -> RedisResult<()> {
        let mut redis = self.redis.clone();
        pipe.set(self.keys.version(), Utc::now().timestamp_micros()).ignore();
        pipe.exec_async(&mut redis).await
    }

    /// Invents what is missing, trying until Redis answers.
    ///
    /// **Idempotent**: the invented data are always the same, so two instances write the same keys.
    pub async fn fill_until_done(self, stop: CancellationToken) {
        let mut pause = Duration::from_millis(250);
        loop {
            match self.fill().await {
                Ok(0) => return tracing::debug!("reference data are there"),
                Ok(written) => {
                    return tracing::info!(written, "an empty Redis was filled with invented reference data");
                }
                Err(e) => tracing::warn!(error = %e, "reference data cannot be checked; trying again"),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
            }
        }
    }

    /// Writes invented users where there are none, and restaurants likewise; returns how many.
    async fn fill(&self) -> anyhow::Result<usize> {
        let mut redis = self.redis.clone();
        let no_users = redis.scard::<_, u64>(self.keys.users_index()).await? == 0;
        let no_restaurants = redis.scard::<_, u64>(self.keys.restaurants_index()).await? == 0;
        let users = if no_users { with_json(catalog::users())? } else { Vec::new() };
        let restaurants = if no_restaurants { with_json(catalog::restaurants())? } else { Vec::new() };
        let mut pipe = redis::pipe();
        pipe.atomic();
        if no_users {
            self.add(&mut pipe, &users);
        }
        if no_restaurants {
            self.add(&mut pipe, &restaurants);
        }
        if no_users || no_restaurants {
            self.commit(pipe).await?;
        }
        Ok(users.len() + restaurants.len())
    }
}

/// Pairs each item with its JSON.
fn with_json<R: Referenced>(items: Vec<R>) -> serde_json::Result<Vec<(R, String)>> {
    items.into_iter().map(|item| serde_json::to_string(&item).map(|json| (item, json))).collect()
}
