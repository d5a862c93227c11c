//! What a record says that it was made from is believed only as far as it can be true.

use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, NewRecord, Service, assert_searches_equal, assert_warehouse_equals, eventually};

use crate::reconcile::assert_clean;
use crate::support::{SOON, launch, simple_order};

/// Golden messages that a stage other than the first reads.
const FACT: &str = strata_streams::order::golden::FACT;
const COUNTED: &str = strata_streams::order::golden::COUNTED;
const PROCESSED: &str = strata_streams::hotel_search::golden::PROCESSED;

/// Partitions of every topic.
const PARTITIONS: i32 = 6;

/// Dead letters by reason.
async fn dead_letters(fleet: &Fleet) -> Vec<(String, i64)> {
    let count = "select reason, count(*) from ops.dead_letters group by 1 order by 1";
    sqlx::query_as(count).fetch_all(fleet.pool()).await.expect("the dead letters")
}

async fn at_rest(fleet: &Fleet) {
    fleet.all_at_rest(SOON).await;
}

async fn orders(fleet: &Fleet, numbers: std::ops::Range<i64>) {
    fleet.ingest(&numbers.map(|number| simple_order(number, "CLOSED")).collect::<Vec<_>>()).await;
}

/// Waits until everything is as the events say, and all layers agree.
async fn assert_exact(fleet: &Fleet) {
    at_rest(fleet).await;
    assert_warehouse_equals(fleet.pool(), &fleet.model(&fleet.reference().await).await).await;
    assert_searches_equal(fleet, &fleet.search_model().await).await;
    assert_clean(fleet).await;
}

/// Sends the body to every partition of a topic, once with each origin.
async fn forge(fleet: &Fleet, topic: &str, body: &str, origins: &[String]) -> i64 {
    let all = (0..PARTITIONS).flat_map(|partition| origins.iter().map(move |origin| (partition, origin)));
    let records: Vec<_> = all
        .map(|(partition, origin)| NewRecord::of(body).partition(partition).with_header("origin", origin))
        .collect();
    fleet.kafka().produce(topic, &records).await;
    i64::try_from(records.len()).expect("a small number")
}

#[tokio::test]
async fn a_forged_origin_silences_no_partition_and_is_a_dead_letter() {
    // GIVEN a fleet that has read a few events
    let fleet = launch(&[]).await;
    orders(&fleet, 0..30).await;
    fleet.push_searches(30).await;
    at_rest(&fleet).await;
    // WHEN somebody names origins far beyond them, of every partition, or of topics that nobody reads
    let mut forged = 0;
    for (topic, before, body) in [
        (fleet.dds_topic(), fleet.stg_topic(), FACT),
        (fleet.cdm_topic(), fleet.dds_topic(), COUNTED),
        (fleet.processed_topic(), fleet.raw_topic(), PROCESSED),
        (fleet.metrics_topic(), fleet.processed_topic(), PROCESSED),
    ] {
        let mut origins: Vec<String> =
            (0..PARTITIONS).map(|partition| format!("{before}/{partition}/9000000000000000000")).collect();
        origins.extend([
            format!("{topic}.dlq/0/9000000000000000000"),
            format!("{topic}/0/0"),
            "x/0/0".to_owned(),
        ]);
        forged += forge(&fleet, &topic, body, &origins).await;
    }
    at_rest(&fleet).await;
    // THEN each is a dead letter
    assert_eq!(dead_letters(&fleet).await, [("unknown_origin".to_owned(), forged)]);
    // AND what comes afterwards counts
    orders(&fleet, 30..300).await;
    fleet.push_searches(300).await;
    assert_exact(&fleet).await;
    assert_eq!(dead_letters(&fleet).await, [("unknown_origin".to_owned(), forged)]);
}

#[tokio::test]
async fn on_the_first_topic_of_a_stream_an_origin_means_nothing() {
    // GIVEN orders and searches that name origins
    let fleet = launch(&[]).await;
    let raw = strata_streams::hotel_search::golden::RAW;
    for (topic, body) in
        [(fleet.stg_topic(), simple_order(1, "CLOSED").to_string()), (fleet.raw_topic(), raw.to_owned())]
    {
        let origin = format!("{topic}.dlq/0/77");
        let records: Vec<_> = ["x/0/0", &origin, "nonsense", "a\0b/1/1"]
            .into_iter()
            .map(|origin| {
                NewRecord::of(body.as_str())
                    .partition(2)
                    .with_header("origin", origin)
                    .with_header("replay_of", "x/1/1")
            })
            .collect();
        fleet.kafka().produce(&topic, &records).await;
    }
    at_rest(&fleet).await;
    // THEN they are orders and searches like others, each search one of its own
    let searches: i64 = sqlx::query_scalar("select count(*) from stg.hotel_search_events")
        .fetch_one(fleet.pool())
        .await
        .expect("the searches");
    assert_eq!((searches, dead_letters(&fleet).await), (4, Vec::new()));
    assert_warehouse_equals(fleet.pool(), &fleet.model(&fleet.reference().await).await).await;
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn stages_that_are_set_back_believe_what_was_made_before() {
    // GIVEN a fleet that has read everything
    let fleet = launch(&[]).await;
    orders(&fleet, 0..60).await;
    fleet.push_searches(60).await;
    at_rest(&fleet).await;
    // WHEN all stages read from the beginning, the later ones before the first has come far
    for service in Service::STAGES {
        fleet.kill(service);
    }
    let back = sqlx::query("update ops.consumer_offsets set next_offset = 0").execute(fleet.pool()).await;
    assert!(back.expect("set back").rows_affected() > 0);
    for service in [Service::Dds, Service::Cdm, Service::Stg] {
        fleet.start(service);
        fleet.wait_healthy(service).await;
    }
    // THEN nothing is refused and nothing counts twice
    assert_exact(&fleet).await;
    assert_eq!(dead_letters(&fleet).await, []);
}

#[tokio::test]
async fn what_was_applied_before_is_measured_as_a_duplicate() {
    // GIVEN announcements that cdm has applied
    let fleet = launch(&[]).await;
    orders(&fleet, 0..20).await;
    fleet.push_searches(20).await;
    at_rest(&fleet).await;
    for (topic, stream) in [(fleet.cdm_topic(), "order"), (fleet.metrics_topic(), "hotel_search")] {
        // WHEN they come again
        let records = fleet.kafka().read_all(&topic).await;
        let again: Vec<NewRecord> = records
            .iter()
            .map(|record| NewRecord { partition: Some(record.partition), ..record.into() })
            .collect();
        fleet.kafka().produce(&topic, &again).await;
        at_rest(&fleet).await;
        // THEN they count as what they are
        for outcome in ["applied", "duplicate"] {
            let wanted =
                format!("strata_events_total{{stream=\"{stream}\",outcome=\"{outcome}\"}} {}", again.len());
            eventually(SOON, &wanted, async || {
                let (_, _, text) = fleet.text(Service::Cdm, "/metrics").await;
                holds(text.lines().any(|line| line == wanted), || {
                    text.lines()
                        .filter(|line| line.starts_with("strata_events_total"))
                        .collect::<Vec<_>>()
                        .join("\n")
                })
            })
            .await;
        }
    }
}
