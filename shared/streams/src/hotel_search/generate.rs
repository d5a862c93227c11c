//! Plausible searches, and the check of received ones.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::Number;
use strata_events::event_id::EVENT_ID_HEADER;
use strata_events::{Contract, Reject};
use uuid::{Builder, Uuid};

use crate::hotel_search::{Offer, Search};
use crate::skew::Skew;
use crate::source::{Accepted, Event, GenerateError, Generator, Headers, Start};

/// Hotels that are searched for.
const HOTELS: usize = 5000;

/// First hotel id.
const FIRST_HOTEL: usize = 5000;

/// Scatters popular hotels over the ids; has no factor in common with [`HOTELS`].
const HOTEL_STRIDE: usize = 1777;

/// People who search. Most of them are rare, so the more searches, the more are met.
const USERS: usize = 200_000;

/// Most advertisers of one search.
const MAX_ADVERTISERS: usize = 8;

/// Most offers of one advertiser in a search.
const MAX_OFFERS: usize = 3;

/// Searches that find nothing.
const NOTHING_SHARE: f64 = 0.03;

/// Advertisers that are listed without an offer.
const NO_OFFER_SHARE: f64 = 0.02;

/// Searches whose time has a fraction.
const FRACTION_SHARE: f64 = 0.25;

/// Who advertises, the most frequent first.
const ADVERTISERS: [&str; 50] = [
    "Booking.com",
    "Expedia",
    "Hotels.com",
    "Agoda",
    "Amoma",
    "Trip.com",
    "Priceline",
    "HRS",
    "Otel.com",
    "Destinia",
    "eDreams",
    "Opodo",
    "Lastminute",
    "Hotelopia",
    "Logitravel",
    "Travelocity",
    "Orbitz",
    "Ostrovok",
    "Elvoline",
    "Prestigia",
    "Splendia",
    "Hostelworld",
    "ZenHotels",
    "Getaroom",
    "Snaptravel",
    "Stayforlong",
    "Tui",
    "Accor",
    "Hilton",
    "Marriott",
    "NH Hotels",
    "Melia",
    "Radisson",
    "Ibis",
    "Novotel",
    "Scandic",
    "Motel One",
    "Premier Inn",
    "Travelodge",
    "B&B Hotels",
    "Citadines",
    "Adagio",
    "Leonardo",
    "Steigenberger",
    "Maritim",
    "Barceló",
    "Riu",
    "Iberostar",
    "Kempinski",
    "Отелло",
];

/// The chances of hotels, users and advertisers, computed once for all requests.
struct Chances {
    hotels: Skew,
    users: Skew,
    advertisers: Skew,
}

static CHANCES: LazyLock<Chances> = LazyLock::new(|| Chances {
    hotels: Skew::new(HOTELS, 5),
    users: Skew::new(USERS, 50),
    advertisers: Skew::new(ADVERTISERS.len(), 3),
});

/// Checks a received search; its key is its hotel, its identity the sender's or else a new one.
pub fn accept(bytes: &[u8]) -> Result<Accepted, Reject> {
    let search = Search::decode(bytes)?;
    let event_id = search.event_id.unwrap_or_else(|| Uuid::now_v7().to_string());
    Ok(Accepted::AsReceived { key: key(&search.hotel_id), headers: headers(event_id) })
}

/// Key of a search; the spaces around an id are none of it.
pub fn key(hotel_id: &str) -> Vec<u8> {
    hotel_id.trim().as_bytes().to_vec()
}

/// The header that identifies a search.
pub fn headers(event_id: String) -> Headers {
    vec![(EVENT_ID_HEADER.into(), event_id)]
}

/// Makes a generator of searches; what can be repeated comes with the same identities again.
pub fn generator(start: Start) -> Box<dyn Generator> {
    let rng = ChaCha8Rng::seed_from_u64(start.seed());
    Box::new(SearchGenerator { rng, start, clock: start.clock() })
}

/// Searches one after the other.
struct SearchGenerator {
    rng: ChaCha8Rng,
    start: Start,
    /// The time of events that can be repeated; none means now.
    clock: Option<DateTime<Utc>>,
}

