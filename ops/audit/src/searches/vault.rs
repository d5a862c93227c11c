//! The vault of the searches, one search at a time, and summed up as the metrics count it.

use std::collections::{HashMap, HashSet};

use chrono::DateTime;
use strata_events::StageId;
use strata_streams::hotel_search::HOTEL_SEARCH as STREAM;
use strata_streams::hotel_search::vault::{ADVERTISER, HOTEL, HOTEL_SEARCH, HOTEL_SEARCH_OFFERS};
use strata_streams::vault::USER;
use strata_vault::hub_key;
use strata_vault::model::{LOAD_DT, LOAD_SRC};
use uuid::Uuid;

use super::super::keys::{Marks, pair};
use super::super::metrics::{Touched, Withheld};
use super::super::ordered::Ordered;
use super::super::snapshot::Snapshot;
use super::super::vault::{ATTRIBUTES, Hub, Places, VaultChecks, Version, in_order, satellite_in_order};

/// Table of the searches.
const LINK: &str = HOTEL_SEARCH.table;

/// A search of the link.
#[derive(Debug, Clone)]
pub struct Search {
    /// Its identity.
    pub event_id: String,
    /// Key of the user.
    pub user: Uuid,
    /// Key of the hotel.
    pub hotel: Uuid,
    /// When it was searched, microseconds.
    pub search_dt: i64,
    /// Kafka time of its record, microseconds.
    pub load_dt: i64,
    /// True where it was written to processed_data_topic by hand.
    pub by_hand: bool,
    /// Its offers.
    pub offers: Option<Version>,
}

/// What the metrics should be; those of users follow from the number of their searches.
#[derive(Default)]
pub struct Fold {
    /// Searches by the number of the hotel,
    pub hotels: Vec<u32>,
    /// of the advertiser.
    pub advertisers: Vec<u32>,
    /// Hotel and advertiser, as [`pair`] → lowest winning price.
    pub prices: HashMap<u64, i64>,
}

/// The vault, read in the order of the searches' keys.
pub struct SearchVault<'a> {
    /// Of every table.
    pub checks: VaultChecks,
    /// Hotels,
    pub hotels: Hub,
    /// and advertisers.
    pub advertisers: Hub,
    link: Ordered,
    offers: Ordered,
    by_hand: &'a str,
    withheld: Withheld,
    /// What was read later than the other metrics: keys of users, numbers of hotels and advertisers.
    touched: (HashSet<Uuid>, Marks, Marks),
    /// Hotels of a link.
    searched: Marks,
    /// Advertisers of a satellite.
    offering: Marks,
    /// What the metrics should be.
    pub fold: Fold,
    /// Searches that the metrics of a user do not count, by the user's key.
    pub uncounted: HashMap<Uuid, i64>,
}

impl<'a> SearchVault<'a> {
    /// Opens all tables; `withheld` searches are left out of the fold.
    pub fn open(snapshot: &'a Snapshot<'_>, withheld: Withheld) -> anyhow::Result<Self> {
        let [raw_topic, processed_topic] =
            [StageId::Stg, StageId::Dds].map(|stage| snapshot.settings.topics.name(STREAM.topic(stage)));
        let columns = [
            HOTEL_SEARCH.key,
            HOTEL_SEARCH.event.map_or("null", |event| event.name),
            USER.key,
            HOTEL.key,
            HOTEL_SEARCH.attributes[0].name,
            LOAD_DT.name,
            LOAD_SRC.name,
        ];
        let link = in_order(&snapshot.source, LINK, &columns);
        let offers = satellite_in_order(&snapshot.source, &HOTEL_SEARCH_OFFERS);
        let places = Places::new(
            snapshot,
            &[(StageId::Stg.as_str(), raw_topic), (StageId::Dds.as_str(), processed_topic)],
        );
        let mut checks = VaultChecks::new("searches", "hubs and links have their children", places);
        let hotels = Hub::read(&snapshot.source, &mut checks, &HOTEL)?;
        let advertisers = Hub::read(&snapshot.source, &mut checks, &ADVERTISER)?;
        let Touched { users, hotels: hotel_names, advertisers: advertiser_names } = &snapshot.redis.touched;
        let touched = (
            users.iter().map(|name| hub_key(name)).collect(),
            marks(&hotels, hotel_names),
            marks(&advertisers, advertiser_names),
        );
        let fold = Fold {
            hotels: vec![0; hotels.names.len()],
            advertisers: vec![0; advertisers.names.len()],
            prices: HashMap::new(),
        };
        Ok(Self {
            checks,
            hotels,
            advertisers,
            link,
            offers,
            by_hand: processed_topic,
            withheld,
            touched,
            searched: Marks::default(),
            offering: Marks::default(),
            fold,
            uncounted: HashMap::new(),
        })
    }

