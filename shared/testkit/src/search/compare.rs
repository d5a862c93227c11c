//! Every layer of searches against the model, and Redis against the fold over the vault.

use std::collections::{BTreeMap, BTreeSet};

use redis::AsyncCommands as _;
use serde_json::Value;
use sqlx::PgPool;
use strata_streams::hotel_search::fold::METRICS;
use strata_streams::hotel_search::vault::{HOTEL_SEARCH, HOTEL_SEARCH_OFFERS, MODEL};
use strata_vault::model::Column;

use crate::compare::{Report, of_no_other, of_stream, select, text};
use crate::fleet::Fleet;
use crate::model::Row;
use crate::search::SearchModel;

/// A time as the model writes it.
const MICROS: &str = "at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')";

/// A time in Unix milliseconds.
const MILLIS: &str = "(extract(epoch from load_dt) * 1000)::bigint::text";

/// What has no counterpart, as statements that must find nothing.
const ORPHANS: [(&str, &str); 5] = [
    (
        "searches of nobody",
        "select event_id from dds.l_hotel_search as l where not exists (select from dds.h_user as h where h.h_user_pk = l.h_user_pk)",
    ),
    (
        "searches for nothing",
        "select event_id from dds.l_hotel_search as l where not exists (select from dds.h_hotel as h where h.h_hotel_pk = l.h_hotel_pk)",
    ),
    (
        "offers without a search, or the other way round",
        "select hk_hotel_search_pk::text from dds.l_hotel_search full join dds.s_hotel_search_offers as s \
         using (hk_hotel_search_pk) where event_id is null or s.load_dt is null",
    ),
    (
        "advertisers without a key",
        "select distinct name from dds.s_hotel_search_offers, unnest(advertisers) as name \
         where not exists (select from dds.h_advertiser as h where h.advertiser_name = name)",
    ),
    (
        "rows without load_src",
        "select event_id from dds.l_hotel_search as l join dds.s_hotel_search_offers as s using (hk_hotel_search_pk) \
         where l.load_src = '' or s.load_src <> l.load_src or s.load_dt <> l.load_dt",
    ),
];

/// Compares every layer of searches with the model, and Redis with its fold over dds.
///
/// **Panics** with all differences at once.
pub async fn assert_searches_equal(fleet: &Fleet, model: &SearchModel) {
    let found = search_differences(fleet, model).await;
    assert!(found.is_empty(), "the layers of searches are not what they should be:\n{}", found.join("\n"));
}

/// What [`assert_searches_equal`] would object to.
pub async fn search_differences(fleet: &Fleet, model: &SearchModel) -> Vec<String> {
    let (pool, mut report) = (fleet.pool(), Report::default());
    compare_raw(pool, model, &mut report).await;
    compare_vault(pool, model, &mut report).await;
    compare_metrics(fleet, model, &mut report).await;
    compare_keys(fleet, model, &mut report).await;
    report.into_lines()
}

/// Compares the vault alone with the model, where no other stage has run.
///
/// **Panics** with all differences at once.
pub async fn assert_search_vault_equals(pool: &PgPool, model: &SearchModel) {
    let mut report = Report::default();
    compare_vault(pool, model, &mut report).await;
    report.assert_empty();
}

async fn compare_vault(pool: &PgPool, model: &SearchModel, report: &mut Report) {
    compare_hubs(pool, model, report).await;
    compare_searches(pool, model, report).await;
    for (what, sql) in ORPHANS {
        report.differences(what, select(pool, sql).await, Vec::new());
    }
}

async fn compare_raw(pool: &PgPool, model: &SearchModel, report: &mut Report) {
    let sql = format!(
        "select event_id, user_id::text, hotel_id, to_char(search_dt {MICROS}, \
         (extract(epoch from sent_dttm) * 1000)::bigint::text, payload::text from stg.hotel_search_events"
    );
    let mut actual = Vec::new();
    for mut row in select(pool, sql).await {
        let body: Value = serde_json::from_str(&row[5]).expect("a payload is JSON");
        let received = model.was_received(&row[0], row[4].parse().expect("a time"), &body);
        report.check(received, || format!("stg.hotel_search_events: {row:?} is not the first record"));
        row.truncate(4);
        actual.push(row);
    }
    report.differences("stg.hotel_search_events", actual, model.raw_rows());
}

