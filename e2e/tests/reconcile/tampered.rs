//! One row after the other is spoiled: each must be found and named.

use sqlx::Executor as _;
use strata_testkit::{Fleet, Service};

use super::values::IN_REDIS;
use super::victims::{IN_LAYERS, Spoilt};
use super::victims_of_cdm::IN_COUNTERS;
use super::{assert_clean, at_rest, fill, named, reconcile};
use crate::support::{SOON, launch};

/// Every table that a tampering may touch.
const TABLES: [&str; 29] = [
    "stg.order_events",
    "stg.hotel_search_events",
    "dds.h_user",
    "dds.h_product",
    "dds.h_category",
    "dds.h_restaurant",
    "dds.h_order",
    "dds.h_hotel",
    "dds.h_advertiser",
    "dds.l_order_user",
    "dds.l_order_product",
    "dds.l_order_category",
    "dds.l_product_restaurant",
    "dds.l_product_category",
    "dds.l_hotel_search",
    "dds.s_user_names",
    "dds.s_product_names",
    "dds.s_restaurant_names",
    "dds.s_order_cost",
    "dds.s_order_status",
    "dds.s_hotel_search_offers",
    "cdm.user_product_counters",
    "cdm.user_category_counters",
    "ops.consumer_offsets",
    "ops.origin_watermarks",
    "ops.pending_outputs",
    "ops.dead_letters",
    "ops.replay_sequences",
    "ops.reconciliations",
];

/// Runs statements that this file and its neighbour write.
async fn execute(fleet: &Fleet, sql: String) -> u64 {
    let done = fleet.pool().execute(sql.as_str()).await;
    done.unwrap_or_else(|e| panic!("{sql}: {e}")).rows_affected()
}

async fn text(fleet: &Fleet, sql: &'static str) -> String {
    let found: Option<String> =
        sqlx::query_scalar(sql).fetch_optional(fleet.pool()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    found.unwrap_or_else(|| panic!("there is no victim: {sql}"))
}

fn saved(table: &str) -> String {
    format!("saved.{}", table.replace('.', "_"))
}

#[tokio::test]
async fn a_single_spoilt_row_of_any_table_is_found_and_named() {
    // GIVEN a warehouse that agrees with itself and stands still
    let fleet = launch(&[]).await;
    fill(&fleet).await;
    at_rest(&fleet).await;
    for service in Service::ALL {
        fleet.terminate(service).await;
    }
    assert_clean(&fleet).await;
    execute(&fleet, "create schema saved".to_owned()).await;
    for table in TABLES {
        execute(&fleet, format!("create table {} as table {table}", saved(table))).await;
    }
    let mut missed = Vec::new();
    for Spoilt { table, victim, change, said } in IN_LAYERS.iter().chain(IN_COUNTERS) {
        // WHEN one row is spoilt
        let victim = text(&fleet, victim).await;
        let change = change.replace("{}", &victim);
        let changed = execute(&fleet, change.clone()).await;
        assert_eq!(changed, 1, "{change}");
        // THEN it is named
        let (rows, said) = (named(&reconcile(&fleet).await), said.replace("{}", &victim));
        if !rows.iter().any(|row| row.contains(&said)) {
            missed.push(format!("{said:?} is not said of {change}\n  but {rows:#?}"));
        }
        let saved = saved(table);
        execute(&fleet, format!("truncate {table}")).await;
        execute(&fleet, format!("insert into {table} overriding system value table {saved}")).await;
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    // AND nothing is, once all is as it was
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn a_single_spoilt_value_of_the_metrics_is_found_and_named() {
    // GIVEN metrics that agree with the vault and stand still
    let fleet = launch(&[]).await;
    fill(&fleet).await;
    at_rest(&fleet).await;
    for service in Service::ALL {
        fleet.terminate(service).await;
    }
    assert_clean(&fleet).await;
    let mut missed = Vec::new();
    for (victim, key, change, said, undo) in IN_REDIS {
        // WHEN one value is spoilt
        let victim = text(&fleet, victim).await;
        let filled =
            |words: &[&str]| words.iter().map(|word| word.replace("{}", &victim)).collect::<Vec<_>>();
        let (key, said) = (key.replace("{}", &victim), said.replace("{}", &victim));
        spoil(&fleet, &key, &filled(change)).await;
        // THEN it is named
        let rows = named(&reconcile(&fleet).await);
        if !rows.iter().any(|row| row.contains(&said)) {
            missed.push(format!("{said:?} is not said of {key} {change:?}\n  but {rows:#?}"));
        }
        spoil(&fleet, &key, &filled(undo)).await;
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    // AND nothing is, once all is as it was
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn a_repeated_value_is_judged_only_where_versions_came_in_order() {
    // GIVEN an order whose status is stored twice in a row
    let fleet = launch(&[]).await;
    fleet.push(50).await;
    fleet.at_rest(SOON).await;
    let repeated = "insert into dds.s_order_status \
         (h_order_pk, status, load_dt, load_seq, load_src, hk_order_status_hashdiff, sent_dttm) \
         select h_order_pk, status, load_dt, load_seq + 4096, load_src, hk_order_status_hashdiff, sent_dttm \
         from dds.s_order_status order by h_order_pk limit 1";
    execute(&fleet, repeated.to_owned()).await;
    let is_named = async || named(&reconcile(&fleet).await).iter().any(|row| row.contains("repeats at"));
    assert!(is_named().await);
    // WHEN dds met a partition of its topic later than the others THEN the versions may have overtaken each other
    let added = "update ops.consumer_offsets set since = since + interval '1 hour' where stage = 'dds' and partition = 5";
    execute(&fleet, added.to_owned()).await;
    assert!(!is_named().await);
    // WHEN that was long before the order
    let before = "update ops.consumer_offsets set since = since - interval '1 day' where stage = 'dds'";
    execute(&fleet, before.to_owned()).await;
    assert!(is_named().await);
}

async fn spoil(fleet: &Fleet, key: &str, command: &[String]) {
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    fleet.spoil_metrics(key, &command).await;
}
