//! The schema registry of a fleet: agrees to our schemas at the start, and knows those that records name.
//!
//! **Start**: each schema is registered as `<topic>-value`, or looked up and checked. A registry that refuses one ends the
//! service with its own words; one that cannot be asked is waited for, unless the fleet remembers what it said of this
//! very schema (in Redis). **Then**: what is known stays known, so a registry that is down stops nobody; only a record
//! that names a schema which nobody has met waits for it.

mod client;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use strata_events::{Schema, SchemaId};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::config::Settings;
use crate::redis::{Connection, SchemaKeys};
use crate::restart::RestartNeeded;
use crate::schemas;
use client::RegistryClient;
pub use client::RegistryError;

/// Pause between two attempts to agree.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// A schema that is refused so often is refused, and not only in the way of another instance.
const ATTEMPTS: u32 = 3;

/// Pause between those.
const AFTER_A_REFUSAL: Duration = Duration::from_millis(200);

/// Questions about schemas that are asked at once.
const ASKED_AT_ONCE: usize = 16;

/// The memory answers within this, or there is none.
const REMEMBERS_WITHIN: Duration = Duration::from_secs(1);

/// The registry of this process; by default none, which costs nothing.
#[derive(Clone, Default)]
pub struct SchemaRegistry(Option<Arc<Inner>>);

struct Inner {
    client: RegistryClient,
    register: bool,
    memory: Memory,
    /// By topic, what its records name; set when the registry has agreed.
    headers: OnceLock<BTreeMap<String, Vec<u8>>>,
    /// What keeps it from agreeing.
    waiting: Mutex<String>,
    /// Schemas that the registry has.
    known: Mutex<HashSet<SchemaId>>,
}

impl std::fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_used() { "SchemaRegistry" } else { "no SchemaRegistry" })
    }
}

impl SchemaRegistry {
    /// Has the registry agree to the schemas of all topics, or goes on trying in the background.
    ///
    /// **Errors**: it refuses one, in its own words.
    pub async fn start(
        settings: &Settings,
        redis: Connection,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let Some(own) = settings.schema_registry.clone() else { return Ok(Self::default()) };
        let memory = Memory { redis, keys: SchemaKeys::new(&settings.redis_prefix) };
        let inner = Arc::new(Inner {
            register: own.register,
            client: RegistryClient::new(own)?,
            memory,
            headers: OnceLock::new(),
            waiting: Mutex::default(),
            known: Mutex::default(),
        });
        let topics = schemas::of(&settings.topics);
        match inner.agree(&topics).await {
            Ok(()) => {}
            Err((subject, RegistryError::Refused(words))) => {
                anyhow::bail!("the schema registry refuses {subject}: {words}");
            }
            Err((_, RegistryError::Unavailable(words))) if inner.remember(&topics).await => {
                tracing::warn!("the schema registry {words}; what it said of these schemas before holds");
            }
            Err((_, RegistryError::Unavailable(words))) => {
                inner.waits_for(&words);
                tokio::spawn(Arc::clone(&inner).agree_until_done(topics, stop));
            }
        }
        Ok(Self(Some(inner)))
    }

    /// True where there is a registry.
    pub fn is_used(&self) -> bool {
        self.0.is_some()
    }

    /// What keeps this process from reading and writing; none without a registry, or when it has agreed.
    pub fn waits_for(&self) -> Option<String> {
        let inner = self.0.as_ref().filter(|inner| inner.headers.get().is_none())?;
        Some(format!("schema registry: {}", inner.waiting()))
    }

    /// What the records of a topic name as their schema.
    pub fn header(&self, topic: &str) -> Option<&[u8]> {
        Some(self.0.as_ref()?.headers.get()?.get(topic)?)
    }

