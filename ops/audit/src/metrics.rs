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
use strata_events::event_id::{EVENT_ID_HEADER, event_id};
use strata_events::{Contract as _, Origin, StageId};
use strata_pipeline::watermark::Watermarks;
use strata_service::Settings;
use strata_service::redis::MetricsKeys;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::hotel_search::ProcessedSearch;
use strata_vault::hub_key;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::dead_letters;
use super::ordered::Sorter;
use super::outputs::{header, origin_of};
use strata_pipeline::watermark::OriginKey;

use super::snapshot::{Offsets, Snapshot};
use strata_observe::read_ranges;

/// Longest wait for Redis.
const REDIS_TIMEOUT: Duration = Duration::from_secs(60);

/// Members or hotels of one request.
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

/// Members that messages touched while the rest was read.
#[derive(Debug, Default)]
pub struct Touched {
    /// Users by their id.
    pub users: HashSet<String>,
    /// Hotels by their id; their prices with them.
    pub hotels: HashSet<String>,
    /// Advertisers by their name.
    pub advertisers: HashSet<String>,
}

/// Member → times; no whole number where somebody wrote none.
pub type Counts = HashMap<String, f64>;

/// A user as the metrics hold them: there are too many for the memory, so they are sorted like a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// The user's id.
    pub name: String,
    /// Bits of the number of their searches, which need not be a whole one; none where they are not there.
    times: Option<u64>,
    /// True of what was read later.
    is_touched: bool,
}

impl Member {
    fn new(name: &str, times: Option<f64>, is_touched: bool) -> Self {
        Self { name: name.to_owned(), times: times.map(f64::to_bits), is_touched }
    }

    /// How often they searched.
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

/// Everything the metrics hold of hotels and advertisers, and where they were read.
#[derive(Debug, Default)]
pub struct RedisMetrics {
    topic: String,
    /// Where all but the touched values were read.
    pub position: Position,
    /// Where the touched ones were read.
    later: Option<Position>,
    /// The touched ones.
    pub touched: Touched,
    /// Hotel → searches.
    pub hotels: Counts,
    /// Advertiser → searches.
    pub advertisers: Counts,
    /// Hotel → advertiser → lowest price; -1 where there is no number.
    pub prices: HashMap<String, HashMap<String, i64>>,
}

impl RedisMetrics {
    /// Reads the metrics; those of users go to a sorter, as [`Member`].
    pub fn read(settings: &Settings, runtime: &Handle) -> anyhow::Result<(Self, Sorter)> {
        let topic = settings.topics.name(HOTEL_SEARCH.topic(StageId::Cdm));
        let mut store = Store::connect(settings)?;
        for _ in 0..ATTEMPTS {
            let before = store.position()?;
            let mut users = Sorter::open(runtime, &settings.postgres);
            let mut metrics = store.all(&mut users)?;
            metrics.position = store.position()?;
            topic.clone_into(&mut metrics.topic);
            let Some(ranges) = passed(&before.offsets, &metrics.position.offsets) else { continue };
            read_ranges(&settings.kafka, topic, &ranges, |record| {
                if let Ok(search) = ProcessedSearch::decode(&record.payload) {
                    metrics.touched.add(search);
                }
                Ok(())
            })?;
            if !metrics.touched.users.is_empty() {
                metrics.later = Some(store.again(&mut metrics, &mut users)?);
            }
            return Ok((metrics, users));
        }
        anyhow::bail!("the metrics in Redis are replaced again and again; try later")
    }

