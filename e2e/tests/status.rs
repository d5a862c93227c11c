//! What the operator's tool says of the fleet.

use std::time::Duration;

use serde_json::{Value, json};
use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, NewRecord, Service, eventually};

use crate::support::{SOON, launch, reference, simple_order};

/// Runs `strata status --json`; gives what it printed and whether it took the fleet for healthy.
async fn status(fleet: &Fleet) -> (Value, bool) {
    let output = fleet.strata(&["status", "--json"]).await;
    let printed = serde_json::from_slice(&output.stdout);
    let printed = printed.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    (printed, output.status.success())
}

/// The entry of a list that has this name.
fn named<'a>(list: &'a Value, field: &str, name: &str) -> &'a Value {
    let found = list.as_array().and_then(|list| list.iter().find(|entry| entry[field] == name));
    found.unwrap_or_else(|| panic!("no {field} {name} in {list}"))
}

/// Where a stage stands in the stream of orders.
fn stage<'a>(status: &'a Value, stage: &str) -> &'a Value {
    named(&named(&status["streams"], "name", "order")["stages"], "stage", stage)
}

#[tokio::test]
async fn status_shows_where_every_stage_stands_and_what_the_layers_hold() {
    // GIVEN a fleet that has taken in orders, one of an unknown user, and something unusable
    let fleet = launch(&[]).await;
    let orders: Vec<Value> = (0..30).map(|number| simple_order(number, "CLOSED")).collect();
    fleet.ingest(&orders).await;
    let mut stranger = simple_order(30, "CLOSED");
    stranger["payload"]["user"]["id"] = "f".repeat(24).into();
    fleet.ingest(&[stranger]).await;
    fleet.kafka().produce(&fleet.stg_topic(), &[NewRecord::of("garbage")]).await;
    fleet.at_rest(SOON).await;
    // WHEN it is asked
    let (status, _) = status(&fleet).await;
    // THEN all parts are well
    assert_eq!(status["healthy"], true, "{status}");
    for (list, names) in [
        ("services", vec!["data-source", "stg", "dds", "cdm"]),
        ("servers", vec!["postgres", "redis", "kafka"]),
    ] {
        for name in names {
            assert_eq!(named(&status[list], "name", name)["state"], "ok", "{status}");
        }
    }
    // AND the layers hold what they took in, counted
    for (layer, name, rows) in [("stg", "order_events", 30), ("dds", "h_order", 30), ("dds", "h_hotel", 0)] {
        let tables = status["tables"].as_array().expect("tables");
        let table = tables.iter().find(|table| table["layer"] == layer && table["name"] == name);
        let expected = json!({"layer": layer, "name": name, "rows": rows, "exact": true});
        assert_eq!(table, Some(&expected), "{status}");
    }
    // AND no stage lags
    for (name, records) in [("stg", 32), ("dds", 30), ("cdm", 30)] {
        let stage = stage(&status, name);
        let service = Service::STAGES.into_iter().find(|service| service.binary() == name).expect("a stage");
        assert_eq!(stage["topic"], fleet.input_of(service), "{status}");
        assert_eq!((&stage["applied"], &stage["end"]), (&records.into(), &records.into()), "{stage}");
        assert_eq!((&stage["lag"], &stage["lag_seconds"]), (&0.into(), &0.0.into()), "{stage}");
        assert_eq!(stage["partitions"].as_array().map(Vec::len), Some(6), "{stage}");
    }
    // AND the unusable one shows
    let dead_letters = &status["dead_letters"][0];
    assert_eq!((&dead_letters["stage"], &dead_letters["open"]), (&"stg".into(), &1.into()), "{status}");
    assert_eq!(dead_letters["reason"], "malformed_json", "{status}");
    // AND so does the one that waits
    assert_eq!(status["parked"], 1, "{status}");
    let shown = fleet.strata_ok(&["status"]).await;
    assert!(shown.contains("1 open; 1 parked, waiting for reference data"), "{shown}");
}

