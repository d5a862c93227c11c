//! Hotel searches from staging into the vault: staging holds every one, as it was received.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use dds::search::handler::{insert_hubs, write};
use dds::store::searches::insert_offers;
use sqlx::PgConnection;
use strata_events::Origin;
use strata_runtime::Settings;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::hotel_search::clean::clean;
use strata_streams::hotel_search::rows::{SearchFact, SearchHubs, offers};
use strata_streams::hotel_search::{ProcessedSearch, Search};
use strata_streams::rows::Load;
use uuid::Uuid;

use super::{CHUNK, Coming, staged, start_of};
use crate::Progress;

/// A staged search: identity, what was searched and offered, its place in the vault's time.
struct Staged {
    event_id: String,
    search: ProcessedSearch,
    load: Load,
}

/// Puts searches into the vault.
pub async fn fill(
    tx: &mut PgConnection,
    settings: &Settings,
    coming: &Coming,
    staged: i64,
    progress: &mut Progress<'_>,
) -> anyhow::Result<()> {
    let mut place = 0;
    while place < staged {
        let searches = read(tx, settings, place).await?;
        place += CHUNK;
        progress("searches", searches.len() as u64);
        let searches: Vec<Staged> =
            searches.into_iter().filter(|(_, start)| !coming.holds(start)).map(|(s, _)| s).collect();
        let facts: Vec<SearchFact<'_>> =
            searches.iter().map(|s| SearchFact::new(&s.event_id, &s.search, s.load.clone())).collect();
        write(tx, &facts).await?;
        complete(tx, &facts).await?;
    }
    Ok(())
}

/// Adds hubs and offers that the vault lost of searches whose links it holds.
///
/// The vault may have let in another record of a search than staging did. Then what staging says is not what the
/// link was made of, and nothing is added. A search has one row of offers: one that is there stays.
async fn complete(tx: &mut PgConnection, facts: &[SearchFact<'_>]) -> anyhow::Result<()> {
    let keys: Vec<Uuid> = facts.iter().map(|fact| fact.search_pk).collect();
    let links: HashMap<Uuid, (Uuid, Uuid, DateTime<Utc>)> =
        sqlx::query_as::<_, (Uuid, Uuid, Uuid, DateTime<Utc>)>(
            "select hk_hotel_search_pk, h_user_pk, h_hotel_pk, load_dt from dds.l_hotel_search \
         where hk_hotel_search_pk = any($1)",
        )
        .bind(&keys)
        .fetch_all(&mut *tx)
        .await?
        .into_iter()
        .map(|(key, user, hotel, load_dt)| (key, (user, hotel, load_dt)))
        .collect();
    let made_of = |fact: &&SearchFact<'_>| {
        links.get(&fact.search_pk) == Some(&(fact.user_pk, fact.hotel_pk, fact.load.at.load_dt))
    };
    insert_hubs(tx, &SearchHubs::of(facts.iter().filter(made_of))).await?;
    let known: HashSet<Uuid> = sqlx::query_scalar(
        "select hk_hotel_search_pk from dds.s_hotel_search_offers where hk_hotel_search_pk = any($1)",
    )
    .bind(keys)
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    let missing = facts.iter().filter(made_of).filter(|fact| !known.contains(&fact.search_pk));
    Ok(insert_offers(tx, missing.map(offers).collect()).await?)
}

/// The next searches, each with the record that it came with.
async fn read(
    tx: &mut PgConnection,
    settings: &Settings,
    after: i64,
) -> anyhow::Result<Vec<(Staged, Origin)>> {
    type Row = (String, String, DateTime<Utc>, Option<String>, Option<i32>, Option<i64>);
    let rows: Vec<Row> =
        sqlx::query_as(staged!("stg.hotel_search_events", "e.event_id, e.payload::text, e.sent_dttm"))
            .bind(after)
            .bind(CHUNK)
            .fetch_all(tx)
            .await?;
    let mut searches = Vec::with_capacity(rows.len());
    for (event_id, payload, load_dt, src, partition, offset) in rows {
        let start = start_of(settings, &HOTEL_SEARCH, (src, partition, offset));
        let search: Search = serde_json::from_str(&payload)?;
        let staged = Staged { event_id, search: clean(&search), load: Load::new(load_dt, &start) };
        searches.push((staged, start));
    }
    Ok(searches)
}
