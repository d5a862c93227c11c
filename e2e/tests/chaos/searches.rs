//! The hotel-search stream under fire: a steady load through data-source, and what must have become of it.

use std::collections::BTreeSet;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_testkit::{SearchModel, TopicRecord, assert_searches_equal};

use super::{Chaos, garbage, load};
use crate::searches::support::any_search;

/// Searches of a request.
const SEARCHES: usize = 10;

/// Sends until the chaos is over. Each search has an `event_id`: what is sent again counts once.
async fn call(chaos: &Chaos, caller: u64) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(chaos.seed.wrapping_add(100 + caller));
    let mut sent: Vec<String> = Vec::new();
    while !chaos.is_over() {
        let ids: Vec<String> = (0..SEARCHES).map(|n| format!("{caller}-{}", sent.len() + n)).collect();
        let searches: Vec<Value> =
            ids.iter().map(|id| any_search(&mut random).event_id(id.as_str()).build()).collect();
        load::ingest(chaos, &mut random, "/ingest/hotel_search", &searches).await;
        sent.extend(ids);
    }
    sent
}

/// The load; returns the searches that were accepted, and must be there.
pub async fn load(chaos: &Chaos) -> Vec<String> {
    let (first, second, ()) =
        tokio::join!(call(chaos, 0), call(chaos, 1), load::push(chaos, HOTEL_SEARCH.name));
    [first, second].concat()
}

/// Makes sure that everything accepted is in the stream, and that every layer equals its model.
pub async fn verify(chaos: &Chaos, sent: &[String]) {
    let (fleet, topic) = (&chaos.fleet, chaos.fleet.raw_topic());
    let records = fleet.kafka().read_all(&topic).await;
    let good: Vec<&TopicRecord> = records.iter().filter(|record| !garbage::is_garbage(record)).collect();
    let arrived: BTreeSet<&str> = good.iter().filter_map(|record| record.header("event_id")).collect();
    let lost: Vec<&String> = sent.iter().filter(|id| !arrived.contains(id.as_str())).take(10).collect();
    assert!(lost.is_empty(), "accepted, but not in the stream: {lost:?}");
    let mut model = SearchModel::default();
    good.iter().for_each(|record| model.accept(&topic, record));
    chaos.report.add("searches accepted", sent.len());
    chaos.report.add("searches in the stream, repeats included", good.len());
    chaos.report.add("searches", model.count());
    fleet.forget_unfinished_rebuilds().await;
    assert_searches_equal(fleet, &model).await;
}
