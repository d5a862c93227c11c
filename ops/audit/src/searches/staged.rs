//! The raw layer of the searches against the vault.

use std::collections::HashSet;

use strata_events::event_id::EVENT_ID_HEADER;
use strata_events::{Contract as _, StageId};
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::hotel_search::Search;
use strata_streams::hotel_search::clean::clean;
use strata_streams::hotel_search::rows::offers_hashdiff;
use strata_vault::{LoadPosition, hub_key};
use uuid::Uuid;

use super::super::copy::Row;
use super::super::keys::{Keys, Marks, short};
use super::super::metrics::key_of;
use super::super::outputs::{header, origin_of};
use super::super::reader::Reader;
use super::super::report::Check;
use super::super::snapshot::Snapshot;
use super::super::vault::Places;
use super::vault::{Link, SearchVault};
use strata_observe::read_ranges;

/// Searches as they are staged.
pub struct Staged {
    /// Numbers of the staged searches, in the vault's numbering.
    pub known: Marks,
    /// What was found.
    pub checks: Vec<Check>,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
}

/// Checks the searches from stg to dds. Searches that the vault does not have get numbers, too.
pub fn check(
    snapshot: &Snapshot<'_>,
    reader: &mut Reader,
    vault: &mut SearchVault,
) -> anyhow::Result<Staged> {
    let excused = excused(snapshot)?;
    let places = Places::new(
        snapshot,
        &[(StageId::Stg.as_str(), snapshot.settings.topics.name(HOTEL_SEARCH.topic(StageId::Stg)))],
    );
    let mut positions = Check::new("stg searches: rows came from records below the offsets");
    let mut there = Check::new("stg → dds: every search has arrived");
    let mut versions = Check::new("stg → dds: user, hotel, time and offers of every search");
    let (mut known, mut others) = (Marks::default(), 0_u64);
    let select = "select event_id, user_id, hotel_id, search_dt, sent_dttm, payload::text, load_src, \
                  load_partition::bigint, load_offset from stg.hotel_search_events";
    reader.copy_out(select, |row| {
        let event_id = row.text(0)?;
        let key = hub_key(event_id);
        let number = vault.searches.insert(key);
        known.set(number);
        there.compared += 1;
        let Some(link) = vault.links.get(number as usize) else {
            if !excused.contains(&key) {
                there.differs(|| format!("stg.hotel_search_events: {event_id:?} is not in l_hotel_search"));
            }
            return Ok(());
        };
        versions.compared += 1;
        let search = match read(row)? {
            Ok(search) => search,
            Err(why) => {
                versions.differs(|| format!("stg.hotel_search_events: {event_id:?} {why}"));
                return Ok(());
            }
        };
        // Of a search that came more than once each layer keeps the first record that it saw: another
        // one's content says nothing about the vault.
        let same_record = match place(row)? {
            Some((partition, offset)) => {
                let at = (row.text(6)?, (partition, offset));
                let name = || format!("stg.hotel_search_events: {event_id:?}");
                places.check_offset(&mut positions, at.0, at.1, row.micros(4)?, name);
                at.1 == LoadPosition::source(link.load_seq)
            }
            None => link.load_dt == row.micros(4)?,
        };
        if same_record && let Some(what) = compare(vault, link, &search) {
            versions.differs(|| format!("stg.hotel_search_events: {event_id:?} {what}"));
        }
        others += u64::from(!same_record);
        Ok(())
    })?;
    let notes = notes(excused.len(), others);
    let checks = vec![there, versions, unstaged(vault, &known), positions];
    Ok(Staged { known, checks, notes })
}

fn notes(excused: usize, others: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if excused > 0 {
        notes.push(format!("{excused} searches are on their way from stg to dds, or dead letters of dds"));
    }
    if others > 0 {
        notes.push(format!(
            "{others} searches came more than once, and stg and dds hold different records of them"
        ));
    }
    notes
}

