//! The stage: fencing, watermarks, and a Redis that forgets.

use std::collections::{BTreeMap, BTreeSet};

use cdm::metrics::store::key_of;
use strata_pipeline::DeadLetterGuard;
use strata_pipeline::StageError;
use strata_pipeline::stage::{Span, Stage as _};
use strata_pipeline::watermark::Watermarks;
use strata_service::config::DeadLetterLimits;
use strata_streams::hotel_search::delta::Delta;

use crate::support::{Sandbox, record, span};

#[tokio::test]
async fn a_batch_that_comes_twice_is_fenced() {
    let mut sandbox = Sandbox::new();
    // GIVEN a batch that was applied
    let mut stage = sandbox.started().await;
    let records = [record(0, 0, Some((3, 7)), "6032", 7474), record(1, 0, Some((4, 1)), "6033", 9000)];
    let first = span(&records, &BTreeMap::new());
    stage.apply(&records, &first, None, &mut guard()).await.expect("applies");
    let before = sandbox.content();
    // WHEN an instance that does not know applies it again
    let repeated = stage.apply(&records, &first, None, &mut guard()).await;
    // THEN nothing changes
    assert!(
        matches!(repeated, Err(StageError::Fenced { partition: 0, stored: 1, expected: 0 })),
        "{repeated:?}"
    );
    assert_eq!(sandbox.content(), before);
    assert_eq!(
        before["{metrics}:hotels"],
        BTreeMap::from([("6032".into(), "1".into()), ("6033".into(), "1".into())])
    );
    assert_eq!(before["{metrics}:offers:6032"], BTreeMap::from([("Amoma".into(), "7474".into())]));
    let marks = [("0/processed_data_topic/3", "7"), ("1/processed_data_topic/4", "1")];
    let marks = marks.map(|(key, last)| (key.to_owned(), last.to_owned()));
    assert_eq!(before["{metrics}:watermarks"], BTreeMap::from(marks));
}

#[tokio::test]
async fn a_message_whose_origin_is_not_newer_is_skipped() {
    let mut sandbox = Sandbox::new();
    // GIVEN a search from origin 3/7
    let mut stage = sandbox.started().await;
    let first = [record(0, 0, Some((3, 7)), "6032", 7474)];
    stage.apply(&first, &span(&first, &BTreeMap::new()), None, &mut guard()).await.expect("applies");
    // WHEN it comes again, and with it an older one, a newer one, and one of another origin partition
    let again = [
        record(0, 1, Some((3, 7)), "6032", 7474),
        record(0, 2, Some((3, 6)), "6032", 1),
        record(0, 3, Some((3, 8)), "6032", 8000),
        record(0, 4, Some((2, 1)), "6032", 6000),
        record(0, 5, None, "6032", 9000),
    ];
    stage.apply(&again, &span(&again, &BTreeMap::from([(0, 1)])), None, &mut guard()).await.expect("applies");
    // THEN the newer one, the other partition's and the one without an origin count
    let content = sandbox.content();
    assert_eq!(content["{metrics}:hotels"]["6032"], "4");
    assert_eq!(content["{metrics}:advertisers"]["Expedia"], "4");
    assert_eq!(content["{metrics}:offers:6032"]["Amoma"], "6000");
    assert_eq!(content["{metrics}:offsets"]["0"], "6");
    assert_eq!(content["{metrics}:watermarks"]["0/metrics_topic/0"], "5");
}

#[tokio::test]
async fn a_redis_that_lost_its_last_second_is_noticed_and_healed() {
    let mut sandbox = Sandbox::new();
    // GIVEN a Redis that went back to before the second batch
    let mut stage = sandbox.started().await;
    let batch = |from: i64| {
        [
            record(0, from, Some((0, from)), "6032", 5000 - from),
            record(0, from + 1, Some((0, from + 1)), "6033", 100),
        ]
    };
    let at = |offset: i64| BTreeMap::from([(0, offset)]);
    stage.apply(&batch(0), &span(&batch(0), &at(0)), None, &mut guard()).await.expect("applies");
    let snapshot = sandbox.snapshot();
    stage.apply(&batch(2), &span(&batch(2), &at(2)), None, &mut guard()).await.expect("applies");
    stage.verify(&BTreeMap::from([(0, 4), (1, 0)])).await.expect("as believed");
    let whole = sandbox.content();
    sandbox.restore(&snapshot);
    // WHEN the loop looks, or goes on
    let verified = stage.verify(&BTreeMap::from([(0, 4), (1, 0)])).await;
    let next = stage.apply(&batch(4), &span(&batch(4), &at(4)), None, &mut guard()).await;
    // THEN both are fenced, and a repeat from the stored position restores everything
    assert!(matches!(verified, Err(StageError::Fenced { stored: 2, expected: 4, .. })), "{verified:?}");
    assert!(matches!(next, Err(StageError::Fenced { stored: 2, expected: 4, .. })), "{next:?}");
    let positions = stage.positions(&[0]).await.expect("positions");
    assert_eq!(positions[0].next_offset, Some(2));
    stage.apply(&batch(2), &span(&batch(2), &at(2)), None, &mut guard()).await.expect("applies");
    assert_eq!(sandbox.content(), whole);
}

#[tokio::test]
async fn a_rebuild_between_reading_and_applying_fences_though_the_offset_is_the_same() {
    let mut sandbox = Sandbox::new();
    // GIVEN an instance that has read the watermarks
    sandbox.started().await;
    let mut store = sandbox.store();
    let origin = record(0, 0, Some((3, 7)), "6032", 7474).source();
    let seen = store.watermarks(&BTreeSet::from([key_of(0, &origin)])).await.expect("reads");
    let mut watermarks = Watermarks::default();
    assert!(watermarks.advance(0, &origin));
    // WHEN a rebuild moves them and leaves the offset as it was
    let key = sandbox.keys.watermarks();
    redis::cmd("HSET").arg(key).arg("0/processed_data_topic/3").arg(9).exec(sandbox.sync()).expect("sets");
    // THEN the batch is not applied
    let applied = store.apply(&Span::from([(0, (0, 1))]), &seen, &watermarks, &Delta::default()).await;
    assert!(
        matches!(applied, Err(StageError::Fenced { partition: 0, stored: 9, expected: -1 })),
        "{applied:?}"
    );
    assert_eq!(sandbox.content()["{metrics}:offsets"]["0"], "0");
}

#[tokio::test]
async fn an_empty_redis_starts_and_one_that_lost_its_offsets_alone_does_not() {
    let mut sandbox = Sandbox::new();
    let mut stage = sandbox.stage();
    // GIVEN an empty Redis THEN it starts, and a repeat changes nothing
    stage.initialize(&[0]).await.expect("starts");
    let records = [record(0, 0, None, "6032", 7474)];
    stage.apply(&records, &span(&records, &BTreeMap::new()), None, &mut guard()).await.expect("applies");
    stage.initialize(&[0, 1]).await.expect("starts");
    let content = sandbox.content();
    assert_eq!(
        content["{metrics}:offsets"],
        BTreeMap::from([("0".into(), "1".into()), ("1".into(), "0".into())])
    );
    // WHEN the offsets alone are gone THEN nothing is counted on top of what lies there
    let key = sandbox.keys.offsets();
    redis::cmd("DEL").arg(key).exec(sandbox.sync()).expect("deletes");
    assert!(matches!(stage.initialize(&[0]).await, Err(StageError::NeedsOperator(_))));
}

/// A guard that lets everything pass.
fn guard() -> DeadLetterGuard {
    DeadLetterGuard::new(DeadLetterLimits { max_share: 1.0, min_records: 1 })
}