impl Generator for SearchGenerator {
    fn next_event(&mut self) -> Result<Event, GenerateError> {
        let at_ms = self.time_ms();
        let hotel = CHANCES.hotels.choose(&mut self.rng);
        let search = Search {
            user_id: user_id(CHANCES.users.choose(&mut self.rng)),
            hotel_id: (FIRST_HOTEL + hotel * HOTEL_STRIDE % HOTELS).to_string(),
            search_timestamp: self.timestamp(at_ms),
            hotel_advertisers: self.advertisers(hotel),
            event_id: None,
        };
        let event_id = self.event_id(at_ms);
        let payload = serde_json::to_vec(&search)?;
        Ok(Event { key: search.hotel_id.into_bytes(), payload, headers: headers(event_id) })
    }
}

impl SearchGenerator {
    /// When the search happens: now, or a moment after the one before.
    fn time_ms(&mut self) -> i64 {
        match &mut self.clock {
            Some(clock) => {
                *clock += match self.start {
                    Start::Again { gap, .. } => TimeDelta::from_std(gap).unwrap_or_default(),
                    _ => TimeDelta::milliseconds(self.rng.random_range(1..200)),
                };
                clock.timestamp_millis()
            }
            None => Utc::now().timestamp_millis(),
        }
    }

    /// The time as senders write it: whole seconds, or milliseconds as a fraction.
    fn timestamp(&mut self, at_ms: i64) -> Number {
        let fraction = self.rng.random_bool(FRACTION_SHARE).then(|| Number::from_f64(at_ms as f64 / 1000.0));
        fraction.flatten().unwrap_or_else(|| Number::from(at_ms / 1000))
    }

    /// A UUIDv7 of that time whose random part comes from the seed.
    fn event_id(&mut self, at_ms: i64) -> String {
        let random: [u8; 10] = self.rng.random();
        let millis = u64::try_from(at_ms).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
    }

    /// Who offers what; one that is chosen twice stands there once.
    fn advertisers(&mut self, hotel: usize) -> BTreeMap<String, Vec<Offer>> {
        let mut found = BTreeMap::new();
        if self.rng.random_bool(NOTHING_SHARE) {
            return found;
        }
        // Every hotel has its price; the advertisers differ by some percent.
        let base = 3000 + (hotel * 7919 % 27_000) as i64;
        for _ in 0..self.rng.random_range(1..=MAX_ADVERTISERS) {
            let name = ADVERTISERS.get(CHANCES.advertisers.choose(&mut self.rng));
            let offers = self.offers(base);
            found.insert(name.copied().unwrap_or_default().to_owned(), offers);
        }
        found
    }

    /// The offers of one advertiser.
    fn offers(&mut self, base: i64) -> Vec<Offer> {
        if self.rng.random_bool(NO_OFFER_SHARE) {
            return Vec::new();
        }
        let count = self.rng.random_range(1..=MAX_OFFERS);
        (0..count)
            .map(|_| Offer {
                eurocents: Some(base * self.rng.random_range(70..160) / 100),
                breakfast: [Some(true), Some(false), None][self.rng.random_range(0..3)],
            })
            .collect()
    }
}

