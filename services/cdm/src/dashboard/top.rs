//! The data marts at a glance: who is searched most, and who ordered last.

use redis::RedisResult;
use serde::Serialize;

use super::Sources;

/// Entries of each list.
const ENTRIES: usize = 8;

/// What the data marts hold; a half whose store is down is null.
#[derive(Serialize)]
pub struct Top {
    /// Redis: the hotel metrics.
    searches: Option<Searches>,
    /// Postgres: business ids of users whose counters grew a row last.
    recent_users: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Searches {
    users: List<Seen>,
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
    /// Reads both halves.
    pub async fn read(sources: &Sources) -> Self {
        let (searches, users) = tokio::join!(searches(sources), recent_users(sources));
        Self { searches: searches.ok(), recent_users: users.ok() }
    }
}

async fn searches(sources: &Sources) -> RedisResult<Searches> {
    let Sources { ranking, keys, .. } = sources;
    let page = async |key: String| ranking.page(&key, ENTRIES, None).await;
    let (users, hotels, advertisers) =
        tokio::try_join!(page(keys.users()), page(keys.hotels()), page(keys.advertisers()))?;
    let prices = ranking.prices(hotels.entries.iter().map(|(hotel, _)| keys.offers(hotel))).await?;
    let seen = |(name, searches): (String, u64)| Seen { name, searches };
    let hotel =
        |(entry, prices)| Hotel { seen: seen(entry), cheapest: Offer::sorted(prices).into_iter().next() };
    Ok(Searches {
        users: List { count: users.count, top: users.entries.into_iter().map(seen).collect() },
        hotels: List {
            count: hotels.count,
            top: hotels.entries.into_iter().zip(prices).map(hotel).collect(),
        },
        advertisers: List {
            count: advertisers.count,
            top: advertisers.entries.into_iter().map(seen).collect(),
        },
    })
}

async fn recent_users(sources: &Sources) -> sqlx::Result<Vec<String>> {
    let statement = include_str!("../../sql/select_recent_users.sql");
    sqlx::query_scalar(statement).bind(5_i64).fetch_all(&sources.postgres).await
}