async fn compare_hubs(pool: &PgPool, model: &SearchModel, report: &mut Report) {
    let (mut hubs, times) = (model.hubs(), model.timestamps());
    for hub in MODEL.hubs {
        let (table, business_key) = (hub.table, hub.business_key.name);
        let wanted = hubs.remove(table).unwrap_or_default();
        let sql = format!(
            "select {}::text, {business_key}, {MILLIS}, ({})::text from {} where {}",
            hub.key,
            of_no_other(&MODEL, hub),
            hub.shape(),
            of_stream(&MODEL, hub)
        );
        let mut actual = select(pool, sql).await;
        for row in &mut actual {
            let shared = row.pop().is_some_and(|own| own == "false");
            let time = row.pop().and_then(|time| time.parse().ok());
            report.check(shared || time.is_some_and(|time| times.contains(&time)), || {
                format!("{table}: {row:?} was loaded at {time:?}, when no record came")
            });
        }
        report.differences(table, actual, wanted.into_iter().collect());
    }
}

async fn compare_searches(pool: &PgPool, model: &SearchModel, report: &mut Report) {
    let (link, satellite) = (&HOTEL_SEARCH, &HOTEL_SEARCH_OFFERS);
    let texts = |columns: &[Column]| columns.iter().map(text).collect::<Vec<_>>().join(", ");
    let (key, said) = (link.key, texts(&MODEL.subject.said()));
    let mut links = select(pool, format!("select {key}::text, {said}, {MILLIS} from {}", link.shape())).await;
    for row in &mut links {
        let time = row.pop().and_then(|time| time.parse().ok());
        report.check(time.is_some_and(|time| model.has_time(&row[1], time)), || {
            format!("{}: {row:?} was loaded at {time:?}, not with its first record", link.table)
        });
    }
    report.differences(link.table, links, model.links());
    let sql = format!("select {key}::text, {} from {}", texts(satellite.attributes), satellite.shape());
    report.differences(satellite.table, select(pool, sql).await, model.offers());
}

/// What the routes tell, against the model and against the fold over the vault.
async fn compare_metrics(fleet: &Fleet, model: &SearchModel, report: &mut Report) {
    let served = fleet.metrics().await;
    let counts = |counts: &BTreeMap<String, u64>| -> Vec<Row> {
        counts.iter().map(|(member, times)| vec![member.clone(), times.to_string()]).collect()
    };
    let prices = |prices: &BTreeMap<String, BTreeMap<String, i64>>| -> Vec<Row> {
        let rows = prices.iter().flat_map(|(hotel, prices)| {
            prices.iter().map(move |(name, price)| vec![hotel.clone(), name.clone(), price.to_string()])
        });
        rows.collect()
    };
    let cases = [
        (counts(&served.users), counts(&model.users())),
        (counts(&served.hotels), counts(&model.hotels())),
        (counts(&served.advertisers), counts(&model.advertisers())),
        (prices(&served.prices), prices(&model.prices())),
    ];
    let lowest = &METRICS.lowest;
    let laws =
        METRICS.frequencies.iter().map(|frequency| (frequency.name, frequency.law, "a::text, b::text"));
    let laws = laws.chain([(lowest.name, lowest.law, "a::text, b::text, c::text")]);
    for ((name, fold, texts), (served, expected)) in laws.zip(cases) {
        report.differences(&format!("{name} as served"), served.clone(), expected);
        let names = texts.replace("::text", "");
        let fold = select(fleet.pool(), format!("select {texts} from ({fold}) as f ({names})")).await;
        report.differences(&format!("{name} as served, against the fold over dds"), served, fold);
    }
}

/// Redis holds what is served and nothing else.
async fn compare_keys(fleet: &Fleet, model: &SearchModel, report: &mut Report) {
    let (mut redis, keys) = (fleet.redis().await, fleet.metrics_keys());
    for (key, expected) in [
        (keys.users(), model.users().len()),
        (keys.hotels(), model.hotels().len()),
        (keys.advertisers(), model.advertisers().len()),
    ] {
        let count: usize = redis.zcard(&key).await.expect("a sorted set");
        report.check(count == expected, || format!("{key}: {count} members, expected {expected}"));
    }
    let mut expected: BTreeSet<String> = model.prices().keys().map(|hotel| keys.offers(hotel)).collect();
    if model.count() > 0 {
        expected.extend([keys.users(), keys.hotels(), keys.offsets(), keys.watermarks()]);
    }
    if !model.advertisers().is_empty() {
        expected.insert(keys.advertisers());
    }
    let found = fleet.metrics_key_names().await;
    let strays: Vec<&String> = found.symmetric_difference(&expected).take(8).collect();
    report.check(strays.is_empty(), || format!("keys of the metrics, missing or too many: {strays:?}"));
}
