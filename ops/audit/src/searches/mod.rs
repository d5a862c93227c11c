//! The hotel-search stream: stg → dds → Redis, search by search in the order of their keys.

mod counted;
mod staged;
mod vault;

use std::collections::HashMap;

use serde::Deserialize;
use strata_observe::Fleet;
use strata_pipeline::Record;
use strata_streams::hotel_search::HOTEL_SEARCH;
use uuid::Uuid;

use super::inputs::{At, Fate, Inputs};
use super::metrics::{self, key_of};
use super::ordered::{Sorter, least};
use super::report::Check;
use super::snapshot::Snapshot;
use super::vault::VaultChecks;
use super::{Progress, share};
use staged::Staged;
use vault::SearchVault;

/// What was found of the searches.
pub struct Found {
    /// From Kafka to the raw layer, and from there to the vault.
    pub staged: Vec<Check>,
    /// Of every table of the vault; rows of users are still to come.
    pub tables: VaultChecks,
    /// From the vault to Redis, users aside.
    pub counted: [Check; 3],
    /// Searches that the metrics of a user do not count, by the user's key.
    pub uncounted: HashMap<Uuid, i64>,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
}

/// Compares Kafka, the raw layer, the vault and Redis.
pub fn check(snapshot: &Snapshot<'_>, fleet: &Fleet, progress: Progress<'_>) -> anyhow::Result<Found> {
    let mut notes = Vec::new();
    let withheld = metrics::withheld(snapshot)?;
    if !withheld.is_empty() {
        notes
            .push(format!("{} searches are on their way from dds to Redis, or dead letters", withheld.len()));
    }
    progress("searches: hubs");
    let mut vault = SearchVault::open(snapshot, withheld)?;
    progress("searches: raw layer");
    let (mut staged, mut staged_rows) = Staged::read(snapshot)?;
    progress("searches: Kafka");
    let (mut inputs, mut input_rows) = Inputs::read(snapshot, fleet, &HOTEL_SEARCH, "search", keep)?;
    let mut told = None;
    while let Some(key) = least(vault.tables().chain([&mut staged_rows, &mut input_rows]))? {
        if told.replace(share(key)) != Some(share(key)) {
            progress(&format!("searches: {} % compared", share(key)));
        }
        let search = vault.search(key)?;
        let mut is_first = true;
        let is_staged = staged.compare(&mut staged_rows, key, search.as_ref(), &vault)?;
        input_rows.rows(key, |row| {
            let fate = match (is_staged, std::mem::replace(&mut is_first, false)) {
                (true, true) => Fate::Stored,
                (true, false) => Fate::Superseded,
                (false, _) => {
                    Fate::Missing(format!("is of the search with the key {key}, which is not staged"))
                }
            };
            inputs.judge(row.json()?, fate);
            Ok(())
        })?;
    }
    let (check, note) = inputs.finish();
    notes.push(note);
    notes.extend(staged.notes());
    let mut checks = vec![check];
    checks.extend(staged.checks());
    vault.finish();
    let counted = counted::check(&snapshot.redis, &vault);
    let SearchVault { checks: tables, uncounted, .. } = vault;
    Ok(Found { staged: checks, tables, counted, uncounted, notes })
}

/// What of a search's record may say which search it is.
#[derive(Deserialize)]
struct Identity {
    event_id: Option<String>,
}

/// Keeps a record by the key of its search, as stg finds it: the header's identity, else the body's, else the place's.
fn keep(record: &Record, at: At, sorter: &mut Sorter) -> anyhow::Result<bool> {
    let key = match &record.event_id {
        Some(given) => key_of(Some(given), &record.start()),
        None => serde_json::from_slice(&record.payload)
            .ok()
            .and_then(|Identity { event_id }| key_of(event_id.as_deref(), &record.start())),
    };
    match key {
        Some(key) => sorter.put(key, &at).map(|()| true),
        None => Ok(false),
    }
}
