//! A real schema registry: what is registered, what records name, and that the fleet does without it.

use serde_json::{Value, json};
use strata_events::schema_id::{self, SchemaId};
use strata_streams::order::ORDER;
use strata_streams::{STREAMS, hotel_search, order};
use strata_testkit::eventually::holds;
use strata_testkit::registry::version;
use strata_testkit::{Fleet, NewRecord, Registry, Service, eventually, search};

use crate::reconcile::assert_clean;
use crate::support::{SOON, reference, simple_order};

/// An id that no registry of a test comes to.
const UNKNOWN: u32 = 0x7777;

/// A fleet beside a registry; no service runs yet.
async fn prepare(registry: &Registry) -> Fleet {
    let variables = registry.variables();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Fleet::prepare(&variables).await
}

async fn launch(fleet: &Fleet) {
    for service in Service::ALL {
        fleet.start(service);
    }
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
    fleet.put_reference(&reference()).await;
}

async fn ingest(fleet: &Fleet, numbers: std::ops::Range<i64>) {
    fleet.ingest(&numbers.map(|number| simple_order(number, "CLOSED")).collect::<Vec<_>>()).await;
    fleet.all_at_rest(SOON).await;
}

/// The header of an id, as text: its bytes are small.
fn header(id: u32) -> String {
    String::from_utf8(SchemaId::Id(id).to_header()).expect("small bytes")
}

/// A search with this identity, as its bytes.
fn searched(event_id: &str) -> Vec<u8> {
    search(1, "6033").event_id(event_id).build().to_string().into_bytes()
}

fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [&SchemaId::Id(id).to_header(), body].concat()
}