    /// Those of these schemas that the registry does not have. It is asked for those that nobody has met only.
    ///
    /// **Errors**: it would have to be asked, and cannot be.
    pub async fn unknown(&self, named: BTreeSet<SchemaId>) -> Result<BTreeSet<SchemaId>, RegistryError> {
        let Some(inner) = &self.0 else { return Ok(BTreeSet::new()) };
        let met = |id: &SchemaId| inner.known().contains(id);
        let asked = named.into_iter().filter(|id| !met(id)).collect::<Vec<_>>();
        let answers = stream::iter(asked).map(|id| async move { Ok((id, inner.knows(id).await?)) });
        let answers: Vec<(SchemaId, bool)> = answers.buffer_unordered(ASKED_AT_ONCE).try_collect().await?;
        Ok(answers.into_iter().filter(|(_, is_known)| !is_known).map(|(id, _)| id).collect())
    }
}

impl Inner {
    /// Registers or checks every schema.
    ///
    /// **Errors**: with the subject.
    async fn agree(&self, topics: &schemas::Schemas) -> Result<(), (String, RegistryError)> {
        let mut ids = BTreeMap::new();
        for (topic, schema) in topics {
            let subject = format!("{topic}-value");
            let agreed =
                self.agree_to(&subject, &schema.registered()).await.map_err(|e| (subject.clone(), e))?;
            match agreed {
                Some(id) => drop(ids.insert(topic.clone(), id)),
                None => tracing::warn!(
                    "the schema registry has no {subject}, so records of {topic} name no schema; set \
                     SCHEMA_REGISTRY_REGISTER=true or register what GET /schemas/{topic} says"
                ),
            }
        }
        self.memory.keep(topics, &ids).await;
        self.agreed(ids);
        Ok(())
    }

    async fn agree_to(&self, subject: &str, schema: &str) -> Result<Option<SchemaId>, RegistryError> {
        if self.register {
            return self.register(subject, schema).await.map(Some);
        }
        match self.client.look_up(subject, schema).await? {
            Some(id) => Ok(Some(id)),
            None => self.client.check(subject, schema).await.map(|()| None),
        }
    }

