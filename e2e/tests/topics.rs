//! Topics that somebody else made.

use serde_json::Value;
use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, Service, eventually};

use crate::support::{SOON, assert_exact, reference, simple_order};

#[tokio::test]
async fn a_topic_that_does_not_fit_is_named_with_its_setting_and_its_repair_and_the_stage_recovers_with_it() {
    // GIVEN a topic that somebody made by hand, none of its settings as the fleet needs them
    let fleet = Fleet::prepare(&[("KAFKA_REPLICATION", "1"), ("KAFKA_PARTITIONS", "6")]).await;
    let topic = fleet.stg_topic();
    let made = [
        ("cleanup.policy", "compact"),
        ("message.timestamp.type", "LogAppendTime"),
        ("max.message.bytes", "1048588"),
        ("retention.ms", "3600000"),
    ];
    fleet.kafka().create_with(&topic, 2, &made).await;
    // WHEN the stage that reads it starts
    fleet.start(Service::DataSource);
    fleet.start(Service::Stg);
    // THEN it is not well, and says what breaks exactness, and how to repair it
    let worker = eventually(SOON, "what is wrong with the topic", async || {
        let health = fleet.get_if_up(Service::Stg, "/health").await.ok_or("it does not listen yet")?;
        let worker = health.body["worker"].as_str().unwrap_or_default().to_owned();
        let told = health.status == 503 && worker.contains(&topic);
        if told { Ok(worker) } else { Err(health.body.to_string()) }
    })
    .await;
    for (setting, value, wanted) in [
        ("cleanup.policy", "compact", "delete"),
        ("message.timestamp.type", "LogAppendTime", "CreateTime"),
        ("max.message.bytes", "1048588", "8388608"),
    ] {
        assert!(worker.contains(&format!("topic {topic} has {setting}={value}: ")), "{worker}");
        let repair =
            format!("--alter --entity-type topics --entity-name {topic} --add-config {setting}={wanted}");
        assert!(worker.contains(&repair), "{worker}");
    }
    // AND what does not is told in the log alone, once
    assert!(!worker.contains("retention.ms") && !worker.contains("partitions"), "{worker}");
    for warned in [
        format!("topic {topic} has retention.ms=3600000: "),
        format!("topic {topic} has 2 partitions, fewer than KAFKA_PARTITIONS=6"),
    ] {
        assert_eq!(fleet.logs().matches(&warned).count(), 1, "{warned}");
    }
    // AND WHEN it is repaired
    let repaired = [
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "CreateTime"),
        ("max.message.bytes", "8388608"),
    ];
    fleet.kafka().configure(&topic, &repaired).await;
    // THEN the stage is well without a restart, and so are the events
    fleet.wait_healthy(Service::Stg).await;
    fleet.start(Service::Dds);
    fleet.start(Service::Cdm);
    fleet.put_reference(&reference()).await;
    let orders: Vec<Value> = (0..40).map(|number| simple_order(number, "CLOSED")).collect();
    fleet.ingest(&orders).await;
    assert_exact(&fleet).await;
}

#[tokio::test]
async fn topics_that_the_fleet_makes_fit() {
    // GIVEN a fleet that has made its topics
    let fleet = Fleet::launch().await;
    // THEN nothing of them is complained about
    let logs = fleet.logs();
    eventually(SOON, "topics that were made", async || {
        holds(fleet.logs().contains("topic created"), || "no topic was created".to_owned())
    })
    .await;
    assert!(!logs.contains("repair with"), "{logs}");
}
