//! The data marts at a glance: what is searched most, by whom, and who ordered last.

use redis::RedisResult;
use serde::Serialize;

use crate::Sources;

/// Entries of each list.
const ENTRIES: usize = 8;

/// What the data marts hold, persons aside; null where the store is down.
#[derive(Serialize)]
pub struct Top {
    /// Redis: the hotel metrics.
    searches: Option<Searches>,
}

/// What tells of persons; null where a store is down.
#[derive(Serialize)]
pub struct People {
    /// Redis: who searches most.
    searchers: Option<List<Seen>>,
    /// Postgres: business ids of users whose counters grew a row last.
    recent: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Searches {
    hotels: List<Hotel>,
    advertisers: List<Seen>,
}

/// The first of a ranking.
#[derive(Serialize)]
struct List<T> {
    /// Members there are in all.
    count: u64,
    top: Vec<T>,
}

/// A member and how many searches it was seen in.
#[derive(Serialize)]
struct Seen {
    name: String,
    searches: u64,
}

#[derive(Serialize)]
struct Hotel {
    #[serde(flatten)]
    seen: Seen,
    /// The lowest winning price ever seen; null where nobody ever won.
    cheapest: Option<Offer>,
}

/// An advertiser's lowest winning price.
#[derive(Serialize)]
pub struct Offer {
    /// Who offers.
    pub advertiser: String,
    /// Euro cents.
    pub eurocents: i64,
}

impl Offer {
    /// Prices as the metrics keep them, cheapest first.
    fn sorted(prices: Vec<(String, i64)>) -> Vec<Self> {
        let mut offers: Vec<Self> =
            prices.into_iter().map(|(advertiser, eurocents)| Self { advertiser, eurocents }).collect();
        offers.sort_by(|a, b| (a.eurocents, &a.advertiser).cmp(&(b.eurocents, &b.advertiser)));
        offers
    }
}

impl Top {
    /// Reads the rankings.
    pub async fn read(sources: &Sources) -> Self {
        Self { searches: searches(sources).await.ok() }
    }
}

impl People {
    /// Reads both stores.
    pub async fn read(sources: &Sources) -> Self {
        let (searchers, recent) =
            tokio::join!(List::read(sources, sources.keys.users()), recent_users(sources));
        Self { searchers: searchers.ok(), recent: recent.ok() }
    }
}

impl List<Seen> {
    /// The first of a sorted set: most searches first, members of one number in name order.
    async fn read(sources: &Sources, key: String) -> RedisResult<Self> {
        let last = ENTRIES as isize - 1;
        let (count, mut entries): (u64, Vec<(String, f64)>) = redis::pipe()
            .zcard(&key)
            .zrevrange_withscores(&key, 0, last)
            .query_async(&mut sources.redis.clone())
            .await?;
        entries.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let seen = |(name, searches)| Seen { name, searches: searches as u64 };
        Ok(Self { count, top: entries.into_iter().map(seen).collect() })
    }
}

/// Lowest winning prices of hotels, cheapest first.
pub async fn offers_of(sources: &Sources, hotels: &[&str]) -> RedisResult<Vec<Vec<Offer>>> {
    if hotels.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::pipe();
    for hotel in hotels {
        pipeline.hgetall(sources.keys.offers(hotel));
    }
    let prices: Vec<Vec<(String, i64)>> = pipeline.query_async(&mut sources.redis.clone()).await?;
    Ok(prices.into_iter().map(Offer::sorted).collect())
}

async fn searches(sources: &Sources) -> RedisResult<Searches> {
    let List { count, top } = List::read(sources, sources.keys.hotels()).await?;
    let hotels: Vec<&str> = top.iter().map(|hotel| hotel.name.as_str()).collect();
    let offers = offers_of(sources, &hotels).await?;
    let hotel = |(seen, offers): (Seen, Vec<Offer>)| Hotel { seen, cheapest: offers.into_iter().next() };
    Ok(Searches {
        hotels: List { count, top: top.into_iter().zip(offers).map(hotel).collect() },
        advertisers: List::read(sources, sources.keys.advertisers()).await?,
    })
}

async fn recent_users(sources: &Sources) -> sqlx::Result<Vec<String>> {
    let statement = include_str!("../sql/select_recent_users.sql");
    sqlx::query_scalar(statement).bind(5_i64).fetch_all(&sources.postgres).await
}
