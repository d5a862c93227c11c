//! Clocks that are wrong: a record or an event outside the years 2000 to 2099 is refused and stops nothing.

use serde_json::{Value, json};
use strata_events::stream::dlq_topic;
use strata_streams::STREAMS;
use strata_testkit::{Fleet, NewRecord, Service, eventually, golden_order, search};

use crate::reconcile::assert_clean;
use crate::support::{SOON, launch, simple_order};

/// Kafka timestamps that are none.
const IMPLAUSIBLE: [i64; 5] =
    [1, 946_684_799_999, 4_102_444_800_000, 253_402_300_800_000, 9_000_000_000_000_000_000];

/// Dead letters of a reason, with the times that are kept of them.
async fn dead_letters(fleet: &Fleet, reason: &str) -> Vec<(String, Option<i64>, i64)> {
    sqlx::query_as(
        "select topic, timestamp_ms, extract(year from record_dt)::bigint from ops.dead_letters where reason = $1",
    )
    .bind(reason)
    .fetch_all(fleet.pool())
    .await
    .expect("the dead letters")
}

#[tokio::test]
async fn a_record_of_another_century_is_a_dead_letter_and_its_partition_goes_on() {
    // GIVEN topics that take any timestamp
    let fleet = launch(&[]).await;
    let hops = STREAMS.iter().flat_map(|stream| stream.spec.hops.iter().zip(stream.messages));
    let topics: Vec<(String, &str)> =
        hops.map(|(hop, message)| (fleet.topic(hop.topic.env), message.golden[0])).collect();
    for (topic, body) in &topics {
        let any = i64::MAX.to_string();
        let any = [("message.timestamp.after.max.ms", any.as_str()), ("max.message.bytes", "8388608")];
        fleet.kafka().configure(topic, &any).await;
        // WHEN records come from clocks gone wrong, into one partition
        let records: Vec<_> =
            IMPLAUSIBLE.iter().map(|&ms| NewRecord::of(*body).partition(0).at(ms)).collect();
        eventually(SOON, "a topic that takes any timestamp", async || {
            fleet.kafka().try_produce(topic, &records[4..]).await
        })
        .await;
        fleet.kafka().produce(topic, &records[..4]).await;
    }
    fleet.all_at_rest(SOON).await;
    // THEN each is a dead letter that keeps what it said
    let found = dead_letters(&fleet, "timestamp_out_of_range").await;
    for (topic, _) in &topics {
        let mut own: Vec<_> =
            found.iter().filter(|(found, ..)| found == topic).map(|(_, ms, year)| (*ms, *year)).collect();
        own.sort_unstable();
        let years = [2000, 2000, 2099, 2099, 2099];
        let expected: Vec<_> = IMPLAUSIBLE.iter().zip(years).map(|(&ms, year)| (Some(ms), year)).collect();
        assert_eq!(own, expected, "{topic}");
        assert_eq!(fleet.kafka().count(&dlq_topic(topic)).await, IMPLAUSIBLE.len(), "{topic}");
    }
    // AND the partitions go on
    fleet.ingest(&(0..60).map(|number| simple_order(number, "CLOSED")).collect::<Vec<_>>()).await;
    fleet.push_searches(60).await;
    fleet.at_rest(SOON).await;
    fleet.searches_at_rest(SOON).await;
    let orders: i64 = sqlx::query_scalar("select count(*) from stg.order_events")
        .fetch_one(fleet.pool())
        .await
        .expect("the orders");
    assert_eq!(orders, 60);
    assert_clean(&fleet).await;
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
}

/// The golden order with another time somewhere.
fn order_with(path: &str, time: &str) -> Value {
    let mut order = golden_order();
    *order.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = json!(time);
    order
}

#[tokio::test]
async fn an_event_of_another_century_is_refused_with_a_clear_reason() {
    // GIVEN events with times outside the years 2000 to 2099
    let fleet = launch(&[]).await;
    let places = ["/sent_dttm", "/payload/date", "/payload/statuses/0/dttm", "/payload/update_ts"];
    let times =
        ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59.999Z", "2100-01-01T00:00:00Z", "9999-12-31T23:59:59Z"];
    let mut orders = Vec::new();
    for place in places {
        orders.extend(times.iter().map(|time| NewRecord::of(order_with(place, time).to_string())));
    }
    fleet.kafka().produce(&fleet.stg_topic(), &orders).await;
    let seconds = [-62_135_596_800_i64, -1, 946_684_799, 4_102_444_800, 253_402_300_799, i64::MAX];
    let searches: Vec<NewRecord> = seconds
        .iter()
        .map(|&seconds| {
            let mut search = search(1, "6032").offer("Amoma", 100).build();
            search["search_timestamp"] = json!(seconds);
            NewRecord::of(search.to_string())
        })
        .collect();
    fleet.kafka().produce(&fleet.raw_topic(), &searches).await;
    // WHEN they are read
    fleet.ingest(&[simple_order(1, "CLOSED")]).await;
    fleet.at_rest(SOON).await;
    fleet.searches_at_rest(SOON).await;
    // THEN each is refused for its date, by the contract and not by the store
    assert_eq!(dead_letters(&fleet, "date_out_of_range").await.len(), orders.len() + searches.len());
    let all: i64 = sqlx::query_scalar("select count(*) from ops.dead_letters")
        .fetch_one(fleet.pool())
        .await
        .expect("the dead letters");
    assert_eq!(usize::try_from(all), Ok(orders.len() + searches.len()));
    let stored: i64 =
        sqlx::query_scalar("select count(*) from dds.h_order").fetch_one(fleet.pool()).await.expect("orders");
    assert_eq!(stored, 1);
}
