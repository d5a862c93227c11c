//! The model, and the comparison of a warehouse with it.

use serde_json::Value;
use sqlx::Executor as _;
use strata_testkit::keys::{hub, link};
use strata_testkit::reference::golden_order;
use strata_testkit::{Model, Reference, Servers, TestDatabase, TopicRecord, assert_warehouse_equals, order};

fn record(offset: i64, message: &Value) -> TopicRecord {
    TopicRecord {
        partition: 0,
        offset,
        timestamp_ms: 1_740_214_574_000 + offset,
        key: None,
        payload: Some(message.to_string().into_bytes()),
        headers: Vec::new(),
    }
}

fn model_of(messages: &[Value], reference: &Reference) -> Model {
    let mut model = Model::default();
    for (offset, message) in (0..).zip(messages) {
        model.accept(&record(offset, message), reference);
    }
    model
}

#[test]
fn an_order_counts_once_it_was_closed_with_all_it_ever_held() {
    // GIVEN an order that changes its product, then is closed, then called off, and a second that never closes
    let reference = Reference::invented(2, 1, 3);
    let (user, restaurant) = (reference.user(0), reference.restaurant(0));
    let first = order(1).user(user);
    let messages = [
        first.clone().dishes(restaurant, [0]).status("OPEN").build(),
        first.clone().dishes(restaurant, [1]).version(1).status("CLOSED").build(),
        first.clone().dishes(restaurant, [1]).version(2).status("CANCELLED").build(),
        order(2).user(user).dishes(restaurant, [2]).status("COOKING").build(),
    ];
    // WHEN they are folded, and folded again with every message twice and in reverse
    let model = model_of(&messages, &reference);
    let twice: Vec<Value> = messages.iter().chain(&messages).rev().cloned().collect();
    let again = model_of(&twice, &reference);
    // THEN both products of the first order count once, and nothing of the second
    let count = |dish: usize| {
        vec![hub(&user.id).to_string(), hub(&restaurant.menu[dish].id).to_string(), "1".to_owned()]
    };
    let mut expected = vec![count(0), count(1)];
    expected.sort();
    for model in [&model, &again] {
        let mut counters = model.product_counters();
        counters.sort();
        assert_eq!(counters, expected);
        assert_eq!(model.category_counters().len(), 2);
    }
    // AND the newest version is the raw one
    assert_eq!(model.raw()[&1].payloads, [messages[2]["payload"].clone()]);
    assert_eq!(again.raw()[&1].sent_dttm, model.raw()[&1].sent_dttm);
}

#[test]
fn a_history_keeps_changes_only() {
    // GIVEN an order that is sent in the same state twice and later falls back
    let reference = Reference::invented(1, 1, 1);
    let base = order(1).user(reference.user(0)).dishes(reference.restaurant(0), [0]);
    let statuses = ["OPEN", "OPEN", "COOKING", "OPEN"];
    let messages: Vec<Value> = statuses.iter().map(|status| base.clone().status(status).build()).collect();
    // WHEN they are folded
    let model = model_of(&messages, &reference);
    // THEN three changes are left
    let (_, history) = model.histories("s_order_status").next().expect("one order");
    let changes: Vec<&str> = history.changes().iter().map(|(_, row)| row[0].as_str()).collect();
    assert_eq!(changes, ["OPEN", "COOKING", "OPEN"]);
    assert!(history.in_order());
    assert_eq!(history.certain_newest(), None);
}

