//! The raw layer of the searches against the vault.

use std::collections::HashSet;

use dds::search::rows::offers_hashdiff;
use stg::search::clean::clean;
use strata_events::search::EVENT_ID_HEADER;
use strata_events::stream::HOTEL_SEARCH;
use strata_events::{Contract as _, Search};
use strata_vault::hub_key;
use uuid::Uuid;

use super::super::copy::Row;
use super::super::keys::{Keys, Marks, short};
use super::super::metrics::key_of;
use super::super::outputs::{header, origin_of};
use super::super::reader::Reader;
use super::super::report::Check;
use super::super::snapshot::Snapshot;
use super::vault::{Link, SearchVault};
use crate::fleet::STAGES;
use crate::kafka::read_ranges;

/// Searches as they are staged.
pub struct Staged {
    /// Numbers of the staged searches, in the vault's numbering.
    pub known: Marks,
    /// Searches that the vault has otherwise, though at the same millisecond, and what differs.
    doubtful: Vec<(u32, String)>,
    versions: Check,
    checks: Vec<Check>,
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
    let mut there = Check::new("stg → dds: every search has arrived");
    let mut versions = Check::new("stg → dds: user, hotel, time and offers of every search");
    let (mut known, mut others, mut doubtful) = (Marks::default(), 0_u64, Vec::new());
    let select = "select event_id, user_id, hotel_id, search_dt, sent_dttm, payload::text \
                  from stg.hotel_search_events";
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
        let same_record = link.load_dt == row.micros(4)?;
        if same_record && let Some(what) = compare(vault, link, &search) {
            doubtful.push((number, format!("stg.hotel_search_events: {event_id:?} {what}")));
        }
        others += u64::from(!same_record);
        Ok(())
    })?;
    // Records that were written to processed_data_topic by hand never were in stg.
    let mut back = Check::new("dds → stg: every search is staged");
    for number in 0..u32::try_from(vault.links.len()).unwrap_or(u32::MAX) {
        back.compared += 1;
        if !known.has(number) && !vault.by_hand.has(number) {
            let link = vault.links[number as usize];
            back.differs(|| format!("l_hotel_search: {} is not staged", vault.describe(&link)));
        }
    }
    let mut notes = Vec::new();
    if !excused.is_empty() {
        notes.push(format!(
            "{} searches are on their way from stg to dds, or dead letters of dds",
            excused.len()
        ));
    }
    if others > 0 {
        notes.push(format!(
            "{others} searches came more than once, and stg and dds hold different records of them"
        ));
    }
    Ok(Staged { known, doubtful, versions, checks: vec![there, back], notes })
}

impl Staged {
    /// Decides what differs: of searches that came `again`, it may be two records of one millisecond.
    pub fn settle(mut self, again: &Marks) -> Vec<Check> {
        for (_, what) in self.doubtful.drain(..).filter(|(number, _)| !again.has(*number)) {
            self.versions.differs(|| what);
        }
        self.checks.push(self.versions);
        self.checks
    }
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
    let [raw_topic, processed_topic, _] = snapshot.settings.topics.of(&HOTEL_SEARCH);
    let mut keys = HashSet::new();
    let unread = snapshot.unread(STAGES[1], processed_topic);
    read_ranges(&snapshot.settings.kafka, processed_topic, &unread, |record| {
        keys.extend(key_of(record.event_id.as_deref(), &record.start()));
        Ok(())
    })?;
    for output in snapshot.kept_for(STAGES[0], raw_topic, processed_topic) {
        let key = origin_of(output).and_then(|origin| key_of(header(output, EVENT_ID_HEADER), &origin));
        keys.extend(key);
    }
    let letters = snapshot.letters.iter().filter(|letter| {
        letter.stage == STAGES[1] && letter.topic == processed_topic && letter.status != "replayed"
    });
    keys.extend(letters.filter_map(|letter| key_of(letter.event_id.as_deref(), &letter.start()?)));
    Ok(keys)
}