    /// The tables, to look for the next search.
    pub fn tables(&mut self) -> impl Iterator<Item = &mut Ordered> {
        [&mut self.link, &mut self.offers].into_iter()
    }

    /// A search for people.
    pub fn describe(&self, search: &Search) -> String {
        let Search { event_id, user, hotel, search_dt, .. } = search;
        let at = DateTime::from_timestamp_micros(*search_dt).unwrap_or_default();
        let hotel = self.hotels.find(*hotel).map_or("?", |number| self.hotels.name(number));
        format!("the search {event_id:?} of the user with the key {user} for hotel {hotel} at {at}")
    }

    /// Reads a search and checks it by itself; none where it is not in the link.
    pub fn search(&mut self, key: Uuid) -> anyhow::Result<Option<Search>> {
        let mut search = None;
        let checks = &mut self.checks;
        self.link.rows(key, |row| {
            let event_id = row.text(1)?;
            let expected = hub_key(event_id);
            checks.links.compared += 1;
            if key != expected {
                checks.links.differs(|| format!("{LINK}: {event_id:?} has the key {key}, not {expected}"));
            }
            search = Some(Search {
                event_id: event_id.to_owned(),
                user: row.uuid(2)?,
                hotel: row.uuid(3)?,
                search_dt: row.micros(4)?,
                load_dt: row.micros(5)?,
                by_hand: row.text(6)? == self.by_hand,
                offers: None,
            });
            Ok(())
        })?;
        let withheld = self.withheld.get(&key).copied();
        if let Some(search) = &search {
            self.count(search, withheld);
        }
        self.read_offers(key, search.as_mut(), withheld)?;
        if let Some(search) = &search {
            self.checks.childless.compared += 1;
            if search.offers.is_none() {
                let described = self.describe(search);
                self.checks.childless.differs(|| format!("{LINK}: {described} has no offers"));
            }
        }
        Ok(search)
    }

    /// Counts a search for its hotel. Users come later, all together.
    fn count(&mut self, search: &Search, withheld: Option<bool>) {
        let (users, hotels, _) = &self.touched;
        if !counts(withheld, users.contains(&search.user)) {
            *self.uncounted.entry(search.user).or_default() += 1;
        }
        if let Some(hotel) = self.hotels.parent(&mut self.checks, LINK, search.hotel) {
            self.searched.set(hotel);
            self.fold.hotels[hotel as usize] += u32::from(counts(withheld, hotels.has(hotel)));
        }
    }

    fn read_offers(
        &mut self,
        key: Uuid,
        mut search: Option<&mut Search>,
        withheld: Option<bool>,
    ) -> anyhow::Result<()> {
        let (table, hotels, advertisers) = (HOTEL_SEARCH_OFFERS.table, &self.hotels, &self.advertisers);
        let (checks, fold, touched) = (&mut self.checks, &mut self.fold, &self.touched);
        self.offers.rows(key, |row| {
            let version = checks.version(&HOTEL_SEARCH_OFFERS, row)?;
            checks.parent(search.is_some(), LINK, table, key, 1);
            let Some(search) = &mut search else { return Ok(()) };
            if search.offers.is_some() || search.load_dt != version.load_dt {
                checks
                    .childless
                    .differs(|| format!("{table}: {key} is not the only one, or not of its link's record"));
            }
            search.offers = Some(version);
            for advertiser in row.texts(ATTRIBUTES)? {
                let Some(found) = advertisers.parent(checks, table, hub_key(advertiser)) else { continue };
                self.offering.set(found);
                fold.advertisers[found as usize] += u32::from(counts(withheld, touched.2.has(found)));
            }
            let price = row.optional_text(ATTRIBUTES + 1)?.map(str::parse::<i64>).transpose()?;
            let winner = row.optional_text(ATTRIBUTES + 2)?.and_then(|name| advertisers.find(hub_key(name)));
            let hotel = hotels.find(search.hotel);
            if let (Some(price), Some(winner), Some(hotel)) = (price, winner, hotel)
                && counts(withheld, touched.1.has(hotel))
            {
                let lowest = fold.prices.entry(pair(hotel, winner)).or_insert(price);
                *lowest = price.min(*lowest);
            }
            Ok(())
        })
    }

    /// Ends the checks: what no search names.
    pub fn finish(&mut self) {
        self.hotels.childless(&mut self.checks.childless, &self.searched, LINK);
        self.advertisers.childless(&mut self.checks.childless, &self.offering, HOTEL_SEARCH_OFFERS.table);
    }
}

/// The rows of a hub that were touched, by number.
fn marks(hub: &Hub, names: &HashSet<String>) -> Marks {
    let mut marks = Marks::default();
    names.iter().filter_map(|name| hub.find(hub_key(name))).for_each(|number| marks.set(number));
    marks
}

/// True where the metrics count a search for a member.
fn counts(withheld: Option<bool>, touched: bool) -> bool {
    match withheld {
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
