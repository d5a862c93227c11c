//! Consumers that bring nothing any more, without a word.

use std::time::Duration;

use strata_testkit::eventually::holds;
use strata_testkit::{Service, eventually};

use crate::searches::support::assert_exact as assert_searches_exact;
use crate::support::{assert_exact, launch};

/// Quiet for a while, suspected for a while.
const NOTICED_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_partition_that_falls_silent_is_told_and_started_again() {
    // GIVEN a stage whose consumer stops bringing the records of a partition
    let fleet = launch(&[]).await;
    fleet.push(100).await;
    assert_exact(&fleet).await;
    fleet.kill(Service::Dds);
    fleet.start_failing(Service::Dds, "silent_partition:error:10");
    fleet.wait_healthy(Service::Dds).await;
    // WHEN events arrive in all of them: whichever loop comes by first has lost its partition
    let told = eventually(NOTICED_WITHIN, "dds that tells of a silent partition", async || {
        fleet.push(20).await;
        fleet.push_searches(20).await;
        let health = fleet.get(Service::Dds, "/health").await;
        let told =
            health.status == 503 && health.body.to_string().contains("brings nothing, though kafka holds");
        holds(told, || format!("{} {}", health.status, health.body))
    });
    told.await;
    // THEN /health says so, and it comes back by itself: every layer equals the model
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
    fleet.wait_healthy(Service::Dds).await;
}

#[tokio::test]
async fn a_consumer_that_the_group_forgot_joins_it_anew() {
    // GIVEN a stage whose consumer is out of its group and does not come back by itself
    let fleet = launch(&[]).await;
    fleet.kill(Service::Dds);
    fleet.start_failing(Service::Dds, "forgotten_consumer:error:10");
    // WHEN events arrive
    fleet.push(200).await;
    fleet.push_searches(200).await;
    let told = eventually(NOTICED_WITHIN, "dds that joined its group anew", async || {
        let (_, _, metrics) = fleet.text(Service::Dds, "/metrics").await;
        holds(metrics.contains("cause=\"client\""), || metrics)
    });
    told.await;
    fleet.push(200).await;
    fleet.push_searches(200).await;
    // THEN every layer equals the model
    assert_exact(&fleet).await;
    assert_searches_exact(&fleet).await;
}
