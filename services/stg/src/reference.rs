//! Users and restaurants from Redis, a batch at a time, remembered until they change.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use redis::AsyncCommands as _;
use strata_events::{Contract, Reference, Restaurant, User};
use strata_pipeline::StageError;
use strata_pipeline::parked::References;
use strata_service::redis::{Connection, ReferenceKeys, look_up};
use strata_streams::reference::{Menu, ReferenceData};

/// Users remembered at most.
const USERS: NonZeroUsize = NonZeroUsize::new(20_000).unwrap();
/// Restaurants remembered at most, each with its menu.
const RESTAURANTS: NonZeroUsize = NonZeroUsize::new(2_000).unwrap();

/// Looks reference data up and remembers it while its version stands.
///
/// What is missing is asked for again every time: it may arrive at any moment.
pub struct ReferenceCache {
    redis: Connection,
    keys: ReferenceKeys,
    version: Option<i64>,
    users: LruCache<String, Arc<User>>,
    restaurants: LruCache<String, Arc<Menu>>,
}

impl ReferenceCache {
    /// Starts empty.
    pub fn new(redis: Connection, keys: ReferenceKeys) -> Self {
        Self {
            redis,
            keys,
            version: None,
            users: LruCache::new(USERS),
            restaurants: LruCache::new(RESTAURANTS),
        }
    }

    fn forget(&mut self) {
        self.users.clear();
        self.restaurants.clear();
    }

    /// Reads restaurants again: somebody may have changed them and left the version as it was.
    pub async fn read_again(
        &mut self,
        reference: &mut ReferenceData,
        restaurant_ids: &BTreeSet<&str>,
    ) -> Result<(), StageError> {
        for id in restaurant_ids {
            self.restaurants.pop(*id);
        }
        let fresh = self.fetch(std::iter::empty(), restaurant_ids.iter().copied()).await?;
        reference.restaurants.extend(fresh.restaurants);
        Ok(())
    }

    /// Looks up all of `user_ids` and `restaurant_ids`: one round trip when nothing changed, few otherwise.
    ///
    /// **Errors**: `Transient` when Redis does not answer; a missing entry is no error.
    pub async fn fetch<'a>(
        &mut self,
        user_ids: impl Iterator<Item = &'a str>,
        restaurant_ids: impl Iterator<Item = &'a str>,
    ) -> Result<ReferenceData, StageError> {
        // The version is read first: a value read after it may be newer, never older.
        let version: Option<i64> = self.redis.get(self.keys.version()).await?;
        if version != self.version {
            self.forget();
            self.version = version;
        }
        let keys = self.keys.clone();
        Ok(ReferenceData {
            users: fetch_kind(&mut self.redis, &mut self.users, user_ids, |id| keys.user(id), |u: User| u)
                .await?,
            restaurants: fetch_kind(
                &mut self.redis,
                &mut self.restaurants,
                restaurant_ids,
                |id| keys.restaurant(id),
                |restaurant: Restaurant| Menu::from(restaurant),
            )
            .await?,
        })
    }
}

impl References for ReferenceCache {
    async fn present(&mut self, wanted: &HashSet<Reference>) -> Result<HashSet<Reference>, StageError> {
        self.forget();
        let users = wanted.iter().filter_map(|one| match one {
            Reference::User(id) => Some(id.as_str()),
            Reference::Restaurant(_) | Reference::Product { .. } => None,
        });
        let restaurants = wanted.iter().filter_map(|one| match one {
            Reference::Restaurant(id) | Reference::Product { restaurant: id, .. } => Some(id.as_str()),
            Reference::User(_) => None,
        });
        let data = self.fetch(users, restaurants).await?;
        Ok(wanted.iter().filter(|one| data.holds(one)).cloned().collect())
    }
}

/// Serves ids from the cache and asks Redis once for the rest.
async fn fetch_kind<'a, S: for<'b> Contract<'b>, T>(
    redis: &mut Connection,
    cache: &mut LruCache<String, Arc<T>>,
    ids: impl Iterator<Item = &'a str>,
    key: impl Fn(&str) -> String,
    convert: impl Fn(S) -> T,
) -> Result<HashMap<String, Arc<T>>, StageError> {
    let mut found: HashMap<String, Arc<T>> = HashMap::new();
    let mut missing: Vec<&str> = Vec::new();
    for id in ids {
        if found.contains_key(id) {
            continue;
        }
        match cache.get(id) {
            Some(value) => drop(found.insert(id.to_owned(), Arc::clone(value))),
            None => missing.push(id),
        }
    }
    missing.sort_unstable();
    missing.dedup();
    for (id, source) in look_up(redis, &missing, key).await? {
        let value = Arc::new(convert(source));
        cache.put(id.to_owned(), Arc::clone(&value));
        found.insert(id.to_owned(), value);
    }
    Ok(found)
}
