//! Callers of data-source, who keep at it until they have their answer.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use strata_testkit::Service;
use strata_testkit::builders::ndjson;
use tokio::time::sleep;

use super::Chaos;

/// Sends events to `path`, now and then with garbage among them, again and again the same bytes until data-source
/// takes them.
pub async fn ingest(chaos: &Chaos, random: &mut StdRng, path: &str, events: &[Value]) {
    let mut lines = ndjson(events);
    if random.random_bool(0.03) {
        lines.push_str("{\"garbage\": \"among good lines\"}\n");
    }
    loop {
        let answer =
            chaos.fleet.try_post(Service::DataSource, path, "application/x-ndjson", lines.clone()).await;
        match answer {
            Some(answer) if answer.status == 200 => {
                assert_eq!(answer.body["accepted"], json!(events.len()), "{}", answer.body);
                break;
            }
            Some(answer) => assert_eq!(answer.status, 503, "{}", answer.body),
            None => {}
        }
        chaos.report.add("requests sent again", 1);
        sleep(Duration::from_millis(150)).await;
    }
    sleep(Duration::from_millis(random.random_range(50..150))).await;
}

/// Has data-source generate events until the chaos is over; how many arrive of a request that fails is open.
pub async fn push(chaos: &Chaos, stream: &str) {
    while !chaos.is_over() {
        let body = json!({"N": 10, "stream": stream}).to_string();
        let answer = chaos.fleet.try_post(Service::DataSource, "/push", "application/json", body).await;
        if let Some(answer) = answer.filter(|answer| answer.status != 200) {
            assert_eq!(answer.status, 503, "{}", answer.body);
        }
        sleep(Duration::from_millis(300)).await;
    }
}
