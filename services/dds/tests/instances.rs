//! Records of one event that several instances hold at once: the vault's unique keys decide.

use dds::search::handler::SearchHandler;
use strata_events::StageId;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_testkit::alone::PARTITIONS;
use strata_testkit::samples::{any_search, cleaned, random, versions};
use strata_testkit::{Alone, NewRecord, SearchModel, TopicRecord, assert_search_vault_equals};

use crate::support::Orders;

/// The same records, sent by hand to partitions further on: each copy is its own origin.
fn moved(records: &[TopicRecord], shift: i64) -> Vec<NewRecord> {
    let copy = |record: &TopicRecord| {
        let place = (i64::from(record.partition) + record.offset + shift) % i64::from(PARTITIONS);
        NewRecord::from(record).partition(i32::try_from(place).expect("a small number"))
    };
    records.iter().map(copy).collect()
}

#[tokio::test]
async fn an_order_that_two_instances_hold_at_once_counts_once() {
    // GIVEN versions of a few orders, each of which lies in three further partitions
    let mut orders = Orders::new(&[("BATCH_MAX_ROWS", "10")]).await;
    for message in versions(&mut random(), 30, 12) {
        orders.send(&message, |record| record);
    }
    let facts = orders.alone.records(orders.alone.input());
    for shift in [1, 3, 5] {
        orders.alone.arrive(&moved(&facts, shift));
    }
    // WHEN two instances read them
    orders.alone.run_during(vec![orders.writers(), orders.writers()], async {}).await;
    // THEN the vault equals the model, and each order was announced once
    orders.model.assume_no_order();
    orders.assert_exact().await;
}

#[tokio::test]
async fn a_search_that_two_instances_hold_at_once_counts_once() {
    // GIVEN searches, each of which lies in two further partitions
    let alone = Alone::new(&HOTEL_SEARCH, StageId::Dds, &[("BATCH_MAX_ROWS", "10")]).await;
    let (mut random, mut model) = (random(), SearchModel::default());
    for number in 0..300 {
        let search = any_search(&mut random).event_id(format!("search {number}")).build();
        let record = alone.arrive(&[cleaned(&search)]).remove(0);
        let raw = TopicRecord { payload: Some(search.to_string().into_bytes()), ..record };
        model.accept(alone.input(), &raw);
    }
    let facts = alone.records(alone.input());
    for shift in [1, 4] {
        for record in alone.arrive(&moved(&facts, shift)) {
            // A copy may be read first.
            let original = facts.iter().find(|fact| fact.header("event_id") == record.header("event_id"));
            assert_eq!(original.map(|fact| fact.timestamp_ms), Some(record.timestamp_ms));
        }
    }
    // WHEN two instances read them
    let writers = || (0..2).map(|_| alone.stage(SearchHandler::new(alone.output()))).collect();
    alone.run_during(vec![writers(), writers()], async {}).await;
    // THEN the vault equals the model, and each search was announced once
    assert_search_vault_equals(alone.pool(), &model).await;
    let announced = alone.records(&alone.output());
    let mut ids: Vec<&str> = announced.iter().filter_map(|record| record.header("event_id")).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!((count, ids.len()), (300, 300));
    assert_eq!(alone.dead_letters().await, []);
}
