//! What holds for every stream, whatever it means.

use strata_events::stream::dlq_topic;
use strata_streams::{STREAMS, StreamDef};
use strata_testkit::{Fleet, NewRecord, Service, assert_no_dead_letters};

use crate::reconcile::assert_clean;
use crate::support::{SOON, launch, rewind};

/// Events of each stream.
const PUSHED: usize = 1500;

/// Rows of the raw layer.
async fn received(fleet: &Fleet, stream: &StreamDef) -> i64 {
    let count = format!("select count(*) from {}", stream.raw.table);
    sqlx::query_scalar(&count).fetch_one(fleet.pool()).await.expect("a count")
}

/// Every layer of every stream equals its model, and nothing was refused.
async fn assert_all_exact(fleet: &Fleet) {
    for stream in STREAMS {
        fleet.assert_exact(stream, SOON).await;
        assert_eq!(usize::try_from(received(fleet, stream).await), Ok(PUSHED), "{}", stream.spec.name);
    }
    assert_no_dead_letters(fleet.pool()).await;
    assert_clean(fleet).await;
}

#[tokio::test]
async fn every_event_of_every_stream_is_in_every_layer_once_though_every_stage_is_killed() {
    // GIVEN a fleet that takes events of every stream, in batches small enough that a kill hits one
    let fleet = launch(&[("BATCH_MAX_ROWS", "150")]).await;
    for stream in STREAMS {
        fleet.push_to(&stream.spec, PUSHED).await;
    }
    // WHEN each stage of each stream is killed on its way
    for stream in STREAMS {
        for hop in stream.spec.hops {
            let service = Service::of(hop.stage);
            fleet.kill(service);
            fleet.start(service);
            fleet.wait_healthy(service).await;
        }
    }
    // THEN every layer equals the model
    assert_all_exact(&fleet).await;
    // AND WHEN stages read from the beginning again
    for service in [Service::Stg, Service::Dds] {
        fleet.terminate(service).await;
        rewind(&fleet, service).await;
        fleet.start(service);
    }
    // THEN nothing has changed
    assert_all_exact(&fleet).await;
}

#[tokio::test]
async fn garbage_in_any_topic_is_a_dead_letter_and_stops_nothing() {
    // GIVEN a fleet with garbage in every topic
    let fleet = launch(&[]).await;
    let hops: Vec<_> = STREAMS.iter().flat_map(|stream| stream.spec.hops).collect();
    for hop in &hops {
        fleet.kafka().produce(&fleet.topic(hop.topic.env), &[NewRecord::of("garbage")]).await;
    }
    // WHEN events come after it
    for stream in STREAMS {
        fleet.push_to(&stream.spec, PUSHED).await;
    }
    fleet.all_at_rest(SOON).await;
    // THEN each piece is a dead letter of its stream and stage
    let refused: Vec<(String, String, String, i64)> = sqlx::query_as(
        "select stream, stage, topic, count(*) from ops.dead_letters group by 1, 2, 3 order by 1, 2",
    )
    .fetch_all(fleet.pool())
    .await
    .expect("the dead letters");
    let mut expected = Vec::new();
    for stream in STREAMS {
        for hop in stream.spec.hops {
            let topic = fleet.topic(hop.topic.env);
            assert_eq!(fleet.kafka().count(&dlq_topic(&topic)).await, 1, "{topic}");
            expected.push((stream.spec.name.to_owned(), hop.stage.as_str().to_owned(), topic, 1));
        }
    }
    expected.sort_unstable();
    assert_eq!(refused, expected);
    // AND every event has arrived, and the layers agree
    for stream in STREAMS {
        assert_eq!(usize::try_from(received(&fleet, stream).await), Ok(PUSHED), "{}", stream.spec.name);
    }
    assert_clean(&fleet).await;
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
}
