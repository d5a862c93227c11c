//! The vault of the searches, streamed once, and summed up as the metrics count it.

use std::collections::HashMap;

use chrono::DateTime;
use strata_events::StageId;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::hotel_search::rows::offers_hashdiff;
use strata_streams::hotel_search::vault::{ADVERTISER, HOTEL};
use strata_vault::hub_key;

use super::super::copy::Row;
use super::super::keys::{Keys, Marks, pair, short};
use super::super::metrics::{Touched, Withheld};
use super::super::reader::Reader;
use super::super::report::Check;
use super::super::snapshot::Snapshot;
use super::super::vault::{Hub, Places, RowChecks};

/// No number: the row is missing.
const NONE: u32 = u32::MAX;

/// A search of the link.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// Number of the user.
    pub user: u32,
    /// Number of the hotel.
    pub hotel: u32,
    /// When it was searched, microseconds.
    pub search_dt: i64,
    /// Kafka time of its record, microseconds.
    pub load_dt: i64,
    /// Place of its record, as the satellite has it.
    pub load_seq: i64,
    /// Fingerprint of its offers; 0 until the satellite is read.
    pub offers: u64,
}

/// What the metrics should be.
#[derive(Default)]
pub struct Fold {
    /// Searches by the number of the user,
    pub users: Vec<u32>,
    /// of the hotel,
    pub hotels: Vec<u32>,
    /// of the advertiser.
    pub advertisers: Vec<u32>,
    /// Hotel and advertiser, as [`pair`] → lowest winning price.
    pub prices: HashMap<u64, i64>,
}

/// The vault of the searches, by number.
pub struct SearchVault {
    /// `l_hotel_search`; numbers from `links.len()` on are of searches that are not in it.
    pub searches: Keys,
    /// Rows of the link.
    pub links: Vec<Link>,
    /// Searches that were written to processed_data_topic by hand.
    pub by_hand: Marks,
    /// Users of orders and of searches.
    pub users: Hub,
    /// Hotels.
    pub hotels: Hub,
    /// Advertisers.
    pub advertisers: Hub,
    /// Users that searched.
    pub searching: Marks,
    /// What the metrics should be.
    pub fold: Fold,
}

impl SearchVault {
    /// A search for people: its event_id is not kept.
    pub fn describe(&self, link: &Link) -> String {
        let at = DateTime::from_timestamp_micros(link.search_dt).unwrap_or_default();
        format!(
            "the search of user {} for hotel {} at {at}",
            self.users.name(link.user),
            self.hotels.name(link.hotel)
        )
    }
}

/// Reads the vault with all its checks; `withheld` searches are left out of the fold.
pub fn read(
    snapshot: &Snapshot<'_>,
    reader: &mut Reader,
    withheld: &Withheld,
) -> anyhow::Result<(SearchVault, Vec<Check>)> {
    let mut hubs = Check::new("dds searches: keys of hubs are those of their business keys");
    let users = Hub::read(reader, &mut hubs, &strata_streams::vault::USER)?;
    let hotels = Hub::read(reader, &mut hubs, &HOTEL)?;
    let advertisers = Hub::read(reader, &mut hubs, &ADVERTISER)?;
    let touched = touched(&snapshot.redis.touched, [&users, &hotels, &advertisers]);
    let fold = Fold {
        users: vec![0; users.names.len()],
        hotels: vec![0; hotels.names.len()],
        advertisers: vec![0; advertisers.names.len()],
        prices: HashMap::new(),
    };
    let vault = SearchVault {
        searches: Keys::default(),
        links: Vec::new(),
        by_hand: Marks::default(),
        users,
        hotels,
        advertisers,
        searching: Marks::default(),
        fold,
    };
    let mut reading = Reading {
        vault,
        rows: RowChecks::new("searches"),
        childless: Check::new("dds searches: hubs and links have their children"),
        withheld,
        held_back: HashMap::new(),
        touched,
        searched: Marks::default(),
        offering: Marks::default(),
    };
    reading.links(snapshot, reader)?;
    reading.satellites(snapshot, reader)?;
    let Reading { vault, rows, mut childless, searched, offering, .. } = reading;
    for link in vault.links.iter().filter(|link| link.offers == 0) {
        childless.differs(|| format!("l_hotel_search: {} has no offers", vault.describe(link)));
    }
    childless.compared += vault.links.len() as i64;
    vault.hotels.childless(&mut childless, &searched, "l_hotel_search");
    vault.advertisers.childless(&mut childless, &offering, "s_hotel_search_offers");
    let RowChecks { links, fingerprints, orphans, positions } = rows;
    Ok((vault, vec![hubs, links, fingerprints, orphans, childless, positions]))
}

/// The touched members by number: users, hotels, advertisers.
fn touched(touched: &Touched, hubs: [&Hub; 3]) -> [Marks; 3] {
    let sets = [&touched.users, &touched.hotels, &touched.advertisers];
    let mut marks = [Marks::default(), Marks::default(), Marks::default()];
    for ((set, hub), marks) in sets.into_iter().zip(hubs).zip(&mut marks) {
        for number in set.iter().filter_map(|name| hub.keys.find(&hub_key(name))) {
            marks.set(number);
        }
    }
    marks
}

/// A vault that is being read.
struct Reading<'a> {
    vault: SearchVault,
    rows: RowChecks,
    childless: Check,
    withheld: &'a Withheld,
    /// The withheld searches by number.
    held_back: HashMap<u32, bool>,
    touched: [Marks; 3],
    /// Hotels of a link.
    searched: Marks,
    /// Advertisers of a satellite.
    offering: Marks,
}