    /// Registers a schema. The services of a fleet start side by side, and a registry may refuse one of two that bring the same
    /// new subject: so what is refused is looked for, and tried again.
    async fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        let mut attempts = 0;
        loop {
            let registered = self.client.register(subject, schema).await;
            if !matches!(registered, Err(RegistryError::Refused(_))) {
                return registered;
            }
            if let Some(id) = self.client.look_up(subject, schema).await? {
                return Ok(id);
            }
            attempts += 1;
            if attempts == ATTEMPTS {
                return registered;
            }
            tokio::time::sleep(AFTER_A_REFUSAL).await;
        }
    }

    /// Tries until the registry agrees; what it refuses is told meanwhile.
    async fn agree_until_done(self: Arc<Self>, topics: schemas::Schemas, stop: CancellationToken) {
        while timeout(TRY_AGAIN, stop.cancelled()).await.is_err() {
            match self.agree(&topics).await {
                Ok(()) => return,
                Err((_, RegistryError::Unavailable(words))) => self.waits_for(&words),
                Err((subject, RegistryError::Refused(words))) => {
                    tracing::error!("the schema registry refuses {subject}: {words}");
                    self.waits_for(&format!("refuses {subject}: {words}"));
                }
            }
        }
    }

    /// Takes what the registry said of these very schemas before; false where it is not known of all.
    async fn remember(&self, topics: &schemas::Schemas) -> bool {
        let ids = self.memory.ids(topics).await;
        let is_whole = ids.len() == topics.len();
        if is_whole {
            self.agreed(ids);
        }
        is_whole
    }

    fn agreed(&self, ids: BTreeMap<String, SchemaId>) {
        self.known().extend(ids.values().copied());
        let headers = ids.into_iter().map(|(topic, id)| (topic, id.to_header())).collect();
        // Whoever agrees twice, agrees to the same.
        drop(self.headers.set(headers));
    }

    async fn knows(&self, id: SchemaId) -> Result<bool, RegistryError> {
        match self.client.knows(id).await {
            Ok(is_known) => {
                if is_known {
                    self.known().insert(id);
                    self.memory.meet(id).await;
                }
                Ok(is_known)
            }
            Err(_) if self.memory.has_met(id).await => {
                self.known().insert(id);
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    fn waits_for(&self, words: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if *waiting != words {
            tracing::warn!("waiting for the schema registry: {words}");
            words.clone_into(&mut waiting);
        }
    }

    fn waiting(&self) -> String {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn known(&self) -> MutexGuard<'_, HashSet<SchemaId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the fleet remembers of the registry, in Redis, so that a restart does not need it. None of it has to be there.
struct Memory {
    redis: Connection,
    keys: SchemaKeys,
}

impl Memory {
    /// Keeps which schema has which id.
    async fn keep(&self, topics: &schemas::Schemas, ids: &BTreeMap<String, SchemaId>) {
        let remembered = ids.iter().filter_map(|(topic, id)| {
            Some((topic.clone(), format!("{} {}", fingerprint(topics.get(topic)?), hex(*id))))
        });
        let remembered: Vec<(String, String)> = remembered.collect();
        if !remembered.is_empty() {
            self.tell(redis::cmd("HSET").arg(self.keys.ids()).arg(remembered)).await;
        }
    }

    /// The ids of those schemas that are the same still.
    async fn ids(&self, topics: &schemas::Schemas) -> BTreeMap<String, SchemaId> {
        let kept = self.ask::<BTreeMap<String, String>>(redis::cmd("HGETALL").arg(self.keys.ids())).await;
        let Some(kept) = kept else { return BTreeMap::new() };
        let id = |(topic, schema): (&String, &Schema)| {
            let (of, id) = kept.get(topic)?.split_once(' ')?;
            let id = (of == fingerprint(schema)).then(|| unhex(id))??;
            Some((topic.clone(), id))
        };
        topics.iter().filter_map(id).collect()
    }

    /// Keeps that a schema is known.
    async fn meet(&self, id: SchemaId) {
        self.tell(redis::cmd("SADD").arg(self.keys.met()).arg(hex(id))).await;
    }

    /// Whether an instance of the fleet has met a schema.
    async fn has_met(&self, id: SchemaId) -> bool {
        self.ask(redis::cmd("SISMEMBER").arg(self.keys.met()).arg(hex(id))).await.unwrap_or(false)
    }

    async fn tell(&self, command: &redis::Cmd) {
        if self.ask::<()>(command).await.is_none() {
            tracing::debug!("redis does not remember a schema; the registry will be asked again");
        }
    }

    /// What Redis answers; none where it does not.
    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Option<T> {
        let mut redis = self.redis.clone();
        timeout(REMEMBERS_WITHIN, command.query_async(&mut redis)).await.ok()?.ok()
    }
}

/// What tells a schema from another version of it.
fn fingerprint(schema: &Schema) -> String {
    uuid::Uuid::new_v3(&uuid::Uuid::NAMESPACE_X500, schema.registered().as_bytes()).to_string()
}

/// An id as text.
fn hex(id: SchemaId) -> String {
    id.to_header().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An id from its text.
fn unhex(text: &str) -> Option<SchemaId> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let header = (0..text.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
    Some(SchemaId::from_header(&header)).filter(|id| *id != SchemaId::Unreadable)
}

impl Client for SchemaRegistry {
    fn server(&self) -> &'static str {
        "schema_registry"
    }

    /// Whether it has agreed; that it is down afterwards stops nobody.
    fn ask(&self, _within: Duration) -> Result<(), String> {
        self.0
            .as_ref()
            .filter(|inner| inner.headers.get().is_none())
            .map_or(Ok(()), |inner| Err(inner.waiting()))
    }

    fn expose(&self, _text: &mut String) {}

    fn failed(&self) -> BoxFuture<'static, RestartNeeded> {
        Box::pin(pending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_the_memory() {
        for id in [SchemaId::Id(0), SchemaId::Id(u32::MAX), SchemaId::Guid(uuid::Uuid::from_u128(7))] {
            assert_eq!(unhex(&hex(id)), Some(id));
        }
        for text in ["", "0", "00000000", "zz00000001", "äää"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
