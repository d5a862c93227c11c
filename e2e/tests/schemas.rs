//! The contract of each topic as a JSON Schema: served by everybody, and named by what is refused.

use serde_json::{Value, json};
use strata_events::stream::dlq_topic;
use strata_streams::STREAMS;
use strata_testkit::{NewRecord, Service};

use crate::support::{SOON, launch, simple_order};

#[tokio::test]
async fn whatever_is_refused_says_where_it_breaks_which_rule() {
    // GIVEN orders that break their schema, one of which no schema can refuse
    let fleet = launch(&[]).await;
    let mut negative = simple_order(1, "CLOSED");
    negative["payload"]["cost"] = json!(-1);
    let mut nameless = simple_order(2, "CLOSED");
    nameless["payload"]["user"] = json!({});
    let mut twice = simple_order(3, "CLOSED");
    let first = twice["payload"]["order_items"][0].clone();
    twice["payload"]["order_items"].as_array_mut().expect("items").push(first);
    let lines: Vec<String> = [&negative, &nameless, &twice].map(Value::to_string).to_vec();
    // WHEN they are ingested
    let lines = format!("{}\n{{\n", lines.join("\n"));
    let answer = fleet.post_lines(Service::DataSource, "/ingest/order", lines).await;
    // THEN the answer names place and rule
    assert_eq!(answer.status, 422, "{}", answer.body);
    let place = |line: usize| {
        let rejected = &answer.body["rejected"][line];
        (rejected["pointer"].as_str().map(str::to_owned), rejected["rule"].as_str().map(str::to_owned))
    };
    let at = |pointer: &str, rule: &str| (Some(pointer.to_owned()), Some(rule.to_owned()));
    let expected = [
        at("/payload/cost", "minimum: -5e-6"),
        at("/payload/user", "required: \"id\""),
        (None, None),
        (None, None),
    ];
    for (line, expected) in expected.iter().enumerate() {
        assert_eq!(place(line), *expected, "{}", answer.body);
    }
    // AND so do the dead letters, those of a stage after the first, too
    let fact = strata_streams::order::golden::FACT.replace("\"CLOSED\"", "\"SHUT\"");
    fleet.kafka().produce(&fleet.dds_topic(), &[NewRecord::of(fact)]).await;
    fleet.all_at_rest(SOON).await;
    let stored = "select stage, pointer, rule from ops.dead_letters order by stage, pointer nulls last, id";
    let stored: Vec<(String, Option<String>, Option<String>)> =
        sqlx::query_as(stored).fetch_all(fleet.pool()).await.expect("the dead letters");
    let statuses = "enum: [\"OPEN\",\"COOKING\",\"DELIVERING\",\"CLOSED\",\"CANCELLED\"]";
    let mut all = vec![("dds".to_owned(), at("/payload/status", statuses))];
    all.extend(expected.into_iter().map(|place| ("stg".to_owned(), place)));
    let all: Vec<_> = all.into_iter().map(|(stage, (pointer, rule))| (stage, pointer, rule)).collect();
    assert_eq!(stored, all);
    // AND their copies in Kafka
    let copies = fleet.kafka().read_all(&dlq_topic(&fleet.dds_topic())).await;
    assert_eq!(copies.len(), 1);
    assert_eq!(
        (copies[0].header("pointer"), copies[0].header("rule")),
        (Some("/payload/status"), Some(statuses))
    );
    // AND the operator's tool
    let id: i64 = sqlx::query_scalar("select id from ops.dead_letters where pointer = '/payload/cost'")
        .fetch_one(fleet.pool())
        .await
        .expect("a dead letter");
    let shown = fleet.strata_ok(&["dlq", "show", &id.to_string()]).await;
    for line in ["pointer     /payload/cost", "rule        minimum: -5e-6"] {
        assert!(shown.contains(line), "{shown}");
    }
    let shown = fleet.strata_ok(&["dlq", "show", &id.to_string(), "--json"]).await;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&shown["pointer"], &shown["rule"]), (&json!("/payload/cost"), &json!("minimum: -5e-6")));
}

#[tokio::test]
async fn every_service_has_the_schemas_of_all_topics() {
    let fleet = launch(&[]).await;
    fleet.launch_console().await;
    for service in Service::ALL.into_iter().chain([Service::Console]) {
        for hop in STREAMS.iter().flat_map(|stream| stream.spec.hops) {
            let (status, content_type, schema) =
                fleet.text(service, &format!("/schemas/{}", fleet.topic(hop.topic.env))).await;
            assert_eq!((status, content_type.as_str()), (200, "application/schema+json"), "{service:?}");
            assert_eq!(schema, hop.schema.text(), "{service:?}");
        }
        let absent = fleet.get(service, "/schemas/nothing").await;
        let named = absent.body["error"].as_str().unwrap_or_default().contains(&fleet.stg_topic());
        assert!(absent.status == 404 && named, "{}", absent.body);
    }
}
