//! The raw layer of the searches against the vault.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use strata_events::event_id::EVENT_ID_HEADER;
use strata_events::{Contract as _, StageId};
use strata_observe::read_ranges;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::hotel_search::clean::clean;
use strata_streams::hotel_search::rows::offers_hashdiff;
use strata_streams::hotel_search::vault::{HOTEL_SEARCH as LINK, HOTEL_SEARCH_OFFERS as OFFERS};
use strata_streams::hotel_search::{ProcessedSearch, Search};
use strata_vault::{LoadPosition, hub_key};
use uuid::Uuid;

use super::super::copy::Row;
use super::super::metrics::key_of;
use super::super::ordered::Ordered;
use super::super::outputs::{header, origin_of};
use super::super::report::Check;
use super::super::snapshot::Snapshot;
use super::super::vault::Places;
use super::vault::{Search as InVault, SearchVault};

/// The columns that are compared.
const SELECT: &str = "select event_id, user_id, hotel_id, search_dt, sent_dttm, payload::text, load_src, \
     load_partition::bigint, load_offset from stg.hotel_search_events";

/// The raw layer against the vault.
pub struct Staged {
    /// Keys of searches that dds need not have.
    excused: HashSet<Uuid>,
    there: Check,
    versions: Check,
    back: Check,
    positions: Check,
    /// Searches of which stg and dds hold different records.
    others: u64,
}

/// What is kept of a staged search until it is looked at.
#[derive(Serialize, Deserialize)]
struct Kept {
    event_id: String,
    /// Partition and offset of its record; none in rows that are older than the columns.
    place: Option<(i32, i64)>,
    /// Kafka time of its record, microseconds.
    sent: i64,
    /// When it was searched, microseconds.
    search_dt: i64,
    /// The search as dds gets it, or what is wrong with the row by itself.
    search: Result<ProcessedSearch, String>,
}

impl Staged {
    /// Reads the raw layer; the rows come in the order of the searches' keys.
    pub fn read(snapshot: &Snapshot<'_>) -> anyhow::Result<(Self, Ordered)> {
        let mut staged = Self {
            excused: excused(snapshot)?,
            there: Check::new("stg → dds: every search has arrived"),
            versions: Check::new("stg → dds: user, hotel, time and offers of every search"),
            back: Check::new("dds → stg: every search is staged"),
            positions: Check::new("stg searches: rows came from records below the offsets"),
            others: 0,
        };
        let raw_topic = snapshot.settings.topics.name(HOTEL_SEARCH.topic(StageId::Stg));
        let places = Places::new(snapshot, &[(StageId::Stg.as_str(), raw_topic)]);
        let mut sorter = snapshot.source.sorter();
        snapshot.source.all(SELECT, |row| {
            let (event_id, place, sent) = (row.text(0)?.to_owned(), place(row)?, row.micros(4)?);
            if let Some(place) = place {
                let name = || format!("stg.hotel_search_events: {event_id:?}");
                places.check(&mut staged.positions, row.text(6)?, place, sent, name);
            }
            let (search_dt, search) = (row.micros(3)?, read(row)?.map(|search| clean(&search)));
            let kept = Kept { event_id, place, sent, search_dt, search };
            sorter.put(hub_key(&kept.event_id), &kept)
        })?;
        Ok((staged, sorter.sorted()?))
    }

    /// Compares what is staged of a search with its vault; true where it is staged.
    pub fn compare(
        &mut self,
        rows: &mut Ordered,
        key: Uuid,
        search: Option<&InVault>,
        vault: &SearchVault<'_>,
    ) -> anyhow::Result<bool> {
        let mut is_staged = false;
        rows.rows(key, |row| {
            let kept: Kept = row.json()?;
            is_staged = true;
            self.there.compared += 1;
            match search {
                Some(search) => self.arrived(&kept, search),
                None if self.excused.contains(&key) => {}
                None => self.there.differs(|| {
                    format!("stg.hotel_search_events: {:?} is not in {}", kept.event_id, LINK.table)
                }),
            }
            Ok(())
        })?;
        if let Some(search) = search {
            self.back.compared += 1;
            // Those that were written to processed_data_topic by hand never were in stg.
            if !is_staged && !search.by_hand {
                self.back.differs(|| format!("{}: {} is not staged", LINK.table, vault.describe(search)));
            }
        }
        Ok(is_staged)
    }

    fn arrived(&mut self, kept: &Kept, search: &InVault) {
        self.versions.compared += 1;
        // Of a search that came more than once each layer keeps the first record that it saw: another
        // one's content says nothing about the vault.
        let is_same = match kept.place {
            Some(place) => {
                search.offers.as_ref().map(|offers| LoadPosition::source(offers.load_seq)) == Some(place)
            }
            None => search.load_dt == kept.sent,
        };
        let wrong = match &kept.search {
            Err(why) => Some(why.clone()),
            Ok(staged) => {
                self.others += u64::from(!is_same);
                is_same.then(|| compare(search, staged, kept.search_dt)).flatten()
            }
        };
        if let Some(what) = wrong {
            self.versions.differs(|| format!("stg.hotel_search_events: {:?} {what}", kept.event_id));
        }
    }

    /// What is worth knowing besides.
    pub fn notes(&self) -> Vec<String> {
        let (excused, others, mut notes) = (self.excused.len(), self.others, Vec::new());
        if excused > 0 {
            notes
                .push(format!("{excused} searches are on their way from stg to dds, or dead letters of dds"));
        }
        if others > 0 {
            notes.push(format!(
                "{others} searches came more than once, and stg and dds hold different records of them"
            ));
        }
        notes
    }

    /// What was found.
    pub fn checks(self) -> [Check; 4] {
        [self.there, self.versions, self.back, self.positions]
    }
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
fn compare(search: &InVault, staged: &ProcessedSearch, search_dt: i64) -> Option<String> {
    let ProcessedSearch { user_id, hotel_id, advertisers, min_offer, .. } = staged;
    let mut found = Vec::new();
    if hub_key(&user_id.to_string()) != search.user {
        found.push(format!("is of user {user_id}, another than in {}", LINK.table));
    }
    if hub_key(hotel_id) != search.hotel {
        found.push(format!("is for hotel {hotel_id}, another than in {}", LINK.table));
    }
    if search_dt != search.search_dt {
        found.push(format!("has another time in {}", LINK.table));
    }
    let advertisers: Vec<&str> = advertisers.iter().map(String::as_str).collect();
    let min_offer = min_offer.as_ref().map(|offer| (offer.price, offer.advertiser.as_str()));
    let fingerprint = offers_hashdiff(&advertisers, min_offer);
    if search.offers.as_ref().is_none_or(|offers| offers.fingerprint != fingerprint) {
        found.push(format!("offers {advertisers:?} {min_offer:?}, which {} does not have", OFFERS.table));
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
    let refused = snapshot.dead_letters.iter().filter(|dead_letter| {
        dead_letter.stage == StageId::Dds.as_str()
            && dead_letter.topic == processed_topic
            && dead_letter.status != "replayed"
    });
    keys.extend(
        refused.filter_map(|dead_letter| key_of(dead_letter.event_id.as_deref(), &dead_letter.start()?)),
    );
    Ok(keys)
}
