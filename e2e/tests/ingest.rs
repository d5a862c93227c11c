//! `strata ingest`: files and standard input through the real data-source.

use serde_json::Value;
use strata_testkit::builders::ndjson;
use strata_testkit::search::log_line;
use strata_testkit::{Fleet, Service, search};

use crate::searches::support as searches;
use crate::support::{SOON, assert_exact, launch, random, simple_order};

#[tokio::test]
async fn a_file_of_orders_arrives_and_a_bad_line_is_told_by_its_number() {
    // GIVEN a file larger than what is sent at once, good to its end
    let fleet = launch(&[]).await;
    let orders: Vec<Value> = (0..600).map(|n| simple_order(n, "CLOSED")).collect();
    let file = std::env::temp_dir().join(format!("strata-ingest-{}.ndjson", std::process::id()));
    std::fs::write(&file, ndjson(&orders)).expect("a file");
    assert!(std::fs::metadata(&file).expect("a file").len() > 256 * 1024);
    let path = file.to_str().expect("a path");
    // WHEN it is sent
    let said = fleet.strata_ok(&["ingest", path, "--stream", "order"]).await;
    // THEN all of it is accepted, and every layer equals the model
    assert_eq!(said, "600 accepted, 0 rejected\n");
    let model = assert_exact(&fleet).await;
    assert_eq!(model.order_count(), 600);
    // WHEN a file with a bad line is sent
    let lines = format!("{}no order\n{}", ndjson(&orders[..2]), ndjson(&orders[2..3]));
    std::fs::write(&file, lines).expect("a file");
    let output = fleet.strata(&["ingest", path, "--stream", "order"]).await;
    std::fs::remove_file(&file).expect("the file");
    // THEN the good ones are accepted, and the tool fails and names the line
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("3 accepted, 1 rejected\n  line 3: "), "{said}");
    // AND a file that is not there is no success either
    assert_eq!(fleet.strata(&["ingest", path, "--stream", "order"]).await.status.code(), Some(1));
}

#[tokio::test]
async fn searches_arrive_from_standard_input_in_both_forms() {
    // GIVEN searches as lines of JSON and as the site's log
    let fleet = launch(&[]).await;
    let mut random = random();
    let bodies: Vec<Value> = (0..50).map(|_| searches::any_search(&mut random).build()).collect();
    let log = log_line(&[search(1, "6032").offer("Amoma", 5), search(1, "6033").nothing_from("Expedia")]);
    // WHEN they are piped in
    let ingest = ["ingest", "-", "--stream", "hotel_search"];
    let output = fleet.strata_fed(&ingest, &[], ndjson(&bodies).as_bytes()).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "50 accepted, 0 rejected\n");
    let tsv = [&ingest[..], &["--format", "tsv", "--json"]].concat();
    let output = fleet.strata_fed(&tsv, &[], log.as_bytes()).await;
    // THEN each is a search
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), answer["accepted"].as_u64()), (Some(0), Some(2)), "{answer}");
    let model = searches::assert_exact(&fleet).await;
    assert_eq!(model.count(), 52);
    // AND orders have no such form, nor is nothing something
    let orders = ["ingest", "-", "--stream", "order", "--format", "tsv"];
    assert_eq!(fleet.strata_fed(&orders, &[], log.as_bytes()).await.status.code(), Some(1));
    assert_eq!(fleet.strata(&ingest).await.status.code(), Some(1));
}

#[tokio::test]
async fn the_key_is_passed_on() {
    // GIVEN a fleet that wants a key
    let fleet = Fleet::launch_only(&[Service::DataSource, Service::Stg], &[("APIKEY", "open sesame")]).await;
    let body = ndjson(&[searches::any_search(&mut random()).build()]);
    let ingest = ["ingest", "-", "--stream", "hotel_search"];
    // WHEN the tool has another one
    let output = fleet.strata_fed(&ingest, &[("APIKEY", "sesame")], body.as_bytes()).await;
    // THEN it is refused, and with the right one it is not
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("401"), "{said}");
    let output = fleet.strata_fed(&ingest, &[], body.as_bytes()).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 accepted, 0 rejected\n");
    fleet.stage_at_rest(Service::Stg, &fleet.raw_topic(), SOON).await;
}
