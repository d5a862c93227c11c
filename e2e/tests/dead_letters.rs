//! Bad records and what must become of them.

use std::collections::BTreeSet;

use strata_events::stream::dlq_topic;
use strata_testkit::{Fleet, Service, TopicRecord};

/// A body that cannot be used, and why.
pub struct Bad {
    /// What is wrong with it.
    pub what: &'static str,
    /// The body; none is a tombstone.
    pub body: Option<Vec<u8>>,
    /// Code of the reason.
    pub reason: &'static str,
}

/// A body of text.
pub fn bad(what: &'static str, body: impl Into<Vec<u8>>, reason: &'static str) -> Bad {
    Bad { what, body: Some(body.into()), reason }
}

/// Makes sure that each bad body became a dead letter of this stage, in the table and on the topic.
pub async fn assert_dead_letters(fleet: &Fleet, service: Service, topic: &str, bad: &[Bad]) {
    let rows: Vec<(Vec<u8>, String, String, i32, i64)> = sqlx::query_as(
        "select payload, reason, detail, partition, \"offset\" from ops.dead_letters where stage = $1 and topic = $2",
    )
    .bind(service.binary())
    .bind(topic)
    .fetch_all(fleet.pool())
    .await
    .expect("the dead letters");
    let copies = fleet.kafka().read_all(&dlq_topic(topic)).await;
    for Bad { what, body, reason } in bad {
        let body = body.clone().unwrap_or_default();
        let found: Vec<_> = rows.iter().filter(|row| row.0 == body).collect();
        assert_eq!(found.len(), 1, "{what} is no dead letter of {service:?}: {rows:?}");
        let (_, stored, detail, partition, offset) = found[0];
        assert_eq!(stored, reason, "{what}: {detail}");
        assert!(!detail.is_empty(), "{what} has no detail");
        let is_copy = |copy: &&TopicRecord| {
            copy.header("original_partition") == Some(&partition.to_string())
                && copy.header("original_offset") == Some(&offset.to_string())
        };
        let copy = copies.iter().find(is_copy);
        let copy = copy.unwrap_or_else(|| panic!("{what} is not on {}", dlq_topic(topic)));
        assert_eq!(copy.header("reason"), Some(*reason), "{what}");
        assert_eq!(copy.header("original_topic"), Some(topic), "{what}");
        assert_eq!(copy.payload.clone().unwrap_or_default(), body, "{what}");
    }
    let positions: BTreeSet<(i32, i64)> = rows.iter().map(|row| (row.3, row.4)).collect();
    assert_eq!((rows.len(), positions.len(), copies.len()), (bad.len(), bad.len(), bad.len()));
}
