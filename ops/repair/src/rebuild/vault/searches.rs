//! Hotel searches from staging into the vault: staging holds every one, as it was received.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use strata_events::Origin;
use strata_service::Settings;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::hotel_search::clean::clean;
use strata_streams::hotel_search::rows::{SearchFact, earliest, fresh, hubs, links, offers, rest};
use strata_streams::hotel_search::vault::{HOTEL, HOTEL_SEARCH as SEARCH, HOTEL_SEARCH_OFFERS, MODEL};
use strata_streams::hotel_search::{ProcessedSearch, Search};
use strata_streams::vault::USER;
use strata_vault::load::{Hooks, Loader};
use strata_vault::model::LOAD_DT;
use strata_vault::rows::{Batch, Fresh, Load};
use uuid::Uuid;

use super::{CHUNK, Coming, staged, start_of};
use crate::Progress;

static VAULT: LazyLock<Loader> = LazyLock::new(|| Loader::of(&MODEL, Hooks::NONE));

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
        let records = earliest(&facts);
        let created = VAULT.create(tx, &links(records.values().map(|&index| &facts[index]))).await?;
        let new = fresh(&records, &created);
        VAULT.complete(tx, rest(new.iter().map(|&index| &facts[index])), &created).await?;
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
    let (link, key) = (SEARCH.shape(), SEARCH.key);
    let stored = format!(
        "select {key}, {}, {}, {} from {link} where {key} = any($1)",
        USER.key, HOTEL.key, LOAD_DT.name
    );
    let stored: Vec<(Uuid, Uuid, Uuid, DateTime<Utc>)> =
        sqlx::query_as(&stored).bind(&keys).fetch_all(&mut *tx).await?;
    let stored: HashMap<Uuid, (Uuid, Uuid, DateTime<Utc>)> =
        stored.into_iter().map(|(key, user, hotel, load_dt)| (key, (user, hotel, load_dt))).collect();
    let made_of = |fact: &&SearchFact<'_>| {
        stored.get(&fact.search_pk) == Some(&(fact.user_pk, fact.hotel_pk, fact.load.at.load_dt))
    };
    let offered = format!("select {key} from {} where {key} = any($1)", HOTEL_SEARCH_OFFERS.shape());
    let offered: Vec<Uuid> = sqlx::query_scalar(&offered).bind(keys).fetch_all(&mut *tx).await?;
    let offered: HashSet<Uuid> = offered.into_iter().collect();
    let missing = facts.iter().filter(made_of).filter(|fact| !offered.contains(&fact.search_pk));
    let batch = Batch {
        hubs: hubs(facts.iter().filter(made_of)),
        satellites: vec![offers(missing)],
        ..Batch::default()
    };
    Ok(VAULT.complete(tx, batch, &Fresh::new()).await?)
}

/// The next searches, each with the record that it came with.
async fn read(
    tx: &mut PgConnection,
    settings: &Settings,
    after: i64,
) -> anyhow::Result<Vec<(Staged, Origin)>> {
    type Row = (String, String, DateTime<Utc>, Option<String>, Option<i32>, Option<i64>);
    let select = staged!("stg.hotel_search_events", "event_id", "e.event_id, e.payload::text, e.sent_dttm");
    let rows: Vec<Row> = sqlx::query_as(select).bind(after).bind(CHUNK).fetch_all(tx).await?;
    let mut searches = Vec::with_capacity(rows.len());
    for (event_id, payload, load_dt, src, partition, offset) in rows {
        let start = start_of(settings, &HOTEL_SEARCH, (src, partition, offset));
        let search: Search = serde_json::from_str(&payload)?;
        let staged = Staged { event_id, search: clean(&search), load: Load::new(load_dt, &start) };
        searches.push((staged, start));
    }
    Ok(searches)
}