    /// True of the topic whose offsets lie beside the metrics.
    pub fn holds(&self, topic: &str) -> bool {
        self.topic == topic
    }
}

impl Touched {
    fn add(&mut self, search: ProcessedSearch) {
        self.users.insert(search.user_id.to_string());
        self.hotels.insert(search.hotel_id);
        self.advertisers.extend(search.advertisers);
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
}

impl Store {
    fn connect(settings: &Settings) -> anyhow::Result<Self> {
        let client = settings.redis.client();
        let redis = client
            .get_connection_with_timeout(Duration::from_secs(3))
            .context("Redis does not answer; is the fleet up? (make up)")?;
        redis.set_read_timeout(Some(REDIS_TIMEOUT))?;
        Ok(Self { redis, keys: MetricsKeys::new(&settings.redis_prefix) })
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
        let mut metrics = RedisMetrics::default();
        self.scan(&self.keys.users(), |name, times| Member::new(&name, Some(times), false).put(users))?;
        self.scan(&self.keys.hotels(), |name, times| {
            metrics.hotels.insert(name, times);
            Ok(())
        })?;
        self.scan(&self.keys.advertisers(), |name, times| {
            metrics.advertisers.insert(name, times);
            Ok(())
        })?;
        let hotels: Vec<&String> = metrics.hotels.keys().collect();
        for chunk in hotels.chunks(CHUNK) {
            let mut pipe = redis::pipe();
            for hotel in chunk {
                pipe.hgetall(self.keys.offers(hotel));
            }
            let prices: Vec<HashMap<String, String>> = pipe.query(&mut self.redis)?;
            for (hotel, prices) in chunk.iter().zip(prices) {
                metrics.prices.insert((*hotel).clone(), to_prices(prices));
            }
        }
        Ok(metrics)
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
    fn again(&mut self, metrics: &mut RedisMetrics, users: &mut Sorter) -> anyhow::Result<Position> {
        let Self { redis, keys } = self;
        let Touched { users: touched, hotels, advertisers } = &metrics.touched;
        let lists = [touched, hotels, advertisers].map(|set| set.iter().cloned().collect::<Vec<_>>());
        let mut pipe = redis::pipe();
        pipe.atomic().hgetall(keys.offsets()).hgetall(keys.watermarks());
        let sets = [keys.users(), keys.hotels(), keys.advertisers()];
        for (key, members) in sets.iter().zip(&lists).filter(|(_, members)| !members.is_empty()) {
            pipe.cmd("ZMSCORE").arg(key).arg(members);
        }
        for hotel in &lists[1] {
            pipe.hgetall(keys.offers(hotel));
        }
        let answers: Vec<redis::Value> = pipe.query(redis)?;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().context("Redis answered less than it was asked");
        let position = to_position(from_redis(next()?)?, from_redis(next()?)?)?;
        for (at, members) in lists.iter().enumerate().filter(|(_, members)| !members.is_empty()) {
            let scores: Vec<Option<f64>> = from_redis(next()?)?;
            let counts = if at == 1 { &mut metrics.hotels } else { &mut metrics.advertisers };
            for (member, score) in members.iter().zip(scores) {
                match score {
                    _ if at == 0 => Member::new(member, score, true).put(users)?,
                    Some(score) => drop(counts.insert(member.clone(), score)),
                    None => drop(counts.remove(member)),
                }
            }
        }
        for hotel in &lists[1] {
            metrics.prices.insert(hotel.clone(), to_prices(from_redis(next()?)?));
        }
        Ok(position)
    }
}

fn from_redis<T: redis::FromRedisValue>(value: redis::Value) -> anyhow::Result<T> {
    redis::from_redis_value(value).map_err(|e| anyhow::anyhow!("Redis answered in another form: {e}"))
}

fn to_prices(prices: HashMap<String, String>) -> HashMap<String, i64> {
    prices.into_iter().map(|(advertiser, price)| (advertiser, price.parse().unwrap_or(-1))).collect()
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

/// Searches of the vault that the metrics do not count yet, by key: true where the touched values do.
pub type Withheld = HashMap<Uuid, bool>;

/// Finds what the metrics have not applied, as cdm would find it.
pub fn withheld(snapshot: &Snapshot<'_>) -> anyhow::Result<Withheld> {
    let [processed_topic, topic] =
        [StageId::Dds, StageId::Cdm].map(|stage| snapshot.settings.topics.name(HOTEL_SEARCH.topic(stage)));
    let RedisMetrics { position, later, .. } = &snapshot.redis;
    let mut marks = Watermarks::new(position.watermarks.clone());
    let mut withheld = Withheld::new();
    read_ranges(&snapshot.settings.kafka, topic, &snapshot.unread(StageId::Cdm.as_str(), topic), |record| {
        let known = ProcessedSearch::decode(&record.payload).is_ok();
        if known && marks.advance(record.partition, &record.source()) {
            let next = later.as_ref().and_then(|later| later.offsets.get(&record.partition));
            let applied = next.is_some_and(|next| record.offset < *next);
            withheld.extend(key_of(record.event_id.as_deref(), &record.start()).map(|key| (key, applied)));
        }
        Ok(())
    })?;
    for output in snapshot.kept_for(StageId::Dds.as_str(), processed_topic, topic) {
        let Some(origin) = origin_of(output) else { continue };
        let partition = output.partition_among(snapshot.partitions(topic));
        if marks.advance(partition, &origin) {
            withheld.extend(key_of(header(output, EVENT_ID_HEADER), &origin).map(|key| (key, false)));
        }
    }
    for dead_letter in dead_letters::unapplied(snapshot, topic, &position.watermarks) {
        let start = dead_letter.start();
        if let Some(key) = start.and_then(|start| key_of(dead_letter.event_id.as_deref(), &start)) {
            withheld.entry(key).or_insert(false);
        }
    }
    Ok(withheld)
}

/// The vault key of a search.
pub fn key_of(given: Option<&str>, start: &Origin) -> Option<Uuid> {
    event_id(given, start).ok().map(|id| hub_key(&id))
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
    fn lanes_are_read_whatever_the_topic_is_called() {
        let field = MetricsKeys::watermark(3, "a/b.dlq", 4);
        let position = to_position(BTreeMap::new(), [(field, 9)].into()).expect("an origin");
        assert_eq!(position.watermarks, [((3, "a/b.dlq".into(), 4), 9)].into());
        assert!(to_position(BTreeMap::new(), [("3".to_owned(), 9)].into()).is_err());
    }
}
