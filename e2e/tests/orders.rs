//! Orders in bulk, in every state and order.

use std::time::Duration;

use strata_testkit::{Fleet, NewRecord, Service, eventually};

use crate::reconcile::assert_clean;
use crate::support::{SOON, assert_exact, launch, load, random, simple_order, versions};

/// What one order makes countable.
const COUNTED: &[u8] = strata_streams::order::golden::COUNTED.as_bytes();

#[tokio::test]
async fn every_layer_equals_the_model_after_generated_and_shuffled_orders() {
    // GIVEN versions of orders in every state, with other products and users, shuffled, some twice
    let fleet = launch(&[]).await;
    let ingested = versions(&mut random(), 150, 5);
    // WHEN they are ingested while orders are generated
    load(&fleet, 3000, &ingested).await;
    // THEN every layer equals the model
    let model = assert_exact(&fleet).await;
    assert!(model.order_count() > 2000, "{} orders", model.order_count());
    assert!(model.product_counters().len() > 500, "{} counters", model.product_counters().len());
}

#[tokio::test]
async fn counters_wait_for_more_when_much_arrives_and_are_written_once() {
    // GIVEN a cdm for which two messages are much
    let fleet = Fleet::launch_only(&[Service::Cdm], &[("BATCH_MAX_ROWS", "8")]).await;
    let counted = async || {
        let largest = sqlx::query_scalar("select coalesce(max(order_cnt), 0) from cdm.user_product_counters");
        largest.fetch_one(fleet.pool()).await.expect("counters")
    };
    let two = [COUNTED, COUNTED].map(|body| NewRecord::of(body).partition(0));
    // WHEN two come, and a moment later two more; on a busy machine the moment may be too long once
    for _ in 0..3 {
        let before: i64 = counted().await;
        let written = async || {
            eventually(SOON, "counters", async || {
                let now = counted().await;
                if now > before { Ok(now - before) } else { Err(format!("{now} orders")) }
            })
            .await
        };
        let produce = async || {
            fleet.kafka().produce(&fleet.cdm_topic(), &two).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            fleet.kafka().produce(&fleet.cdm_topic(), &two).await;
        };
        // THEN all four are seen at once
        if tokio::join!(written(), produce()).0 == 4 {
            return;
        }
        fleet.at_rest(SOON).await;
    }
    panic!("what came together was written apart, three times");
}

#[tokio::test]
async fn amounts_of_any_size_keep_every_decimal_through_all_layers() {
    // GIVEN an order with as many digits as the warehouse keeps, and one with a decimal too many
    let fleet = launch(&[]).await;
    let text = |number: i64, cost: &str, payment: &str| {
        let order = simple_order(number, "CLOSED").to_string();
        let cost_of = |order: &str, field: &str, amount: &str| {
            let (before, after) = order.split_once(&format!("\"{field}\":")).expect("an amount");
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}\"{field}\":{amount}{rest}")
        };
        NewRecord::of(cost_of(&cost_of(&order, "cost", cost), "payment", payment))
    };
    let orders =
        [text(1, "98765432109876.54321", "12345678901.12345"), text(2, "12345678901.123455", "0.000015")];
    // WHEN they pass
    fleet.kafka().produce(&fleet.stg_topic(), &orders).await;
    assert_exact(&fleet).await;
    // THEN they lie in the vault as they were sent, rounded half to even where they had to be
    let stored: Vec<(String, String)> =
        sqlx::query_as("select cost::text, payment::text from dds.s_order_cost order by cost desc")
            .fetch_all(fleet.pool())
            .await
            .expect("the amounts");
    let amounts = [("98765432109876.54321", "12345678901.12345"), ("12345678901.12346", "0.00002")];
    assert_eq!(stored, amounts.map(|(cost, payment)| (cost.to_owned(), payment.to_owned())));
    assert_clean(&fleet).await;
}
