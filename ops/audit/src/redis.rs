//! The metrics in Redis, read while cdm goes on counting, each value at a position that is known.
//!
//! All values are read between two positions. Whatever was not touched by a message between them is as it
//! was at the second. The rest, which is little, is read once more together with a third position in one
//! transaction of Redis. The messages up to that are in Kafka, so it is known for each value which searches
//! it counts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::Context as _;
use redis::Connection;
use serde::{Deserialize, Serialize};
use strata_events::StageId;
use strata_observe::read_ranges;
use strata_pipeline::watermark::OriginKey;
use strata_service::Settings;
use strata_service::redis::MetricsKeys;
use strata_streams::vault::USER;
use strata_streams::{Metrics, STREAMS};
use strata_vault::hub_key;
use tokio::runtime::Handle;

use super::ordered::Sorter;

/// Where a stage stands in a topic: partition → next offset.
pub type Offsets = BTreeMap<i32, i64>;

/// Longest wait for Redis.
const REDIS_TIMEOUT: Duration = Duration::from_secs(60);

/// Names of one request.
const CHUNK: usize = 1000;

/// A rebuild may put other metrics in place meanwhile, but not again and again.
const ATTEMPTS: usize = 3;

/// How far the metrics have counted.
#[derive(Debug, Clone, Default)]
pub struct Position {
    /// Next offset by partition of their topic.
    pub offsets: Offsets,
    /// Last origins applied.
    pub watermarks: BTreeMap<OriginKey, i64>,
}

/// Member → times; no whole number where somebody wrote none.
pub type Counts = HashMap<String, f64>;

/// A user as the metrics hold them: there are too many for the memory, so they are sorted like a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// The user's id.
    pub name: String,
    /// Bits of the number of their events, which need not be a whole one; none where they are not there.
    times: Option<u64>,
    /// True of what was read later.
    is_touched: bool,
}

impl Member {
    fn new(name: &str, times: Option<f64>, is_touched: bool) -> Self {
        Self { name: name.to_owned(), times: times.map(f64::to_bits), is_touched }
    }

    /// How many events are theirs.
    pub fn times(&self) -> Option<f64> {
        self.times.map(f64::from_bits)
    }

    /// The one of a user's rows that counts: what was read later, else any, since then all are the same.
    pub fn or(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.is_touched => other,
            _ => self,
        }
    }

    fn put(&self, users: &mut Sorter) -> anyhow::Result<()> {
        users.put(hub_key(&self.name), self)
    }
}

/// Everything the metrics hold but of users, and where it was read.
#[derive(Debug, Default)]
pub struct RedisMetrics {
    topic: String,
    /// Where all but the touched values were read.
    pub position: Position,
    /// Where the touched ones were read.
    pub later: Option<Position>,
    /// The touched ones, by frequency: names that messages brought while the rest was read.
    pub touched: Vec<HashSet<String>>,
    /// How often each was named, by frequency.
    pub counts: Vec<Counts>,
    /// Owner → other → lowest value; -1 where there is no number.
    pub lowest: HashMap<String, HashMap<String, i64>>,
}

impl RedisMetrics {
    /// Reads the metrics of the stream that has some; those of users go to a sorter, as [`Member`].
    pub fn read(settings: &Settings, runtime: &Handle) -> anyhow::Result<(Self, Sorter)> {
        let found = STREAMS.iter().find_map(|stream| Some((stream.spec, stream.metrics()?)));
        let Some((spec, metrics)) = found else {
            return Ok((Self::default(), Sorter::open(runtime, &settings.postgres)));
        };
        let topic = settings.topics.name(spec.topic(StageId::Cdm));
        let mut store = Store::connect(settings, metrics)?;
        for _ in 0..ATTEMPTS {
            let before = store.position()?;
            let mut users = Sorter::open(runtime, &settings.postgres);
            let mut found = store.all(&mut users)?;
            found.position = store.position()?;
            topic.clone_into(&mut found.topic);
            let Some(ranges) = passed(&before.offsets, &found.position.offsets) else { continue };
            read_ranges(&settings.kafka, topic, &ranges, |record| {
                let names = (metrics.names)(&record.payload).unwrap_or_default();
                found.touched.iter_mut().zip(names).for_each(|(touched, names)| touched.extend(names));
                Ok(())
            })?;
            if found.touched.iter().any(|touched| !touched.is_empty()) {
                found.later = Some(store.again(&mut found, &mut users)?);
            }
            return Ok((found, users));
        }
        anyhow::bail!("the metrics in Redis are replaced again and again; try later")
    }