/// Every search of the vault is staged, but those that were written to processed_data_topic by hand.
fn unstaged(vault: &SearchVault, known: &Marks) -> Check {
    let mut check = Check::new("dds → stg: every search is staged");
    for (number, link) in (0..).zip(&vault.links) {
        check.compared += 1;
        if !known.has(number) && !vault.by_hand.has(number) {
            check.differs(|| format!("l_hotel_search: {} is not staged", vault.describe(link)));
        }
    }
    check
}

/// Partition and offset of the record that a row came with; none in rows that are older than the columns.
fn place(row: &Row<'_>) -> anyhow::Result<Option<(i32, i64)>> {
    let place = row.optional_bigint(7)?.zip(row.optional_bigint(8)?);
    place.map(|(partition, offset)| anyhow::Ok((i32::try_from(partition)?, offset))).transpose()
}

/// The search that a row holds, or what is wrong with the row by itself.
fn read(row: &Row<'_>) -> anyhow::Result<Result<Search, String>> {
    let search = match Search::decode(row.text(5)?.as_bytes()) {
        Ok(search) => search,
        Err(reject) => return Ok(Err(format!("holds no search: {reject}"))),
    };
    let as_columns = search.user_id == row.uuid(1)?
        && search.hotel_id == row.text(2)?
        && search.timestamp_micros() == row.micros(3)?;
    Ok(if as_columns {
        Ok(search)
    } else {
        Err("has another user, hotel or time than its payload".to_owned())
    })
}

/// What of a staged search the vault has otherwise.
fn compare(vault: &SearchVault, link: &Link, search: &Search) -> Option<String> {
    let cleaned = clean(search);
    let number = |keys: &Keys, name: &str| keys.find(&hub_key(name));
    let mut found = Vec::new();
    if number(&vault.users.keys, &cleaned.user_id.to_string()) != Some(link.user) {
        found.push(format!("is of user {}, another than in l_hotel_search", cleaned.user_id));
    }
    if number(&vault.hotels.keys, &cleaned.hotel_id) != Some(link.hotel) {
        found.push(format!("is for hotel {}, another than in l_hotel_search", cleaned.hotel_id));
    }
    if search.timestamp_micros() != link.search_dt {
        found.push("has another time in l_hotel_search".to_owned());
    }
    let advertisers: Vec<&str> = cleaned.advertisers.iter().map(String::as_str).collect();
    let min_offer = cleaned.min_offer.as_ref().map(|offer| (offer.price, offer.advertiser.as_str()));
    if short(offers_hashdiff(&advertisers, min_offer)) != link.offers {
        found
            .push(format!("offers {advertisers:?} {min_offer:?}, which s_hotel_search_offers does not have"));
    }
    (!found.is_empty()).then(|| found.join("; "))
}

/// Keys of searches that stg has and dds need not have: in flight, or refused.
fn excused(snapshot: &Snapshot<'_>) -> anyhow::Result<HashSet<Uuid>> {
    let [raw_topic, processed_topic] =
        [StageId::Stg, StageId::Dds].map(|stage| snapshot.settings.topics.name(HOTEL_SEARCH.topic(stage)));
    let mut keys = HashSet::new();
    let unread = snapshot.unread(StageId::Dds.as_str(), processed_topic);
    read_ranges(&snapshot.settings.kafka, processed_topic, &unread, |record| {
        keys.extend(key_of(record.event_id.as_deref(), &record.start()));
        Ok(())
    })?;
    for output in snapshot.kept_for(StageId::Stg.as_str(), raw_topic, processed_topic) {
        let key = origin_of(output).and_then(|origin| key_of(header(output, EVENT_ID_HEADER), &origin));
        keys.extend(key);
    }
    let letters = snapshot.letters.iter().filter(|letter| {
        letter.stage == StageId::Dds.as_str()
            && letter.topic == processed_topic
            && letter.status != "replayed"
    });
    keys.extend(letters.filter_map(|letter| key_of(letter.event_id.as_deref(), &letter.start()?)));
    Ok(keys)
}
