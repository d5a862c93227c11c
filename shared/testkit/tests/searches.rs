//! The model of searches.

use serde_json::{Value, json};
use strata_testkit::search::golden_searches;
use strata_testkit::{SearchBuilder, SearchModel, TopicRecord, search};

fn record(partition: i32, offset: i64, event_id: Option<&str>, message: &Value) -> TopicRecord {
    TopicRecord {
        partition,
        offset,
        timestamp_ms: 1_740_214_574_000 + offset,
        key: None,
        payload: Some(message.to_string().into_bytes()),
        headers: event_id.map(|id| ("event_id".to_owned(), id.to_owned())).into_iter().collect(),
    }
}

fn model_of(records: &[TopicRecord]) -> SearchModel {
    let mut model = SearchModel::default();
    records.iter().for_each(|record| model.accept("raw", record));
    model
}

/// Advertisers and lowest offer of one search.
fn cleaned(search: &SearchBuilder) -> (Vec<String>, Option<(i64, String)>) {
    let model = model_of(&[record(0, 0, None, &search.build())]);
    let (_, fact) = model.facts().next().expect("one search");
    (fact.advertisers.iter().cloned().collect(), fact.min_offer.clone())
}

#[test]
fn the_golden_search_is_cleaned_to_the_golden_processed_search() {
    // GIVEN the golden searches
    let (raw, processed) = golden_searches();
    // WHEN the raw one is folded
    let model = model_of(&[record(0, 0, Some("a-1"), &raw)]);
    // THEN it says what the processed one says
    let (id, fact) = model.facts().next().expect("one search");
    assert_eq!(id, "a-1");
    assert_eq!(
        (json!(fact.user), json!(fact.hotel)),
        (processed["user_id"].clone(), processed["hotel_id"].clone())
    );
    assert_eq!(json!(fact.advertisers), processed["advertisers"]);
    assert_eq!(fact.search_dt, "2021-05-05 14:22:08.000000");
    let (price, winner) = fact.min_offer.clone().expect("an offer");
    assert_eq!(json!({"price": price, "advertiser": winner}), processed["min_offer"]);
}

#[test]
fn the_lowest_usable_offer_wins_and_of_equal_ones_the_first_name() {
    let base = search(1, "6032");
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(cleaned(&base), (names(&[]), None));
    assert_eq!(cleaned(&base.clone().offer("A", 0).offer("B", 1_000_000_001)), (names(&["A", "B"]), None));
    let tie = base.clone().offer("B", 5).offer("A", 5).offer("C", 6).nothing_from("D");
    assert_eq!(cleaned(&tie), (names(&["A", "B", "C", "D"]), Some((5, "A".to_owned()))));
    let spaces = base.offer(" A", 3).offer("A ", 2).offer("", 1);
    assert_eq!(cleaned(&spaces), (names(&["A"]), Some((2, "A".to_owned()))));
}

#[test]
fn a_search_counts_once_as_its_first_record_says() {
    // GIVEN a search that comes again, cheaper, and one without an identity twice
    let dear = search(1, "6032").offer("Amoma", 9).build();
    let cheap = search(1, "6032").offer("Amoma", 3).offer("Expedia", 2).build();
    let records = [
        record(0, 0, Some("a-1"), &dear),
        record(0, 1, Some("a-1"), &cheap),
        record(0, 2, None, &dear),
        record(0, 3, None, &dear),
    ];
    // WHEN they are folded in both directions
    let forward = model_of(&records);
    let backward = model_of(&records.iter().rev().cloned().collect::<Vec<_>>());
    // THEN three searches are left, and nothing of the cheap one
    for model in [forward, backward] {
        assert_eq!(model.count(), 3);
        assert_eq!(json!([model.hotels(), model.advertisers()]), json!([{"6032": 3}, {"Amoma": 3}]));
        assert_eq!(json!(model.prices()), json!({"6032": {"Amoma": 9}}));
        assert_eq!(model.hubs()["h_advertiser"].len(), 1);
        assert!(model.has_time("a-1", 1_740_214_574_000) && !model.has_time("a-1", 1_740_214_574_001));
    }
}
