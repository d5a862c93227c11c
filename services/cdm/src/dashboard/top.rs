//! The data marts at a glance: what is searched most, by whom, and who ordered last.

use redis::RedisResult;
use serde::Serialize;

use super::Sources;
use crate::metrics::ranking::Page;

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
    pub fn sorted(prices: Vec<(String, i64)>) -> Vec<Self> {
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
        let (searchers, recent) = tokio::join!(searchers(sources), recent_users(sources));
        Self { searchers: searchers.ok(), recent: recent.ok() }
    }
}

impl List<Seen> {
    /// A page of a ranking as it is.
    fn of(page: Page) -> Self {
        Self { count: page.count, top: page.entries.into_iter().map(Seen::of).collect() }
    }
}

impl Seen {
    /// An entry of a ranking.
    fn of((name, searches): (String, u64)) -> Self {
        Self { name, searches }
    }
}

async fn searchers(sources: &Sources) -> RedisResult<List<Seen>> {
    let users = sources.ranking.page(&sources.keys.users(), ENTRIES, None).await?;
    Ok(List::of(users))
}

async fn searches(sources: &Sources) -> RedisResult<Searches> {
    let Sources { ranking, keys, .. } = sources;
    let page = async |key: String| ranking.page(&key, ENTRIES, None).await;
    let (hotels, advertisers) = tokio::try_join!(page(keys.hotels()), page(keys.advertisers()))?;
    let prices = ranking.prices(hotels.entries.iter().map(|(hotel, _)| keys.offers(hotel))).await?;
    let hotel =
        |(entry, prices)| Hotel { seen: Seen::of(entry), cheapest: Offer::sorted(prices).into_iter().next() };
    Ok(Searches {
        hotels: List {
            count: hotels.count,
            top: hotels.entries.into_iter().zip(prices).map(hotel).collect(),
        },
        advertisers: List::of(advertisers),
    })
}

async fn recent_users(sources: &Sources) -> sqlx::Result<Vec<String>> {
    let statement = include_str!("../../sql/select_recent_users.sql");
    sqlx::query_scalar(statement).bind(5_i64).fetch_all(&sources.postgres).await
}
