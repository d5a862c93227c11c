//! Waiting for conditions.

use std::time::Duration;

use strata_testkit::eventually;
use strata_testkit::eventually::holds;

#[tokio::test]
async fn a_condition_that_comes_true_ends_the_wait_with_its_value() {
    // GIVEN a condition that holds at the third look
    let mut looks = 0;
    // WHEN it is waited for
    let found = eventually(Duration::from_secs(5), "three looks", async || {
        looks += 1;
        holds(looks == 3, || format!("{looks} looks")).map(|()| looks)
    })
    .await;
    // THEN the wait ends there
    assert_eq!(found, 3);
}

#[tokio::test]
#[should_panic(expected = "not within 50ms: rain; last seen: sunshine")]
async fn a_condition_that_never_comes_is_named() {
    eventually(Duration::from_millis(50), "rain", async || Err::<(), _>("sunshine".to_owned())).await;
}

#[tokio::test]
#[should_panic(expected = "not within 50ms: an end")]
async fn a_look_that_hangs_does_not_hold_up_the_deadline() {
    eventually(Duration::from_millis(50), "an end", async || {
        std::future::pending::<()>().await;
        Ok(())
    })
    .await;
}
