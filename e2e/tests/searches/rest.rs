//! The routes of the metrics.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use strata_testkit::{Fleet, Service, search};

use super::support::{any_search, assert_exact};
use crate::support::random;

/// The routes, with the largest page of each.
const ROUTES: [(&str, usize); 4] = [
    ("/users", 10_000),
    ("/hotels", 10_000),
    ("/advertisers", 10_000),
    ("/hotel_min_offer_per_advertiser", 1000),
];

/// A fleet that counted random searches.
async fn launch_counted() -> Fleet {
    let fleet = Fleet::launch().await;
    let mut random = random();
    let mut bodies: Vec<Value> = (0..250).map(|_| any_search(&mut random).build()).collect();
    bodies.push(search(1, "Отель / & ?limit=1#").offer("Отелло", 100).build());
    fleet.ingest_searches(&bodies).await;
    assert_exact(&fleet).await;
    fleet
}

/// Members in the order that is promised: most frequent first, then by name.
fn ranked(counts: &BTreeMap<String, u64>) -> Vec<&String> {
    let mut entries: Vec<_> = counts.iter().collect();
    entries.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.as_bytes().cmp(b.0.as_bytes())));
    entries.into_iter().map(|(member, _)| member).collect()
}

#[tokio::test]
async fn pages_visit_everybody_once_in_a_stable_order() {
    // GIVEN metrics of random searches
    let fleet = launch_counted().await;
    let model = fleet.search_model().await;
    let (hotels, prices) = (model.hotels(), model.prices());
    let cases = [
        ("/users", model.users()),
        ("/hotels", hotels.clone()),
        ("/advertisers", model.advertisers()),
        ("/hotel_min_offer_per_advertiser", hotels),
    ];
    for (path, counts) in cases {
        let mut expected = ranked(&counts);
        if path.starts_with("/hotel_min") {
            expected.retain(|hotel| prices.contains_key(*hotel));
        }
        // WHEN they are read one at a time
        let single = fleet.ranked(path, 1).await;
        // THEN each shows once, most frequent first, then by name
        assert_eq!(single.iter().map(|(member, _)| member).collect::<Vec<_>>(), expected, "{path}");
        // AND larger pages hold the same entries
        let mut sorted = single.clone();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        for limit in [2, 7, 1000] {
            let mut entries = fleet.ranked(path, limit).await;
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            assert_eq!(entries, sorted, "{path} by {limit}");
        }
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_and_any_web_page_may_ask_for_what_tells_of_nobody() {
    // GIVEN metrics of random searches
    let fleet = launch_counted().await;
    for (path, most) in ROUTES {
        // WHEN a limit or a cursor does not fit
        let too_many = format!("limit={}", most + 1);
        for query in
            ["limit=0", "limit=-1", "limit=ten", "limit=", &too_many, "cursor=2", "cursor=", "cursor=5-zz"]
        {
            let answer = fleet.get(Service::Cdm, &format!("{path}?{query}")).await;
            // THEN the answer says so
            assert_eq!(answer.status, 400, "{path}?{query}: {}", answer.body);
            let error = answer.body["error"].as_str().unwrap_or_default();
            assert!(error.contains(query.split('=').next().unwrap_or_default()), "{path}?{query}: {error}");
        }
        assert_eq!(fleet.get(Service::Cdm, &format!("{path}?limit={most}")).await.status, 200, "{path}");
        // AND what changes nothing stays that way
        assert_eq!(fleet.post(Service::Cdm, path, &json!({})).await.status, 405, "{path}");
        if path == "/users" {
            // It tells of persons, which is no other page's business.
            continue;
        }
        // WHEN a web page asks, with or without asking before
        let origin = ("origin", "https://travel.example");
        let asked = fleet.request(Service::Cdm, "GET", path, &[origin], None).await;
        let method = ("access-control-request-method", "GET");
        let preflight = fleet.request(Service::Cdm, "OPTIONS", path, &[origin, method], None).await;
        // THEN it may
        assert_eq!((asked.status, asked.header("access-control-allow-origin")), (200, Some("*")), "{path}");
        assert!((200..300).contains(&preflight.status), "{path}: {}", preflight.status);
        assert_eq!(preflight.header("access-control-allow-origin"), Some("*"), "{path}");
        let methods = preflight.header("access-control-allow-methods").unwrap_or_default();
        assert!(methods.contains("GET"), "{path}: {methods}");
    }
}
