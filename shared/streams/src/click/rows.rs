//! A batch of clicks as rows of the vault: one row a key, sorted, the earliest record standing. Pure.

use std::collections::BTreeMap;

use strata_vault::model::Parent;
use strata_vault::rows::{Batch, KeyedRows, Load, SatelliteRows};
use strata_vault::{Value, fingerprint, hub_key};
use uuid::Uuid;

use super::CleanedClick;
use super::vault::{CLICK, CLICK_CLIENTS, COUNTRY, PAGE};
use crate::vault::USER;

/// One click with its vault keys.
#[derive(Debug)]
pub struct ClickFact<'a> {
    /// Identity of the click.
    pub event_id: &'a str,
    /// What was clicked.
    pub click: &'a CleanedClick,
    /// When it came, and from where.
    pub load: Load,
    /// `hk_click_pk`.
    pub click_pk: Uuid,
    /// `h_user_pk`.
    pub user_pk: Uuid,
    /// `h_page_pk`.
    pub page_pk: Uuid,
    /// `h_country_pk`.
    pub country_pk: Uuid,
}

impl<'a> ClickFact<'a> {
    /// Computes the keys of a click.
    pub fn new(event_id: &'a str, click: &'a CleanedClick, load: Load) -> Self {
        Self {
            event_id,
            click,
            load,
            click_pk: hub_key(event_id),
            user_pk: hub_key(&click.user_id),
            page_pk: hub_key(&click.url),
            country_pk: hub_key(&click.country),
        }
    }
}

/// Of each click the index of its earliest record in the batch, by key. Only that one counts.
pub fn earliest(facts: &[ClickFact<'_>]) -> BTreeMap<Uuid, usize> {
    let mut clicks = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate() {
        let known = clicks.entry(fact.click_pk).or_insert(index);
        if fact.load < facts[*known].load {
            *known = index;
        }
    }
    clicks
}

/// The links of clicks.
pub fn links<'a, 'f>(facts: impl IntoIterator<Item = &'f ClickFact<'a>>) -> KeyedRows<'a>
where
    'a: 'f,
{
    let mut rows = KeyedRows::of(Parent::Link(&CLICK));
    for fact in facts {
        let said = || {
            [
                Value::Text(fact.event_id),
                Value::Uuid(fact.user_pk),
                Value::Uuid(fact.page_pk),
                Value::Uuid(fact.country_pk),
                Value::Timestamp(fact.click.timestamp),
            ]
        };
        rows.put(fact.click_pk, said, &fact.load);
    }
    rows
}

/// What clicks that the vault did not know bring beside their links.
pub fn rest<'a, 'f>(facts: impl IntoIterator<Item = &'f ClickFact<'a>>) -> Batch<'a>
where
    'a: 'f,
{
    let [mut users, mut pages, mut countries] = [&USER, &PAGE, &COUNTRY].map(KeyedRows::hub);
    let mut clients = SatelliteRows::of(&CLICK_CLIENTS);
    for ClickFact { click, load, click_pk, user_pk, page_pk, country_pk, .. } in facts {
        users.put(*user_pk, || [Value::Text(&click.user_id)], load);
        pages.put(*page_pk, || [Value::Text(&click.url)], load);
        countries.put(*country_pk, || [Value::Text(&click.country)], load);
        let said = [&click.city, &click.browser, &click.os, &click.device].map(|text| Value::Text(text));
        clients.push(*click_pk, load, None, fingerprint(said), said);
    }
    Batch { hubs: vec![users, pages, countries], links: Vec::new(), satellites: vec![clients] }
}

#[cfg(test)]
mod tests {
    use strata_events::Contract as _;

    use super::*;
    use crate::click::golden::CLEANED;

    /// The vectors of the contract.
    #[test]
    fn the_golden_click_has_the_keys_of_the_contract() {
        let click = CleanedClick::decode(CLEANED.as_bytes()).expect("a click");
        let source = "clickstream/0/1".parse().expect("an origin");
        let fact = ClickFact::new("a-1", &click, Load::new(click.timestamp, &source));
        let keys = [fact.user_pk, fact.page_pk, fact.country_pk].map(|key| key.to_string());
        assert_eq!(
            keys,
            [
                "2f8c58c0-a8e2-398a-96f7-97944e83c06e",
                "78aa26ee-932c-3986-9b08-6ee8157f54d4",
                "7c842c2a-2114-3414-9bf8-7cb768a2b158"
            ]
        );
        assert_eq!(fact.click_pk, hub_key("a-1"));
    }

    #[test]
    fn of_a_click_that_comes_twice_the_earliest_record_counts() {
        let click = CleanedClick::decode(CLEANED.as_bytes()).expect("a click");
        let fact = |offset: i64| {
            let source = format!("clickstream/0/{offset}").parse().expect("an origin");
            ClickFact::new("a-1", &click, Load::new(click.timestamp, &source))
        };
        assert_eq!(earliest(&[fact(2), fact(1), fact(3)]).into_values().collect::<Vec<_>>(), [1]);
    }
}