#[tokio::test]
async fn status_shows_which_instances_send_and_which_read_what() {
    // GIVEN two instances of data-source and of stg
    let fleet = launch(&[]).await;
    for service in [Service::DataSource, Service::Stg] {
        fleet.second(service);
        fleet.wait_second_healthy(service).await;
    }
    let clicks = |status: &Value| named(&status["streams"], "name", "click").clone();
    let sent = |status: &Value| -> Vec<f64> {
        let producers = status["producers"].as_array().map(Vec::as_slice).unwrap_or_default();
        producers
            .iter()
            .map(|one| one["streams"]["click"]["per_second"].as_f64().unwrap_or_default())
            .collect()
    };
    // WHEN clicks are pushed by four producers, 400 a second
    let arguments = ["push", "click=6000", "--producers", "4", "--rate", "400"];
    let looking = eventually(SOON, "instances that send and read", async || {
        let (status, _) = status(&fleet).await;
        let stages = &clicks(&status)["stages"];
        let read: Vec<Vec<usize>> = ["stg", "dds"]
            .iter()
            .map(|name| {
                let readers = named(stages, "stage", name)["readers"].as_array().cloned().unwrap_or_default();
                readers.iter().map(|one| one["partitions"].as_array().map_or(0, Vec::len)).collect()
            })
            .collect();
        // THEN one instance sends all of it, each of stg reads half of the partitions, the one of dds all
        let mut sent = sent(&status);
        sent.sort_by(f64::total_cmp);
        let sends = sent.len() == 2 && sent[0] == 0.0 && (300.0..500.0).contains(&sent[1]);
        holds(sends && read == [vec![3, 3], vec![6]], || format!("{sent:?}, {read:?}"))
    });
    let (said, ()) = tokio::join!(fleet.strata_ok(&arguments), looking);
    assert_eq!(said, "6 000 clicks pushed\n");
    // AND people are told, too, and all of it arrives
    let shown = fleet.strata_ok(&["status"]).await;
    assert!(shown.contains("Who sends") && shown.contains("Who reads") && shown.contains("0 1 2"), "{shown}");
    fleet.assert_exact(&strata_streams::click::DEF, SOON).await;
    // AND WHEN an instance of each is gone
    fleet.kill_second(Service::DataSource);
    fleet.kill_second(Service::Stg);
    // THEN it is soon known that the others are alone
    eventually(SOON, "one instance of each", async || {
        let (status, _) = status(&fleet).await;
        let stg = named(&clicks(&status)["stages"], "stage", "stg").clone();
        let alone = stg["readers"].as_array().is_some_and(|readers| readers.len() == 1);
        holds(alone && sent(&status).len() == 1, || format!("{} {}", stg["readers"], status["producers"]))
    })
    .await;
}

#[tokio::test]
async fn lag_in_seconds_grows_while_a_stage_is_stopped_and_ends_when_it_is_drained() {
    // GIVEN a fleet whose dds is stopped, and orders that reach stg
    let fleet = launch(&[]).await;
    fleet.terminate(Service::Dds).await;
    let orders: Vec<Value> = (0..20).map(|number| simple_order(number, "CLOSED")).collect();
    fleet.ingest(&orders).await;
    fleet.stage_at_rest(Service::Stg, &fleet.stg_topic(), SOON).await;
    // WHEN it is asked, again and again
    let late = async |more_than: f64| {
        eventually(SOON, &format!("a lag of more than {more_than} s"), async || {
            let (status, healthy) = status(&fleet).await;
            let lag = stage(&status, "dds")["lag_seconds"].as_f64().unwrap_or_default();
            holds(lag > more_than, || stage(&status, "dds").to_string())
                .map(|()| (status.clone(), healthy, lag))
        })
        .await
    };
    let (status_then, healthy, first) = late(0.0).await;
    // THEN dds is down and lags by all of it, and its age grows
    assert!(!healthy && status_then["healthy"] == false, "{status_then}");
    assert_eq!(named(&status_then["services"], "name", "dds")["state"], "down", "{status_then}");
    assert_eq!(stage(&status_then, "dds")["lag"], 20, "{status_then}");
    assert_eq!(stage(&status_then, "stg")["lag_seconds"], 0.0, "{status_then}");
    late(first + 0.5).await;
    // AND WHEN dds is back and done
    fleet.start(Service::Dds);
    fleet.wait_healthy(Service::Dds).await;
    fleet.at_rest(SOON).await;
    // THEN nothing lags
    let (status_now, healthy) = status(&fleet).await;
    assert!(healthy, "{status_now}");
    for name in ["stg", "dds", "cdm"] {
        assert_eq!(stage(&status_now, name)["lag_seconds"], 0.0, "{status_now}");
    }
    // AND the fleet holds what the tests know it should
    assert_eq!(fleet.model(&reference()).await.order_count(), 20);
}

#[tokio::test]
async fn a_server_that_is_down_hides_nothing_else() {
    // GIVEN a fleet at rest, and a tool that is told of a Redis that is not there
    let fleet = launch(&[]).await;
    fleet.ingest(&[simple_order(0, "CLOSED")]).await;
    fleet.at_rest(SOON).await;
    let started = std::time::Instant::now();
    // WHEN it is asked
    let output = fleet.strata_with(&["status", "--json"], &[("REDIS_URL", "redis://127.0.0.1:1")]).await;
    // THEN Redis is down, what it knows is not known, and the rest shows, in time
    assert!(!output.status.success());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(named(&status["servers"], "name", "redis")["state"], "down", "{status}");
    assert_eq!(named(&status["servers"], "name", "postgres")["state"], "ok", "{status}");
    assert_eq!(status["metrics"], Value::Null, "{status}");
    assert_eq!(stage(&status, "cdm")["lag"], 0, "{status}");
    let searches = &named(&status["streams"], "name", "hotel_search")["stages"];
    assert_eq!(named(searches, "stage", "cdm")["applied"], Value::Null, "{status}");
}
