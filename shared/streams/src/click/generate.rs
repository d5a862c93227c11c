//! Plausible clicks, and the check of received ones.

use std::sync::LazyLock;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use strata_events::event_id::EVENT_ID_HEADER;
use strata_events::{Contract, Reject};
use uuid::{Builder, Uuid};

use super::Click;
use crate::skew::Skew;
use crate::source::{Accepted, Event, GenerateError, Generator, Headers, Start};

/// Pages of the site.
const PAGES: usize = 100;

/// People who click.
const USERS: usize = 100;

/// Countries with their largest city, the most frequent first.
const COUNTRIES: [(&str, &str); 30] = [
    ("India", "Mumbai"),
    ("United States", "New York"),
    ("Brazil", "São Paulo"),
    ("Germany", "Berlin"),
    ("Portugal", "Lisboa"),
    ("France", "Paris"),
    ("United Kingdom", "London"),
    ("Spain", "Madrid"),
    ("Italy", "Roma"),
    ("Poland", "Warszawa"),
    ("Türkiye", "İstanbul"),
    ("Ukraine", "Київ"),
    ("Japan", "東京"),
    ("Mexico", "Ciudad de México"),
    ("Canada", "Toronto"),
    ("Australia", "Sydney"),
    ("Netherlands", "Amsterdam"),
    ("Sweden", "Stockholm"),
    ("Norway", "Oslo"),
    ("Argentina", "Buenos Aires"),
    ("South Korea", "서울"),
    ("Indonesia", "Jakarta"),
    ("Kazakhstan", "Алматы"),
    ("Greece", "Αθήνα"),
    ("Czechia", "Praha"),
    ("Austria", "Wien"),
    ("Switzerland", "Zürich"),
    ("Egypt", "القاهرة"),
    ("Nigeria", "Lagos"),
    ("Côte d'Ivoire", "Abidjan"),
];

/// Browser, operating system and device.
const CLIENTS: [(&str, &str, &str); 5] = [
    (
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "X11; Linux x86_64",
        "desktop",
    ),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0", "Windows NT 10.0", "desktop"),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5) Safari/604.1", "iOS 17.5", "mobile"),
    ("Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile", "Android 14", "mobile"),
    ("Mozilla/5.0 (iPad; CPU OS 17_5) Safari/604.1", "iPadOS 17.5", "tablet"),
];

/// The chances of pages, users and countries, computed once for all requests.
struct Chances {
    pages: Skew,
    users: Skew,
    countries: Skew,
}

static CHANCES: LazyLock<Chances> = LazyLock::new(|| Chances {
    pages: Skew::new(PAGES, 5),
    users: Skew::new(USERS, 20),
    countries: Skew::new(COUNTRIES.len(), 3),
});

/// Checks a received click; its key is its user, its identity the sender's or else a new one.
pub fn accept(bytes: &[u8]) -> Result<Accepted, Reject> {
    let click = Click::decode(bytes)?;
    let event_id = click.event_id.unwrap_or_else(|| Uuid::now_v7().to_string());
    Ok(Accepted::AsReceived { key: key(&click.user_id), headers: headers(event_id) })
}

/// Key of a click; the spaces around an id are none of it.
fn key(user_id: &str) -> Vec<u8> {
    user_id.trim().as_bytes().to_vec()
}

/// The header that identifies a click.
fn headers(event_id: String) -> Headers {
    vec![(EVENT_ID_HEADER.into(), event_id)]
}

/// Makes a generator of clicks; what can be repeated comes with the same identities again.
pub fn generator(start: Start) -> Box<dyn Generator> {
    let rng = ChaCha8Rng::seed_from_u64(start.seed());
    Box::new(ClickGenerator { rng, start, clock: start.clock() })
}

/// Clicks one after the other.
struct ClickGenerator {
    rng: ChaCha8Rng,
    start: Start,
    /// The time of events that can be repeated; none means now.
    clock: Option<DateTime<Utc>>,
}

impl Generator for ClickGenerator {
    fn next_event(&mut self) -> Result<Event, GenerateError> {
        let at = self.time();
        let user = CHANCES.users.choose(&mut self.rng);
        let country = CHANCES.countries.choose(&mut self.rng);
        let (country, city) = COUNTRIES.get(country).copied().unwrap_or_default();
        let (browser, os, device) = CLIENTS[self.rng.random_range(0..CLIENTS.len())];
        let click = Click {
            user_id: Uuid::new_v3(&Uuid::NAMESPACE_X500, format!("click user {user}").as_bytes()).to_string(),
            timestamp: at.to_rfc3339_opts(SecondsFormat::Millis, false),
            url: format!("http://shop.example/page/{}", CHANCES.pages.choose(&mut self.rng)),
            country: country.to_owned(),
            city: city.to_owned(),
            browser: browser.to_owned(),
            os: os.to_owned(),
            device: device.to_owned(),
            event_id: None,
        };
        let random: [u8; 10] = self.rng.random();
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
        let event_id = Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string();
        let payload = serde_json::to_vec(&click)?;
        Ok(Event { key: click.user_id.into_bytes(), payload, headers: headers(event_id) })
    }
}

impl ClickGenerator {
    /// When the click happens: now, or a moment after the one before.
    fn time(&mut self) -> DateTime<Utc> {
        let Some(clock) = &mut self.clock else { return Utc::now() };
        *clock += match self.start {
            Start::Again { gap, .. } => TimeDelta::from_std(gap).unwrap_or_default(),
            _ => TimeDelta::milliseconds(self.rng.random_range(1..200)),
        };
        *clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(seed: u64, count: usize) -> Vec<Event> {
        let mut clicks = generator(Start::Seed(seed));
        (0..count).map(|_| clicks.next_event().expect("a click")).collect()
    }

    #[test]
    fn a_seed_makes_the_same_clicks_again_and_all_are_accepted() {
        let clicks = events(7, 500);
        assert_eq!(clicks, events(7, 500));
        assert_ne!(clicks, events(8, 500));
        for event in &clicks {
            let accepted = accept(&event.payload).expect("a click");
            assert!(matches!(accepted, Accepted::AsReceived { key, .. } if key == event.key));
        }
    }
}