/// Writes what the golden order must become.
async fn write_golden(database: &TestDatabase) {
    let (order, user, restaurant) =
        (hub("7608298"), hub("d3275d9d9530440ea2b0be23"), hub("af69ef12f4f34c6d86441c69"));
    let (first, second) = (hub("97a91f3df3b44224bb8d67a4"), hub("22a38d8dbb584051b8b72f15"));
    let category = hub("Супы");
    let at = "to_timestamp(1740214574), 'stg'";
    let seq = "to_timestamp(1740214574), 0, 'stg'";
    let payload = golden_order()["payload"].to_string();
    let none = uuid::Uuid::nil();
    let sent = "2025-02-22T09:43:14.049943+00:00";
    let mut sql = format!(
        "insert into stg.order_events (object_id, object_type, sent_dttm, payload) \
         values (7608298, 'order', '{sent}', '{payload}'); \
         insert into dds.h_order values ('{order}', 7608298, '2025-02-22T08:56:14.049848Z', {at}); \
         insert into dds.h_user values ('{user}', 'd3275d9d9530440ea2b0be23', {at}); \
         insert into dds.h_restaurant values ('{restaurant}', 'af69ef12f4f34c6d86441c69', {at}); \
         insert into dds.h_category values ('{category}', 'Супы', {at}); \
         insert into dds.l_order_user values ('{}', '{order}', '{user}', {at}); \
         insert into dds.l_order_category values ('{}', '{order}', '{category}', {at}); \
         insert into dds.s_user_names values ('{user}', 'Зоя Олеговна Костина', 'belovlongin', {seq}, '{none}'); \
         insert into dds.s_restaurant_names values ('{restaurant}', 'ООО «Нестерова, Дементьева и Алексеев»', {seq}, '{none}'); \
         insert into dds.s_order_cost values ('{order}', 4050, 4050, {seq}, '{none}', '{sent}'); \
         insert into dds.s_order_status values ('{order}', 'CLOSED', {seq}, '{none}', '{sent}'); \
         insert into cdm.user_category_counters (user_id, category_id, category_name, order_cnt) \
         values ('{user}', '{category}', 'Супы', 1);",
        link(order, user),
        link(order, category),
    );
    for (product, id, name) in
        [(first, "97a91f3df3b44224bb8d67a4", "какой-то суп"), (second, "22a38d8dbb584051b8b72f15", "еще суп")]
    {
        sql.push_str(&format!(
            "insert into dds.h_product values ('{product}', '{id}', {at}); \
             insert into dds.l_order_product values ('{}', '{order}', '{product}', {at}); \
             insert into dds.l_product_restaurant values ('{}', '{product}', '{restaurant}', {at}); \
             insert into dds.l_product_category values ('{}', '{product}', '{category}', {at}); \
             insert into dds.s_product_names values ('{product}', '{name}', {seq}, '{none}'); \
             insert into cdm.user_product_counters (user_id, product_id, product_name, order_cnt) \
             values ('{user}', '{product}', '{name}', 1);",
            link(order, product),
            link(product, restaurant),
            link(product, category),
        ));
    }
    database.pool().execute(sql.as_str()).await.expect("the rows fit");
}

#[tokio::test]
async fn a_warehouse_that_holds_the_order_equals_its_model() {
    // GIVEN the rows of the golden order
    let database = TestDatabase::create(&Servers::from_env().await).await;
    write_golden(&database).await;
    // WHEN they are compared with the model, THEN nothing differs
    assert_warehouse_equals(database.pool(), &model_of(&[golden_order()], &Reference::golden())).await;
}

#[tokio::test]
async fn every_kind_of_damage_is_found() {
    let servers = Servers::from_env().await;
    let model = model_of(&[golden_order()], &Reference::golden());
    for (damage, named) in [
        ("update stg.order_events set payload = '{}'", "stg.order_events"),
        ("delete from dds.l_order_product", "l_order_product"),
        ("update dds.s_order_status set status = 'OPEN'", "s_order_status"),
        ("update dds.s_order_cost set cost = 4050.00001", "s_order_cost"),
        ("update dds.s_order_status set sent_dttm = now()", "s_order_status"),
        ("update dds.h_user set load_dt = now()", "load_dt of no record"),
        ("update dds.h_product set load_src = ''", "without load_src"),
        ("delete from dds.h_category", "orphans of h_category"),
        ("update cdm.user_product_counters set order_cnt = 2", "against the fold over dds"),
        ("update cdm.user_category_counters set category_name = 'Напитки'", "never called"),
        (
            "insert into dds.h_user values (gen_random_uuid(), 'd3275d9d9530440ea2b0be23', now(), 'x')",
            "twice in h_user",
        ),
    ] {
        // GIVEN the rows of the golden order
        let database = TestDatabase::create(&servers).await;
        write_golden(&database).await;
        // WHEN they are damaged
        database.pool().execute(damage).await.expect(damage);
        let model = model.clone();
        let pool = database.pool().clone();
        let compared = tokio::spawn(async move { assert_warehouse_equals(&pool, &model).await }).await;
        // THEN the comparison names the place
        let panic = compared.expect_err(damage).into_panic();
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains(named), "{damage}: {message}");
    }
}
