//! The golden order, from the request to the counters.

use serde_json::{Value, json};
use sqlx::PgPool;
use strata_testkit::builders::ndjson;
use strata_testkit::reference::golden_order;
use strata_testkit::{Fleet, Reference, Service, assert_no_dead_letters, assert_warehouse_equals};
use uuid::Uuid;

use crate::support::SOON;

/// The key of the golden user.
const USER: &str = "25f98706-7d86-3388-bfba-ea8376a8bbe1";

/// Keys of the contract and where they must stand.
const KEYS: [(&str, &str); 10] = [
    ("select h_order_pk from dds.h_order where order_id = 7608298", "2a86e8a3-faae-37c2-9cb6-70af837dd42f"),
    ("select h_user_pk from dds.h_user where user_id = 'd3275d9d9530440ea2b0be23'", USER),
    (
        "select h_product_pk from dds.h_product where product_id = '97a91f3df3b44224bb8d67a4'",
        "b5ed2502-4f0d-3dc6-9a39-22cd6038acbf",
    ),
    (
        "select h_product_pk from dds.h_product where product_id = '22a38d8dbb584051b8b72f15'",
        "5fef8f39-d458-3793-a1ee-a3333506ecc4",
    ),
    (
        "select h_restaurant_pk from dds.h_restaurant where restaurant_id = 'af69ef12f4f34c6d86441c69'",
        "071485c1-74fc-34c3-a1e5-7e44a418c476",
    ),
    (
        "select h_category_pk from dds.h_category where category_name = 'Супы'",
        "9b6bbc10-93eb-34e4-947d-97fe9f716803",
    ),
    ("select hk_order_user_pk from dds.l_order_user", "85ee8d37-64f1-323c-aaca-9fabc2aae696"),
    (
        "select hk_order_product_pk from dds.l_order_product where h_product_pk = 'b5ed2502-4f0d-3dc6-9a39-22cd6038acbf'",
        "ada3df49-5867-3734-98eb-2d21543c0a8d",
    ),
    (
        "select hk_product_restaurant_pk from dds.l_product_restaurant where h_product_pk = 'b5ed2502-4f0d-3dc6-9a39-22cd6038acbf'",
        "c48606a9-5fbf-3b13-afbc-9d5e1920bf2b",
    ),
    (
        "select hk_product_category_pk from dds.l_product_category where h_product_pk = 'b5ed2502-4f0d-3dc6-9a39-22cd6038acbf'",
        "f57aaacd-d153-3a27-925b-2dd53cb51d4b",
    ),
];

async fn launch_golden() -> Fleet {
    let fleet = Fleet::launch().await;
    fleet.put_reference(&Reference::golden()).await;
    fleet
}

async fn send(fleet: &Fleet, message: &Value) {
    let answer = fleet
        .post_lines(Service::DataSource, "/ingest/order", ndjson(std::slice::from_ref(message)))
        .await
        .ok();
    assert_eq!(answer["accepted"], json!(1), "{answer}");
    fleet.at_rest(SOON).await;
}

async fn counters(pool: &PgPool) -> Vec<(String, i64)> {
    sqlx::query_as(
        "select product_name, order_cnt from cdm.user_product_counters union all \
         select category_name, order_cnt from cdm.user_category_counters order by 1",
    )
    .fetch_all(pool)
    .await
    .expect("the counters")
}

fn once_each() -> Vec<(String, i64)> {
    ["Супы", "еще суп", "какой-то суп"].map(|name| (name.to_owned(), 1)).to_vec()
}

#[tokio::test]
async fn the_golden_order_gets_the_keys_of_the_contract_and_counts_once() {
    // GIVEN the golden user and restaurant
    let fleet = launch_golden().await;
    // WHEN the golden order is ingested
    send(&fleet, &golden_order()).await;
    // THEN the vault holds the keys of the contract
    for (sql, key) in KEYS {
        let stored: Uuid = sqlx::query_scalar(sql).fetch_one(fleet.pool()).await.expect(sql);
        assert_eq!(stored.to_string(), key, "{sql}");
    }
    // AND both products and their category count once
    let mut found = counters(fleet.pool()).await;
    found.sort();
    let mut expected = once_each();
    expected.sort();
    assert_eq!(found, expected);
    let model = fleet.model(&Reference::golden()).await;
    assert_warehouse_equals(fleet.pool(), &model).await;
    assert_no_dead_letters(fleet.pool()).await;
}

#[tokio::test]
async fn the_golden_order_counts_once_however_often_it_is_sent() {
    // GIVEN the golden order, counted
    let fleet = launch_golden().await;
    send(&fleet, &golden_order()).await;
    // WHEN it is sent again, each time in a batch of its own, and falls back to the kitchen in between
    for (minute, status) in [(50, "CLOSED"), (51, "CLOSED"), (52, "CLOSED"), (53, "COOKING"), (54, "CLOSED")]
    {
        let mut message = golden_order();
        message["sent_dttm"] = json!(format!("2025-02-22T09:{minute}:14.049943+00:00"));
        message["payload"]["final_status"] = json!(status);
        send(&fleet, &message).await;
    }
    // THEN it counts once
    let mut found = counters(fleet.pool()).await;
    found.sort();
    let mut expected = once_each();
    expected.sort();
    assert_eq!(found, expected);
    // AND every layer equals the model
    let model = fleet.model(&Reference::golden()).await;
    assert_warehouse_equals(fleet.pool(), &model).await;
}
