//! The comparison itself: it must object to the slightest difference.

use sqlx::Executor as _;
use strata_testkit::search::search_differences;
use strata_testkit::{Fleet, SearchModel};

use super::support::{any_search, assert_exact};
use crate::support::random;

/// One wrong thing each in Redis: key, command, and what must be said.
const IN_REDIS: [(&str, &[&str], &str); 5] = [
    ("users", &["ZINCRBY", "1", "somebody"], "users as served:"),
    ("hotels", &["ZINCRBY", "1", "6030"], "hotels as served:"),
    ("advertisers", &["ZREM", "Amoma"], "advertisers as served:"),
    ("offers:6030", &["HSET", "Nobody", "1"], "prices as served:"),
    ("new:users", &["SET", "left"], "keys of the metrics"),
];

/// One wrong thing each in Postgres, and what must be said.
const IN_POSTGRES: [(&str, &str); 7] = [
    (
        "delete from stg.hotel_search_events where id = (select min(id) from stg.hotel_search_events)",
        "stg.hotel_search_events: 149 rows",
    ),
    (
        "update stg.hotel_search_events set payload = payload || '{\"x\": 1}' \
         where id = (select max(id) from stg.hotel_search_events)",
        "is not the first record",
    ),
    (
        "update dds.h_hotel set load_dt = load_dt + interval '1 day' where hotel_id = '6030'",
        "when no record came",
    ),
    ("delete from dds.h_advertiser where advertiser_name = 'Amoma'", "advertisers without a key"),
    (
        "update dds.l_hotel_search set search_dt = search_dt + interval '1 second' \
         where event_id = (select min(event_id) from dds.l_hotel_search)",
        "l_hotel_search: 150 rows",
    ),
    (
        "update dds.l_hotel_search set load_dt = load_dt - interval '1 second' \
         where event_id = (select max(event_id) from dds.l_hotel_search)",
        "not with its first record",
    ),
    (
        "delete from dds.s_hotel_search_offers where hk_hotel_search_pk = \
         (select max(hk_hotel_search_pk::text)::uuid from dds.s_hotel_search_offers)",
        "offers without a search",
    ),
];

/// True when the comparison says this.
async fn says(fleet: &Fleet, model: &SearchModel, what: &str) -> bool {
    search_differences(fleet, model).await.iter().any(|line| line.contains(what))
}

#[tokio::test]
async fn the_comparison_of_searches_notices_what_is_wrong() {
    // GIVEN layers that equal the model
    let fleet = Fleet::launch().await;
    let mut random = random();
    let bodies: Vec<_> = (0..150).map(|_| any_search(&mut random).build()).collect();
    fleet.ingest_searches(&bodies).await;
    let model = assert_exact(&fleet).await;
    // WHEN one thing after the other goes wrong THEN each is noticed, and not before
    for (key, command, what) in IN_REDIS {
        assert!(!says(&fleet, &model, what).await, "{what} too early");
        fleet.spoil_metrics(key, command).await;
        assert!(says(&fleet, &model, what).await, "{what} is not said of {key} {command:?}");
    }
    for (sql, what) in IN_POSTGRES {
        assert!(!says(&fleet, &model, what).await, "{what} too early");
        fleet.pool().execute(sql).await.expect(sql);
        assert!(says(&fleet, &model, what).await, "{what} is not said of {sql}");
    }
}
