//! Three brokers that replicate: any of them, the controller among them, dies under load and while services start.
//!
//! Three Java machines start slowly beside a build, so `make test-brokers` runs this, not `make test`.

use std::time::{Duration, Instant};

use strata_testkit::brokers::{BROKERS, Brokers};
use strata_testkit::{
    Fleet, Service, assert_no_dead_letters, assert_searches_equal, assert_warehouse_equals,
};

/// Deadline of what is due at once on a quiet machine.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn any_broker_may_die_under_load_and_while_services_start() {
    // GIVEN a fleet whose topics have three replicas, two of them in sync before a record counts as written
    let brokers = Brokers::start().await;
    let fleet = Fleet::prepare_on(brokers.servers(), &[("KAFKA_REPLICATION", "3")]).await;
    for service in Service::ALL {
        fleet.start(service);
    }
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
    for hop in strata_streams::STREAMS.iter().flat_map(|stream| stream.spec.hops) {
        let topic = fleet.topic(hop.topic.env);
        assert_eq!(fleet.kafka().replicas(&topic).await, 3, "{topic}");
        assert_eq!(
            fleet.kafka().setting(&topic, "min.insync.replicas").await.as_deref(),
            Some("2"),
            "{topic}"
        );
    }
    // WHEN each broker dies under load, and a stage starts while the others take over
    for number in 1..=BROKERS {
        fleet.push(2000).await;
        fleet.push_searches(2000).await;
        brokers.kill(number);
        for service in Service::STAGES {
            fleet.terminate(service).await;
            let started = Instant::now();
            fleet.start(service);
            fleet.wait_healthy(service).await;
            println!(
                "broker {number} is dead: {service:?} well {:.1} s after its start",
                started.elapsed().as_secs_f64()
            );
        }
        fleet.push(2000).await;
        fleet.push_searches(2000).await;
        brokers.restart(number).await;
    }
    // THEN nothing is lost or counted twice
    fleet.at_rest(SOON).await;
    fleet.searches_at_rest(SOON).await;
    assert_warehouse_equals(fleet.pool(), &fleet.model(&fleet.reference().await).await).await;
    assert_searches_equal(&fleet, &fleet.search_model().await).await;
    assert_no_dead_letters(fleet.pool()).await;
    fleet.strata_ok(&["reconcile"]).await;
}