async fn count(fleet: &Fleet, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(fleet.pool()).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

#[tokio::test]
async fn schemas_are_registered_and_records_name_them() {
    // GIVEN a registry that has an older version of a schema, which ours is compatible with
    let registry = Registry::start().await;
    let fleet = prepare(&registry).await;
    let subject = |topic: &str| format!("{topic}-value");
    let stricter = version(order::schema::RAW, |schema| {
        schema["properties"]["payload"]["properties"]["order_items"]["maxItems"] = json!(500);
    });
    registry.register(&subject(&fleet.stg_topic()), &stricter).await;
    // WHEN the fleet starts, and events pass it
    launch(&fleet).await;
    ingest(&fleet, 0..30).await;
    for stream in STREAMS {
        fleet.push_to(&stream.spec, 30).await;
    }
    fleet.all_at_rest(SOON).await;
    // THEN ours is the newest version of every subject
    let versions = registry.versions(&subject(&fleet.stg_topic())).await;
    // Apicurio numbers one that two services bring at once twice.
    assert!(versions.as_array().is_some_and(|versions| versions.len() > 1), "{versions}");
    for hop in STREAMS.iter().flat_map(|stream| stream.spec.hops) {
        let topic = fleet.topic(hop.topic.env);
        let latest = registry.latest(&subject(&topic)).await;
        assert_eq!(latest["schema"], json!(hop.schema.registered()), "{topic}");
        // AND every record names it, with a plain body
        let id = latest["id"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("an id");
        let records = fleet.kafka().read_all(&topic).await;
        assert!(!records.is_empty(), "{topic} is empty");
        for record in records {
            assert_eq!(record.header(schema_id::HEADER), Some(header(id).as_str()), "{topic}: {record:?}");
            assert!(serde_json::from_slice::<Value>(&record.payload.unwrap_or_default()).is_ok(), "{topic}");
        }
    }
    // WHEN others write framed and headed records, of known and of unknown schemas
    let topic = fleet.topic("KAFKA_RAW_DATA_TOPIC");
    let foreign = json!({"$schema": "http://json-schema.org/draft-07/schema#", "title": "foreign"});
    let foreign = registry.register("somebody-else", &foreign).await;
    let with = |value: &str, body| NewRecord::of(body).with_header(schema_id::HEADER, value);
    let unreadable = with("7", searched("unreadable"));
    let unknown = with(&header(UNKNOWN), searched("headed-unknown"));
    let unknown_frame = framed(UNKNOWN, &searched("framed-unknown"));
    fleet
        .kafka()
        .produce(
            &topic,
            &[
                NewRecord::of(framed(foreign, &searched("framed"))),
                with(&header(foreign), searched("headed")),
                with(&header(foreign), framed(UNKNOWN, &searched("both"))),
                NewRecord::of(searched("plain")),
                NewRecord::of(unknown_frame.clone()),
                unknown,
                unreadable,
            ],
        )
        .await;
    fleet.all_at_rest(SOON).await;
    // THEN those of known ones are events, the others dead letters with a reason of their own
    let staged = "select count(*) from stg.hotel_search_events where event_id in ('framed', 'headed', 'both', 'plain')";
    assert_eq!(count(&fleet, staged).await, 4);
    let refused = "select count(*) from ops.dead_letters where reason = 'unknown_schema'";
    assert_eq!(count(&fleet, refused).await, 3);
    assert_eq!(count(&fleet, "select count(*) from ops.dead_letters").await, 3);
    // AND they are kept as they came
    let kept: Vec<Vec<u8>> = sqlx::query_scalar("select payload from ops.dead_letters")
        .fetch_all(fleet.pool())
        .await
        .expect("the dead letters");
    assert!(kept.contains(&unknown_frame), "the frame is lost");
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn a_registry_that_is_down_stops_nobody_who_knows_the_schemas() {
    // GIVEN a fleet whose registry went down
    let registry = Registry::start().await;
    let fleet = prepare(&registry).await;
    launch(&fleet).await;
    ingest(&fleet, 0..10).await;
    registry.stop().await;
    // WHEN events come, services are started again, and more events come
    ingest(&fleet, 10..20).await;
    for service in Service::ALL {
        fleet.terminate(service).await;
        fleet.start(service);
        fleet.wait_healthy(service).await;
    }
    ingest(&fleet, 20..30).await;
    // THEN all of them are there, and name their schemas
    assert_eq!(count(&fleet, "select count(*) from stg.order_events").await, 30);
    let records = fleet.kafka().read_all(&fleet.topic(ORDER.source().env)).await;
    assert!(records.iter().all(|record| record.header(schema_id::HEADER).is_some()), "a record names none");
    // WHEN a record names a schema that nobody has met
    let topic = fleet.topic("KAFKA_RAW_DATA_TOPIC");
    fleet.kafka().produce(&topic, &[NewRecord::of(framed(UNKNOWN, &searched("unknown")))]).await;
    // THEN that stream waits for the registry and says so
    eventually(SOON, "a stage that waits for the registry", async || {
        let health = fleet.get(Service::Stg, "/health").await;
        let said = health.body.to_string();
        holds(health.status == 503 && said.contains("waiting for the schema registry"), || said)
    })
    .await;
    // AND goes on when it is back
    registry.restart().await;
    fleet.wait_healthy(Service::Stg).await;
    fleet.all_at_rest(SOON).await;
    assert_eq!(
        count(&fleet, "select count(*) from ops.dead_letters where reason = 'unknown_schema'").await,
        1
    );
    assert_clean(&fleet).await;
}

#[tokio::test]
async fn a_breaking_change_is_refused_at_the_start_in_the_words_of_the_registry() {
    // GIVEN a registry behind https with a version that ours breaks
    let registry = Registry::start_secure().await;
    let mut fleet = prepare(&registry).await;
    let subject = format!("{}-value", fleet.dds_topic());
    let other = version(order::schema::FACT, |schema| {
        schema["properties"]["object_id"] = json!({"type": "string"});
    });
    registry.register(&subject, &other).await;
    // WHEN a service starts
    fleet.start(Service::Dds);
    // THEN it ends and says why
    eventually(SOON, "words of the registry", async || {
        let logs = fleet.logs();
        let words = [format!("the schema registry refuses {subject}"), "SUBSCHEMA_TYPE_CHANGED".to_owned()];
        holds(words.iter().all(|words| logs.contains(words.as_str())), || logs)
    })
    .await;
    assert!(fleet.get_if_up(Service::Dds, "/livez").await.is_none(), "it runs");
    // AND WHEN the registry cannot be asked, and nobody knows what it said
    registry.stop().await;
    fleet.start(Service::DataSource);
    // THEN a service waits for it, says so, and takes no events
    eventually(SOON, "a service that waits for the registry", async || {
        let Some(health) = fleet.get_if_up(Service::DataSource, "/health").await else {
            return Err("down".into());
        };
        let said = health.body["checks"]["schema_registry"].to_string();
        holds(health.status == 503 && said.contains("unreachable"), || health.body.to_string())
    })
    .await;
    let answer = fleet.post(Service::DataSource, "/push", &json!({"stream": "hotel_search"})).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    // AND goes on when it is there
    registry.restart().await;
    fleet.wait_healthy(Service::DataSource).await;
    fleet.push_to(&hotel_search::HOTEL_SEARCH, 1).await;
    // AND WHEN a service trusts another CA and knows of no answer before
    fleet.add_variable("SCHEMA_REGISTRY_CA", &registry.file("other-ca.pem"));
    fleet.add_variable("REDIS_PREFIX", "another:");
    fleet.start(Service::Cdm);
    // THEN it names the variable
    eventually(SOON, "a service that does not trust the registry", async || {
        let Some(health) = fleet.get_if_up(Service::Cdm, "/health").await else {
            return Err("down".into());
        };
        let said = health.body["checks"]["schema_registry"].to_string();
        holds(health.status == 503 && said.contains("see SCHEMA_REGISTRY_CA"), || health.body.to_string())
    })
    .await;
}