    /// True of the topic whose offsets lie beside the metrics.
    pub fn holds(&self, topic: &str) -> bool {
        self.topic == topic
    }

    /// The topic whose offsets lie beside the metrics.
    pub fn topic(&self) -> &str {
        &self.topic
    }
}

/// What was read from one position to the next; none where it does not lie before it.
fn passed(before: &Offsets, after: &Offsets) -> Option<BTreeMap<i32, (i64, i64)>> {
    let same = before.keys().eq(after.keys());
    let ranges: BTreeMap<i32, (i64, i64)> =
        before.iter().zip(after.values()).map(|((&p, &from), &to)| (p, (from, to))).collect();
    (same && ranges.values().all(|(from, to)| from <= to)).then_some(ranges)
}

/// Redis as the metrics lie in it.
struct Store {
    redis: Connection,
    keys: MetricsKeys,
    metrics: &'static Metrics,
}

impl Store {
    fn connect(settings: &Settings, metrics: &'static Metrics) -> anyhow::Result<Self> {
        let client = settings.redis.client();
        let redis = client
            .get_connection_with_timeout(Duration::from_secs(3))
            .context("Redis does not answer; is the fleet up? (make up)")?;
        redis.set_read_timeout(Some(REDIS_TIMEOUT))?;
        Ok(Self { redis, keys: MetricsKeys::new(&settings.redis_prefix), metrics })
    }

    fn position(&mut self) -> anyhow::Result<Position> {
        let (offsets, watermarks) = redis::pipe()
            .atomic()
            .hgetall(self.keys.offsets())
            .hgetall(self.keys.watermarks())
            .query(&mut self.redis)?;
        to_position(offsets, watermarks)
    }

    fn all(&mut self, users: &mut Sorter) -> anyhow::Result<RedisMetrics> {
        let Metrics { frequencies, lowest, .. } = self.metrics;
        let mut found = RedisMetrics {
            touched: vec![HashSet::new(); frequencies.len()],
            counts: vec![Counts::new(); frequencies.len()],
            ..RedisMetrics::default()
        };
        for (frequency, counts) in frequencies.iter().zip(&mut found.counts) {
            self.scan(&self.keys.named(frequency.name), |name, times| {
                if frequency.hub.table == USER.table {
                    return Member::new(&name, Some(times), false).put(users);
                }
                counts.insert(name, times);
                Ok(())
            })?;
        }
        let owners =
            frequencies.iter().zip(&found.counts).find(|(known, _)| known.name == lowest.owners.name);
        let owners: Vec<&String> = owners.into_iter().flat_map(|(_, counts)| counts.keys()).collect();
        for chunk in owners.chunks(CHUNK) {
            let mut pipe = redis::pipe();
            for owner in chunk {
                pipe.hgetall(self.keys.named(lowest.prefix) + owner);
            }
            let values: Vec<HashMap<String, String>> = pipe.query(&mut self.redis)?;
            for (owner, values) in chunk.iter().zip(values) {
                found.lowest.insert((*owner).clone(), to_numbers(values));
            }
        }
        Ok(found)
    }

