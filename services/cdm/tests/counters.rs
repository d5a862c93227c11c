//! The counters in Postgres: what adds to them, and the routes that tell them.

use cdm::handler::OrderHandler;
use serde_json::{Value, json};
use strata_events::StageId;
use strata_streams::order::{ORDER, golden};
use strata_testkit::{Alone, NewRecord};

/// The key of the golden user.
const USER: &str = "25f98706-7d86-3388-bfba-ea8376a8bbe1";

/// Counters of products and categories by name, in order.
async fn counters(alone: &Alone) -> Vec<(String, i64)> {
    sqlx::query_as(
        "select product_name, order_cnt from cdm.user_product_counters union all \
         select category_name, order_cnt from cdm.user_category_counters order by 1, 2",
    )
    .fetch_all(alone.pool())
    .await
    .expect("the counters")
}

/// What the golden order makes countable, so many times.
fn times(count: i64) -> Vec<(String, i64)> {
    let mut names = ["Супы", "еще суп", "какой-то суп"].map(|name| (name.to_owned(), count)).to_vec();
    names.sort();
    names
}

async fn run(alone: &Alone) {
    alone.run(vec![alone.stage(OrderHandler)]).await;
}

/// The stage, and how far the one before it has read.
async fn stage(read_by_dds: i64) -> Alone {
    let alone = Alone::new(&ORDER, StageId::Cdm, &[]).await;
    sqlx::query("insert into ops.consumer_offsets (stage, topic, partition, next_offset) values ('dds', 'dds_topic', 0, $1)")
        .bind(read_by_dds)
        .execute(alone.pool())
        .await
        .expect("an offset");
    alone
}

/// The golden announcement, made from this record of the topic before.
fn announced(offset: i64) -> NewRecord {
    NewRecord::of(golden::COUNTED).partition(0).with_header("origin", &format!("dds_topic/0/{offset}"))
}

#[tokio::test]
async fn an_announcement_that_comes_again_counts_once() {
    // GIVEN announcements that were counted
    let alone = stage(10).await;
    alone.arrive(&[announced(0), announced(1)]);
    run(&alone).await;
    assert_eq!(counters(&alone).await, times(2));
    // WHEN they come again as they were, among new ones
    alone.arrive(&[announced(0), announced(1), announced(2), announced(1), announced(2)]);
    run(&alone).await;
    // THEN the new one is counted alone
    assert_eq!(counters(&alone).await, times(3));
    // AND WHEN the stage reads everything once more
    sqlx::query("update ops.consumer_offsets set next_offset = 0 where stage = 'cdm'")
        .execute(alone.pool())
        .await
        .expect("the offsets are set back");
    run(&alone).await;
    // THEN nothing is counted again, or refused
    assert_eq!(counters(&alone).await, times(3));
    assert_eq!(alone.dead_letters().await, []);
}

#[tokio::test]
async fn an_origin_that_nobody_has_read_is_refused_and_silences_nothing() {
    // GIVEN a record that names an origin far beyond what dds has read
    let alone = stage(10).await;
    alone.arrive(&[announced(9_000_000_000_000_000_000)]);
    run(&alone).await;
    // WHEN announcements come after it
    alone.arrive(&[announced(0), announced(9)]);
    run(&alone).await;
    // THEN it is a dead letter, and they count
    let reasons: Vec<String> = alone.dead_letters().await.into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons, ["unknown_origin"]);
    assert_eq!(counters(&alone).await, times(2));
}

#[tokio::test]
async fn the_counters_of_a_user_are_served_by_either_key() {
    // GIVEN the golden order, counted, and the routes of the service
    let alone = stage(10).await;
    alone.arrive(&[announced(0)]);
    run(&alone).await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let routes = cdm::api::routes(alone.pool().clone(), None);
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    let get = async |path: String| -> Value {
        let answer = reqwest::get(format!("http://{address}{path}")).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.expect("JSON")
    };
    for user in ["d3275d9d9530440ea2b0be23", USER] {
        // WHEN the user's counters are asked for, by business id and by vault key
        let products = get(format!("/counters/users/{user}/products")).await;
        let categories = get(format!("/counters/users/{user}/categories")).await;
        // THEN both products are there
        assert_eq!((&products["user_id"], &products["count"]), (&json!(USER), &json!(2)), "{products}");
        let mut rows = products["data"].as_array().expect("rows").clone();
        rows.sort_by_key(|row| row["product_id"].to_string());
        let row = |id: &str, name: &str| json!({"product_id": id, "product_name": name, "order_cnt": 1});
        let expected = [
            row("5fef8f39-d458-3793-a1ee-a3333506ecc4", "еще суп"),
            row("b5ed2502-4f0d-3dc6-9a39-22cd6038acbf", "какой-то суп"),
        ];
        assert_eq!(rows, expected);
        // AND the category
        let category = "9b6bbc10-93eb-34e4-947d-97fe9f716803";
        let row = json!({"category_id": category, "category_name": "Супы", "order_cnt": 1});
        assert_eq!(categories, json!({"user_id": USER, "count": 1, "limit": 100, "data": [row]}));
    }
    serving.abort();
}