impl Reading<'_> {
    fn links(&mut self, snapshot: &Snapshot<'_>, reader: &mut Reader) -> anyhow::Result<()> {
        let processed_topic = snapshot.settings.topics.name(HOTEL_SEARCH.topic(StageId::Dds));
        let select = "select hk_hotel_search_pk, event_id, h_user_pk, h_hotel_pk, search_dt, load_dt, load_src \
                      from dds.l_hotel_search";
        reader.copy_out(select, |row| {
            let (key, event_id) = (row.uuid(0)?, row.text(1)?);
            self.rows.links.compared += 1;
            if key != hub_key(event_id) {
                self.rows.links.differs(|| {
                    format!("l_hotel_search: {event_id:?} has the key {key}, not {}", hub_key(event_id))
                });
            }
            let vault = &mut self.vault;
            let user = self.rows.parent(&vault.users.keys, "h_user", "l_hotel_search", row.uuid(2)?);
            let hotel = self.rows.parent(&vault.hotels.keys, "h_hotel", "l_hotel_search", row.uuid(3)?);
            let number = vault.searches.insert(key);
            vault.links.push(Link {
                user: user.unwrap_or(NONE),
                hotel: hotel.unwrap_or(NONE),
                search_dt: row.micros(4)?,
                load_dt: row.micros(5)?,
                load_seq: 0,
                offers: 0,
            });
            if row.text(6)? == processed_topic {
                vault.by_hand.set(number);
            }
            let held_back = self.withheld.get(&key).copied();
            self.held_back.extend(held_back.map(|applied| (number, applied)));
            if let Some(user) = user {
                vault.searching.set(user);
                if counts(held_back, self.touched[0].has(user)) {
                    vault.fold.users[user as usize] += 1;
                }
            }
            if let Some(hotel) = hotel {
                self.searched.set(hotel);
                if counts(held_back, self.touched[1].has(hotel)) {
                    vault.fold.hotels[hotel as usize] += 1;
                }
            }
            Ok(())
        })
    }

    fn satellites(&mut self, snapshot: &Snapshot<'_>, reader: &mut Reader) -> anyhow::Result<()> {
        let [raw_topic, processed_topic] = [StageId::Stg, StageId::Dds]
            .map(|stage| snapshot.settings.topics.name(HOTEL_SEARCH.topic(stage)));
        let places = Places::new(
            snapshot,
            &[(StageId::Stg.as_str(), raw_topic), (StageId::Dds.as_str(), processed_topic)],
        );
        let select = "select hk_hotel_search_pk, hk_hotel_search_offers_hashdiff, load_src, load_seq, load_dt, \
                      advertisers, min_price, min_advertiser from dds.s_hotel_search_offers";
        reader.copy_out(select, |row| self.satellite(&places, row))
    }

    fn satellite(&mut self, places: &Places, row: &Row<'_>) -> anyhow::Result<()> {
        const TABLE: &str = "s_hotel_search_offers";
        let (key, stored, advertisers) = (row.uuid(0)?, row.uuid(1)?, row.texts(5)?);
        let min_offer = row.optional_bigint(6)?.zip(row.optional_text(7)?);
        let rows = &mut self.rows;
        rows.fingerprints.compared += 1;
        if stored != offers_hashdiff(&advertisers, min_offer) {
            rows.fingerprints.differs(|| {
                format!(
                    "{TABLE}: {key} says {advertisers:?} {min_offer:?}, but its hashdiff {stored} does not"
                )
            });
        }
        places.check(&mut rows.positions, row, [2, 3, 4], || format!("{TABLE}: {key}"))?;
        let vault = &mut self.vault;
        let Some(number) = rows.parent(&vault.searches, "l_hotel_search", TABLE, key) else { return Ok(()) };
        let link = &mut vault.links[number as usize];
        if link.offers != 0 || link.load_dt != row.micros(4)? {
            self.childless
                .differs(|| format!("{TABLE}: {key} is not the only one, or not of its link's record"));
        }
        // Zero means none yet; a fingerprint that begins with so many zeros never comes.
        (link.offers, link.load_seq) = (short(stored), row.bigint(3)?);
        let held_back = self.held_back.get(&number).copied();
        for advertiser in &advertisers {
            let Some(found) =
                rows.parent(&vault.advertisers.keys, "h_advertiser", TABLE, hub_key(advertiser))
            else {
                continue;
            };
            self.offering.set(found);
            if counts(held_back, self.touched[2].has(found)) {
                vault.fold.advertisers[found as usize] += 1;
            }
        }
        let winner =
            min_offer.and_then(|(price, name)| Some((price, vault.advertisers.keys.find(&hub_key(name))?)));
        if let Some((price, winner)) = winner
            && counts(held_back, self.touched[1].has(link.hotel))
        {
            let lowest = vault.fold.prices.entry(pair(link.hotel, winner)).or_insert(price);
            *lowest = price.min(*lowest);
        }
        Ok(())
    }
}

/// True where the metrics count a search for a member.
fn counts(held_back: Option<bool>, touched: bool) -> bool {
    match held_back {
        None => true,
        Some(applied) => applied && touched,
    }
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn a_search_counts_for_those_that_were_read_after_it() {
        assert!(counts(None, false) && counts(None, true) && counts(Some(true), true));
        assert!(!counts(Some(true), false) && !counts(Some(false), true) && !counts(Some(false), false));
    }
}
