//! The metrics in Redis: positions, watermarks, and the script that changes all of it at once.

use std::collections::{BTreeMap, BTreeSet};

use redis::{AsyncCommands as _, RedisResult, Script, ScriptInvocation};
use strata_events::Origin;
use strata_pipeline::StageError;
use strata_pipeline::stage::Span;
use strata_service::redis::{Connection, MetricsKeys};

use strata_pipeline::watermark::{OriginKey, Watermarks};
use strata_streams::hotel_search::delta::Delta;

/// The metrics of one fleet.
pub struct MetricsStore {
    redis: Connection,
    keys: MetricsKeys,
    apply: Script,
    initialize: Script,
}

impl MetricsStore {
    /// Binds the store to its keys.
    pub fn new(redis: Connection, keys: MetricsKeys) -> Self {
        Self {
            redis,
            keys,
            apply: Script::new(include_str!("../../lua/apply_metrics.lua")),
            initialize: Script::new(include_str!("../../lua/initialize_metrics.lua")),
        }
    }

    /// Next offset of each partition, none where it was never read.
    pub async fn offsets(&mut self, partitions: &[i32]) -> RedisResult<Vec<Option<i64>>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        redis::cmd("HMGET").arg(self.keys.offsets()).arg(partitions).query_async(&mut self.redis).await
    }

    /// Starts partitions that were never read; false where data lie there that no offset belongs to.
    pub async fn initialize(&mut self, partitions: &[i32]) -> RedisResult<bool> {
        let mut call = self.initialize.prepare_invoke();
        for key in [self.keys.offsets(), self.keys.users(), self.keys.hotels(), self.keys.advertisers()] {
            call.key(key);
        }
        call.arg(partitions);
        call.invoke_async(&mut self.redis).await
    }

    /// Reads the watermarks of the keys that a batch touches.
    pub async fn watermarks(
        &mut self,
        keys: &BTreeSet<OriginKey>,
    ) -> RedisResult<BTreeMap<OriginKey, Option<i64>>> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let fields: Vec<String> = keys.iter().map(field).collect();
        let stored: Vec<Option<i64>> = self.redis.hmget(self.keys.watermarks(), &fields).await?;
        Ok(keys.iter().cloned().zip(stored).collect())
    }

    /// Applies a delta with its offsets and watermarks, all or nothing.
    ///
    /// **Idempotent**: a repeat finds other offsets than `span` expects.
    /// **Errors**: [`StageError::Fenced`] when offsets, or the watermarks in `seen`, are others by now.
    pub async fn apply(
        &mut self,
        span: &Span,
        seen: &BTreeMap<OriginKey, Option<i64>>,
        watermarks: &Watermarks,
        delta: &Delta,
    ) -> Result<(), StageError> {
        let mut call = self.apply.prepare_invoke();
        let keys = &self.keys;
        for key in [keys.offsets(), keys.watermarks(), keys.users(), keys.hotels(), keys.advertisers()] {
            call.key(key);
        }
        call.arg(span.len());
        for (partition, (expected, next)) in span {
            call.arg(partition).arg(expected).arg(next);
        }
        call.arg(seen.len());
        for (key, last) in seen {
            call.arg(field(key)).arg(optional(*last)).arg(optional(watermarks.moved().get(key).copied()));
        }
        for increments in [&delta.users, &delta.hotels, &delta.advertisers] {
            push_pairs(&mut call, increments);
        }
        for (hotel, prices) in &delta.offers {
            call.key(keys.offers(hotel));
            push_pairs(&mut call, prices);
        }
        let difference: Vec<i64> = call.invoke_async(&mut self.redis).await?;
        match difference[..] {
            [partition, stored, expected] => {
                let partition = i32::try_from(partition).unwrap_or(-1);
                Err(StageError::Fenced { partition, stored, expected })
            }
            _ => Ok(()),
        }
    }
}

/// The key of a record: the partition it was read from and where it began.
pub fn key_of(partition: i32, origin: &Origin) -> OriginKey {
    (partition, origin.topic.clone(), origin.partition)
}

fn field((partition, topic, origin_partition): &OriginKey) -> String {
    MetricsKeys::watermark(*partition, topic, *origin_partition)
}

fn optional(number: Option<i64>) -> String {
    number.map(|n| n.to_string()).unwrap_or_default()
}

fn push_pairs<V: redis::ToRedisArgs>(call: &mut ScriptInvocation<'_>, pairs: &BTreeMap<String, V>) {
    call.arg(pairs.len());
    for (member, value) in pairs {
        call.arg(member).arg(value);
    }
}
