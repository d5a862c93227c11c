//! The comparison of a stream on a real Postgres, of the orders: wherever the rows are cut, a difference is found, and found once.

use std::collections::BTreeMap;

use sqlx::{Executor as _, PgPool};
use strata_service::Settings;
use strata_streams::order;
use strata_streams::order::vault::{
    CATEGORY, ORDER_CATEGORY, ORDER_COST, ORDER_PRODUCT, ORDER_STATUS, ORDER_USER, PRODUCT, PRODUCT_CATEGORY,
    PRODUCT_NAMES, PRODUCT_RESTAURANT, RESTAURANT, RESTAURANT_NAMES,
};
use strata_streams::vault::USER;
use strata_testkit::{Servers, TestDatabase};
use strata_vault::model::{Hub, Link, Satellite};
use strata_vault::{hashdiff, hub_key, link_key};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::metrics::Withheld;
use super::ordered::{Source, least};
use super::reader::Reader;
use super::report::Check;
use super::snapshot::Snapshot;
use super::staged::Staged;
use super::subjects::Subjects;

/// Orders of the warehouse.
const ORDERS: i64 = 300;

/// A warehouse in which every order says the same.
async fn fill(pool: &PgPool) {
    let run = async |sql: String| {
        pool.execute(sql.as_str()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    };
    let small = [(&PRODUCT, "p"), (&CATEGORY, "c"), (&RESTAURANT, "r"), (&USER, "u")];
    for (Hub { table, .. }, name) in small {
        run(format!("insert into dds.{table} values ('{}', '{name}', now(), 't')", hub_key(name))).await;
    }
    let link = async |Link { table, .. }: &Link, hubs: [Uuid; 2]| {
        let [first, second] = hubs;
        run(format!(
            "insert into dds.{table} values ('{}', '{first}', '{second}', now(), 't')",
            link_key(&hubs)
        ))
        .await;
    };
    link(&PRODUCT_RESTAURANT, [hub_key("p"), hub_key("r")]).await;
    link(&PRODUCT_CATEGORY, [hub_key("p"), hub_key("c")]).await;
    let satellite = async |satellite: &Satellite, parent: Uuid, values: &[&str]| {
        let Satellite { table, hashdiff: column, attributes, .. } = satellite;
        let columns: Vec<&str> = attributes.iter().map(|attribute| attribute.name).collect();
        run(format!(
            "insert into dds.{table} ({}, {}, {column}, load_dt, load_seq, load_src) \
             values ('{parent}', '{}', '{}', now(), 0, 't')",
            satellite.parent.key(),
            columns.join(", "),
            values.join("', '"),
            hashdiff(values)
        ))
        .await;
    };
    satellite(&PRODUCT_NAMES, hub_key("p"), &["soup"]).await;
    satellite(&RESTAURANT_NAMES, hub_key("r"), &["inn"]).await;
    for id in 0..ORDERS {
        let key = hub_key(&id.to_string());
        run(format!("insert into dds.h_order values ('{key}', {id}, now(), now(), 't')")).await;
        for (model, other) in [(&ORDER_USER, "u"), (&ORDER_PRODUCT, "p"), (&ORDER_CATEGORY, "c")] {
            link(model, [key, hub_key(other)]).await;
        }
        satellite(&ORDER_COST, key, &["12.5", "12.5"]).await;
        satellite(&ORDER_STATUS, key, &["CLOSED"]).await;
    }
    run(format!(
        "insert into stg.order_events (object_id, object_type, sent_dttm, payload) \
         select id, 'order', now(), '{{\"restaurant\": {{\"id\": \"r\"}}, \"date\": \"2025-01-01T00:00:00Z\", \
             \"user\": {{\"id\": \"u\"}}, \"order_items\": [{{\"id\": \"p\", \"quantity\": 1}}], \
             \"final_status\": \"CLOSED\", \"cost\": 12.5, \"payment\": 12.50}}' \
         from generate_series(0, {ORDERS} - 1) as id"
    ))
    .await;
}

/// Compares the raw layer and the vault, so many bytes of a table at a time.
fn compare(settings: &Settings, runtime: &Handle, chunk: usize) -> Vec<Check> {
    let (reader, name) = Reader::export(runtime, &settings.postgres).expect("a snapshot");
    let source = Source { chunk, ..Source::new(runtime.clone(), settings.postgres.clone(), name) };
    let snapshot = Snapshot::of_nothing(settings, source);
    let mut vault = Subjects::open(&snapshot, &order::DEF, Withheld::default()).expect("the vault");
    let (mut staged, mut rows) = Staged::read(&snapshot, &order::DEF).expect("the raw layer");
    while let Some(key) = least(vault.tables().chain([&mut rows])).expect("a key") {
        let order = vault.subject(key).expect("an order");
        staged.compare(&mut rows, key, &order, &vault.shape).expect("its version");
    }
    let vault = vault.finish().expect("the end");
    drop(reader);
    let checks = staged.checks().chain(vault.checks.all());
    checks.chain(vault.pairs).chain(vault.histories).collect()
}

#[tokio::test]
async fn a_difference_is_found_once_wherever_the_rows_are_cut() {
    // GIVEN a warehouse that agrees
    let servers = Servers::from_env().await;
    let database = TestDatabase::create(&servers).await;
    fill(database.pool()).await;
    let url = database.url();
    let settings = Settings::from_lookup("STG_PORT", |name| (name == "DATABASE_URL").then(|| url.clone()));
    let settings = settings.expect("settings fit");
    let outcome = async |chunk: usize| {
        let (settings, runtime) = (settings.clone(), Handle::current());
        let checks = tokio::task::spawn_blocking(move || compare(&settings, &runtime, chunk)).await;
        let checks = checks.expect("the comparison");
        checks
            .into_iter()
            .map(|check| (check.name, (check.compared, check.named)))
            .collect::<BTreeMap<_, _>>()
    };
    let clean = outcome(usize::MAX).await;
    assert!(clean.values().all(|(_, named)| named.is_empty()), "{clean:#?}");
    assert_eq!(clean["stg → dds: every order has arrived"].0, ORDERS);
    // WHEN every order lacks a row, each in one of five tables, the first and the last key among them
    let tables =
        ["dds.l_order_product", "dds.s_order_cost", "dds.s_order_status", "dds.h_order", "stg.order_events"];
    let mut expected = BTreeMap::new();
    for id in 0..ORDERS {
        let table = tables[id as usize % tables.len()];
        let spoil = match table {
            "stg.order_events" => format!("delete from {table} where object_id = {id}"),
            _ => format!("delete from {table} where h_order_pk = '{}'", hub_key(&id.to_string())),
        };
        database.pool().execute(spoil.as_str()).await.expect("a row less");
        let said = match table {
            "dds.h_order" => format!("stg.order_events: order {id} is not in h_order"),
            "stg.order_events" => format!("h_order: order {id} is not in stg.order_events"),
            _ => format!("h_order: order {id} has no row in {}", table.trim_start_matches("dds.")),
        };
        expected.insert(said, 1);
    }
    // THEN each is named once, and all that is said is the same however many bytes are read at a time
    let whole = outcome(usize::MAX).await;
    let mut said: BTreeMap<String, i32> = BTreeMap::new();
    for named in whole.values().flat_map(|(_, named)| named) {
        *said.entry(named.clone()).or_default() += 1;
    }
    said.retain(|named, _| expected.contains_key(named));
    assert_eq!(said, expected);
    for chunk in [1, 61, 4096] {
        assert_eq!(outcome(chunk).await, whole, "{chunk} bytes at a time");
    }
}
