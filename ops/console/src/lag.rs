//! How far every stage is behind in every partition, as metrics: the fleet's lag, whoever reads a partition.
//!
//! An instance knows its own partitions only, so what a dead one had would show nowhere until others take it over.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Gauge, Unit, describe_gauge, gauge};
use strata_observe::Observer;
use tokio_util::sync::CancellationToken;

/// Records that are in Kafka and not applied.
const MESSAGES: &str = "strata_fleet_lag_messages";
/// Age of the oldest of them.
const SECONDS: &str = "strata_fleet_lag_seconds";

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// The gauges of a partition: messages and seconds.
type Gauges = [Gauge; 2];

/// Shows the lag until the service stops; what cannot be asked now is not a number.
pub async fn watch(observer: Observer, stop: CancellationToken) {
    describe_gauge!(MESSAGES, "Records of the partition that are there and that the stage has not applied");
    describe_gauge!(SECONDS, Unit::Seconds, "Age of the oldest record of the partition that is not applied");
    let mut shown: BTreeMap<(String, i32), Gauges> = BTreeMap::new();
    loop {
        let mut unseen = shown.clone();
        for stream in observer.lag().await {
            for stage in stream.stages {
                for partition in stage.partitions {
                    let key = (stage.topic.clone(), partition.partition);
                    unseen.remove(&key);
                    let new = || gauges(&stream.name, &stage.stage, &stage.topic, partition.partition);
                    let [messages, seconds] = shown.entry(key).or_insert_with(new);
                    messages.set(partition.lag.map_or(f64::NAN, |lag| lag as f64));
                    seconds.set(partition.lag_seconds.unwrap_or(f64::NAN));
                }
            }
        }
        unseen.into_values().flatten().for_each(|gauge| gauge.set(f64::NAN));
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    // Kafka's clients take their time to close, and block meanwhile.
    drop(tokio::task::spawn_blocking(move || drop(observer)));
}

fn gauges(stream: &str, stage: &str, topic: &str, partition: i32) -> Gauges {
    let gauge = |name| {
        let (stream, stage, topic) = (stream.to_owned(), stage.to_owned(), topic.to_owned());
        gauge!(name, "stream" => stream, "stage" => stage, "topic" => topic, "partition" => partition.to_string())
    };
    [MESSAGES, SECONDS].map(gauge)
}