/// The user of a rank, the same person in every run.
fn user_id(rank: usize) -> Uuid {
    Uuid::new_v3(&Uuid::NAMESPACE_X500, format!("hotel search user {rank}").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    const GOLDEN: &str = crate::hotel_search::golden::RAW;

    /// Events that nobody can repeat.
    const FRESH: Start = Start::Fresh { first_id: 0 };

    fn take(start: Start, n: usize) -> Vec<Event> {
        let mut generator = generator(start);
        (0..n).map(|_| generator.next_event().unwrap()).collect()
    }

    fn event_id(event: &Event) -> Uuid {
        let [(name, value)] = &event.headers[..] else { panic!("{:?}", event.headers) };
        assert_eq!(name, EVENT_ID_HEADER);
        value.parse().unwrap()
    }

    fn accepted(json: &str) -> (Vec<u8>, String) {
        match accept(json.as_bytes()).unwrap() {
            Accepted::AsReceived { key, headers } => (key, headers[0].1.clone()),
            made @ Accepted::Made(_) => panic!("{made:?}"),
        }
    }

    #[test]
    fn generated_searches_are_valid_and_dated_now() {
        let now = Utc::now().timestamp_micros();
        let (mut nothing, mut fractions) = (0, 0);
        for event in take(FRESH, 5000) {
            let search = Search::decode(&event.payload).unwrap();
            assert_eq!(event.key, search.hotel_id.as_bytes());
            assert!((search.timestamp_micros() - now).abs() < 60_000_000);
            assert!(search.hotel_advertisers.len() <= MAX_ADVERTISERS);
            assert!(search.hotel_advertisers.values().all(|offers| offers.len() <= MAX_OFFERS));
            assert!(search.hotel_advertisers.values().flatten().all(|offer| offer.price().is_some()));
            assert_eq!(event_id(&event).get_version_num(), 7);
            nothing += usize::from(search.hotel_advertisers.is_empty());
            fractions += usize::from(search.search_timestamp.is_f64());
        }
        assert!((100..220).contains(&nothing), "{nothing} of 5000 found nothing");
        assert!((1000..1500).contains(&fractions), "{fractions} of 5000 have a fraction");
    }

    #[test]
    fn some_are_far_more_frequent_than_others_and_users_grow_with_the_searches() {
        let mut hotels = HashMap::<String, u32>::new();
        let mut advertisers = HashMap::<String, u32>::new();
        let mut users = HashMap::<Uuid, u32>::new();
        let mut met = Vec::new();
        for (at, event) in (1..).zip(take(Start::Seed(1), 40_000)) {
            let search = Search::decode(&event.payload).unwrap();
            *hotels.entry(search.hotel_id).or_default() += 1;
            *users.entry(search.user_id).or_default() += 1;
            for name in search.hotel_advertisers.into_keys() {
                *advertisers.entry(name).or_default() += 1;
            }
            if at % 10_000 == 0 {
                met.push(users.len());
            }
        }
        assert!(hotels.len() > 3000 && hotels.len() <= HOTELS, "{} hotels", hotels.len());
        assert_eq!(advertisers.len(), ADVERTISERS.len());
        let most = |seen: HashMap<String, u32>| seen.into_values().max().unwrap();
        assert!(most(hotels) > 40_000 / 50, "the first hotel is one of at most fifty searches");
        assert!(most(advertisers) > 40_000 / 4, "the first advertiser is in one of at most four");
        assert!(users.values().max() > Some(&60));
        let first_time: Vec<usize> = met.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(met[0] > 5000 && first_time.is_sorted_by(|a, b| a > b), "{met:?}");
    }

    #[test]
    fn every_hotel_has_an_id_of_its_own() {
        let ids: BTreeSet<usize> = (0..HOTELS).map(|hotel| hotel * HOTEL_STRIDE % HOTELS).collect();
        assert_eq!(ids.len(), HOTELS);
        assert_eq!(ADVERTISERS.iter().collect::<BTreeSet<_>>().len(), ADVERTISERS.len());
    }

    #[test]
    fn a_received_search_keeps_its_identity_or_gets_a_new_one() {
        let (key, first) = accepted(GOLDEN);
        assert_eq!(key, b"6033");
        assert_eq!(first.parse::<Uuid>().unwrap().get_version_num(), 7);
        assert_ne!(accepted(GOLDEN).1, first);
        let named = GOLDEN.replacen('{', "{\"event_id\":\"мой-1\",", 1).replace("6033", " 6033 ");
        assert_eq!(accepted(&named), (b"6033".to_vec(), "мой-1".to_owned()));
        for (bad, code) in [
            (GOLDEN.replacen('{', "{\"event_id\":\"\",", 1), "invalid_text"),
            (GOLDEN.replacen('{', "{\"event_id\":7,", 1), "invalid_structure"),
            (GOLDEN.replace("001adddd", "001addd"), "invalid_structure"),
            ("{".to_owned(), "malformed_json"),
        ] {
            assert_eq!(accept(bad.as_bytes()).unwrap_err().code, code, "{bad}");
        }
    }

    #[test]
    fn a_push_that_is_repeated_gives_the_same_searches_with_the_same_identities() {
        let again = Start::Again { first_id: 0, id: Uuid::now_v7(), gap: std::time::Duration::ZERO };
        assert_eq!(take(again, 200), take(again, 200));
        let ids: HashSet<Uuid> = take(again, 200).iter().map(event_id).collect();
        assert_eq!(ids.len(), 200);
    }

    proptest! {
        #[test]
        fn the_same_seed_gives_the_same_bytes(seed: u64, n in 1_usize..200) {
            let (short, long) = (take(Start::Seed(seed), n), take(Start::Seed(seed), 200));
            prop_assert_eq!(&short[..], &long[..n]);
            let ids: HashSet<Uuid> = long.iter().map(event_id).collect();
            prop_assert_eq!(ids.len(), 200);
            for event in &long {
                prop_assert!(accept(&event.payload).is_ok());
            }
            let other = take(Start::Seed(seed.wrapping_add(1)), 200);
            prop_assert!(other.iter().all(|event| !ids.contains(&event_id(event))));
        }
    }
}