    /// Gives every member to `each`, perhaps more than once.
    fn scan(
        &mut self,
        key: &str,
        mut each: impl FnMut(String, f64) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("ZSCAN");
            scan.arg(key).arg(cursor).arg("COUNT").arg(CHUNK);
            let (next, members): (u64, Vec<(String, f64)>) = scan.query(&mut self.redis)?;
            for (name, times) in members {
                each(name, times)?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Reads the touched values again, together with the position at which they are read.
    fn again(&mut self, found: &mut RedisMetrics, users: &mut Sorter) -> anyhow::Result<Position> {
        let Self { redis, keys, metrics: Metrics { frequencies, lowest, .. } } = self;
        let lists = found.touched.iter().map(|names| names.iter().cloned().collect::<Vec<_>>());
        let lists: Vec<_> = frequencies.iter().zip(lists).collect();
        let asked = || lists.iter().enumerate().filter(|(_, (_, names))| !names.is_empty());
        let owners = || {
            lists.iter().filter(|(known, _)| known.name == lowest.owners.name).flat_map(|(_, names)| names)
        };
        let mut pipe = redis::pipe();
        pipe.atomic().hgetall(keys.offsets()).hgetall(keys.watermarks());
        for (_, (frequency, names)) in asked() {
            pipe.cmd("ZMSCORE").arg(keys.named(frequency.name)).arg(names);
        }
        for owner in owners() {
            pipe.hgetall(keys.named(lowest.prefix) + owner);
        }
        let answers: Vec<redis::Value> = pipe.query(redis)?;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().context("Redis answered less than it was asked");
        let position = to_position(from_redis(next()?)?, from_redis(next()?)?)?;
        for (at, (frequency, names)) in asked() {
            let scores: Vec<Option<f64>> = from_redis(next()?)?;
            let (is_user, counts) = (frequency.hub.table == USER.table, &mut found.counts[at]);
            for (name, score) in names.iter().zip(scores) {
                match score {
                    _ if is_user => Member::new(name, score, true).put(users)?,
                    Some(score) => drop(counts.insert(name.clone(), score)),
                    None => drop(counts.remove(name)),
                }
            }
        }
        for owner in owners() {
            found.lowest.insert(owner.clone(), to_numbers(from_redis(next()?)?));
        }
        Ok(position)
    }
}

fn from_redis<T: redis::FromRedisValue>(value: redis::Value) -> anyhow::Result<T> {
    redis::from_redis_value(value).map_err(|e| anyhow::anyhow!("Redis answered in another form: {e}"))
}

fn to_numbers(values: HashMap<String, String>) -> HashMap<String, i64> {
    values.into_iter().map(|(name, value)| (name, value.parse().unwrap_or(-1))).collect()
}

fn to_position(offsets: BTreeMap<i32, i64>, watermarks: BTreeMap<String, i64>) -> anyhow::Result<Position> {
    let origin_key = |field: &str| {
        let (read, origin) = field.split_once('/')?;
        let (topic, partition) = origin.rsplit_once('/')?;
        Some((read.parse().ok()?, topic.into(), partition.parse().ok()?))
    };
    let watermarks = watermarks.into_iter().map(|(field, last)| {
        let key =
            origin_key(&field).with_context(|| format!("watermark {field:?} in Redis names no origin"))?;
        Ok((key, last))
    });
    Ok(Position { offsets, watermarks: watermarks.collect::<anyhow::Result<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_that_does_not_follow_the_one_before_is_seen() {
        let at = |offsets: &[(i32, i64)]| offsets.iter().copied().collect::<Offsets>();
        let ranges = passed(&at(&[(0, 5), (1, 7)]), &at(&[(0, 6), (1, 7)])).expect("later");
        assert_eq!(ranges, [(0, (5, 6)), (1, (7, 7))].into());
        assert!(passed(&at(&[(0, 5)]), &at(&[(0, 4)])).is_none());
        assert!(passed(&at(&[(0, 5)]), &at(&[(0, 5), (1, 0)])).is_none());
    }

    #[test]
    fn what_was_read_later_counts() {
        let (read, touched) = (Member::new("a", Some(1.5), false), Member::new("a", None, true));
        assert_eq!(read.clone().or(None).times(), Some(1.5));
        assert_eq!(read.clone().or(Some(touched.clone())).times(), None);
        assert_eq!(touched.or(Some(read)).times(), None);
    }

    #[test]
    fn watermarks_are_read_whatever_the_topic_is_called() {
        let field = MetricsKeys::watermark(3, "a/b.dlq", 4);
        let position = to_position(BTreeMap::new(), [(field, 9)].into()).expect("an origin");
        assert_eq!(position.watermarks, [((3, "a/b.dlq".into(), 4), 9)].into());
        assert!(to_position(BTreeMap::new(), [("3".to_owned(), 9)].into()).is_err());
    }
}
