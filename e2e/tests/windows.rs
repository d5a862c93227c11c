//! Every narrow window of the loop, hit for certain: the process dies exactly there.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use strata_testkit::{Fleet, NewRecord, Service, assert_no_dead_letters, assert_warehouse_equals};

use crate::support::{SOON, assert_exact, launch, random, simple_order, versions};

/// The windows, in the order in which a batch passes them.
const WINDOWS: [&str; 5] = ["after_fetch", "in_transaction", "after_commit", "after_send", "after_ack"];

/// How a process ends that kills itself in a window; nothing else here ends that way.
const SIGABRT: i32 = 6;

/// Records of a small batch of this service, as the setting says it: cdm takes four times as many.
fn small_batch(service: Service) -> (&'static str, &'static str) {
    ("BATCH_MAX_ROWS", if service == Service::Cdm { "4" } else { "15" })
}

/// Waits until a service has died in this window.
pub async fn assert_died_in(fleet: &Fleet, service: Service, window: &str) {
    let (status, log) = fleet.ended(service, SOON).await;
    assert_eq!(status.signal(), Some(SIGABRT), "{service:?} ended with {status}: {log}");
    assert!(log.contains(&format!("failpoint {window}: Kill")), "{service:?} {window}: {log}");
}

/// Records that a stage cannot use: cdm makes no other outputs than these dead letters.
fn garbage(count: usize) -> Vec<NewRecord> {
    (0..count).map(|number| NewRecord::of(format!("garbage {number}"))).collect()
}

/// A stage dies in each window in turn, on its third passage, and comes back.
async fn die_in_every_window(service: Service) {
    // GIVEN a fleet whose batches are small
    let fleet = launch(&[small_batch(service)]).await;
    let messages = versions(&mut random(), 100, 5);
    let share = messages.len() / WINDOWS.len();
    let mut dead_letters = 0;
    for (window, messages) in WINDOWS.into_iter().zip(messages.chunks(share)) {
        // WHEN the stage dies in a window
        fleet.terminate(service).await;
        fleet.ingest(messages).await;
        if service == Service::Cdm {
            fleet.kafka().produce(&fleet.cdm_topic(), &garbage(60)).await;
            dead_letters += 60;
        }
        fleet.start_failing(service, &format!("{window}:kill:3"));
        assert_died_in(&fleet, service, window).await;
        // AND is started again
        fleet.start(service);
        fleet.at_rest(SOON).await;
        // THEN every layer equals the model
        let model = fleet.model(&fleet.reference().await).await;
        assert_warehouse_equals(fleet.pool(), &model).await;
        let kept: i64 = sqlx::query_scalar("select count(*) from ops.dead_letters")
            .fetch_one(fleet.pool())
            .await
            .expect("the dead letters");
        assert_eq!(kept, dead_letters, "{window}");
    }
}

#[tokio::test]
async fn stg_may_die_in_every_window() {
    die_in_every_window(Service::Stg).await;
}

#[tokio::test]
async fn dds_may_die_in_every_window() {
    die_in_every_window(Service::Dds).await;
}

#[tokio::test]
async fn cdm_may_die_in_every_window() {
    die_in_every_window(Service::Cdm).await;
}

#[tokio::test]
async fn an_order_in_all_partitions_counts_once_wherever_the_first_to_decide_dies() {
    // GIVEN closed orders that lie in every partition of dds_topic, and batches of one record
    let fleet = launch(&[("BATCH_MAX_ROWS", "1")]).await;
    fleet.terminate(Service::Dds).await;
    for (number, window) in (0..).zip(&WINDOWS[1..]) {
        let orders = [simple_order(2 * number, "CLOSED"), simple_order(2 * number + 1, "CLOSED")];
        let known = fleet.kafka().count(&fleet.dds_topic()).await;
        fleet.ingest(&orders).await;
        fleet.stage_at_rest(Service::Stg, &fleet.stg_topic(), SOON).await;
        let facts = fleet.kafka().read_all(&fleet.dds_topic()).await;
        assert!(facts.len() > known);
        let newest = facts.iter().filter(|fact| {
            let body = fact.payload.as_deref().unwrap_or_default();
            orders.iter().any(|o| String::from_utf8_lossy(body).contains(&o["object_id"].to_string()))
        });
        // Sent by hand, so that each copy is its own origin: only the vault can tell that it is known.
        let copies = newest.flat_map(|fact| {
            (0..6)
                .map(move |place| NewRecord { headers: Vec::new(), ..NewRecord::from(fact) }.partition(place))
        });
        fleet.kafka().produce(&fleet.dds_topic(), &copies.collect::<Vec<_>>()).await;
        // WHEN the instance that decides first dies in the window, and another one finds the other copies
        fleet.start_failing(Service::Dds, &format!("{window}:kill:1"));
        assert_died_in(&fleet, Service::Dds, window).await;
        fleet.second(Service::Dds);
        // THEN each order counts once
        fleet.at_rest(SOON).await;
        let mut model = fleet.model(&fleet.reference().await).await;
        model.assume_no_order();
        assert_warehouse_equals(fleet.pool(), &model).await;
        assert_no_dead_letters(fleet.pool()).await;
        fleet.kill_second(Service::Dds);
    }
    fleet.start(Service::Dds);
}

/// An instance hangs in a window for longer than its session, another one takes over, then it goes on.
async fn hang_in(service: Service, window: &str, hang: Duration) {
    // GIVEN an instance that hangs in the window
    let fleet = launch(&[small_batch(service)]).await;
    fleet.terminate(service).await;
    let messages = versions(&mut random(), 60, 5);
    fleet.ingest(&messages[..messages.len() / 2]).await;
    fleet.start_failing(service, &format!("{window}:stop:2"));
    fleet.frozen(service, SOON).await;
    // WHEN another one takes its partitions and works on
    fleet.second(service);
    fleet.members(service, 1, SOON).await;
    fleet.ingest(&messages[messages.len() / 2..]).await;
    tokio::time::sleep(hang).await;
    if window != "in_transaction" || hang > Duration::from_secs(20) {
        fleet.at_rest(SOON).await;
    }
    // AND the first one goes on
    fleet.thaw(service);
    fleet.push(100).await;
    fleet.members(service, 2, SOON).await;
    // THEN it writes nothing twice and does not harm what the other one keeps
    assert_exact(&fleet).await;
    fleet.kill_second(service);
    fleet.push(100).await;
    assert_exact(&fleet).await;
}

#[tokio::test]
async fn a_zombie_that_held_a_transaction_until_postgres_ended_it_is_fenced() {
    // Longer than idle_in_transaction_session_timeout.
    hang_in(Service::Dds, "in_transaction", Duration::from_secs(21)).await;
}

#[tokio::test]
async fn a_zombie_in_the_middle_of_a_copy_is_ended_by_the_one_that_took_over() {
    // Postgres waits for the rows of a COPY without end.
    hang_in(Service::Dds, "in_copy", Duration::ZERO).await;
}

#[tokio::test]
async fn a_zombie_that_comes_back_while_it_holds_its_transaction_commits_or_is_fenced() {
    hang_in(Service::Cdm, "in_transaction", Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_zombie_that_sends_its_outputs_late_changes_nothing() {
    hang_in(Service::Dds, "after_commit", Duration::ZERO).await;
    hang_in(Service::Stg, "after_ack", Duration::ZERO).await;
}

#[tokio::test]
async fn a_zombie_does_not_forget_the_outputs_of_the_one_that_took_over() {
    // GIVEN an instance that hangs behind its acknowledgements, and one after it that hangs before sending
    let fleet = launch(&[("BATCH_MAX_ROWS", "15")]).await;
    fleet.terminate(Service::Dds).await;
    let messages = versions(&mut random(), 60, 5);
    fleet.ingest(&messages).await;
    fleet.start_failing(Service::Dds, "after_ack:stop:2");
    fleet.frozen(Service::Dds, SOON).await;
    fleet.second_failing(Service::Dds, "after_commit:stop:6");
    fleet.second_frozen(Service::Dds, SOON).await;
    // WHEN the first one goes on, and the other one dies with its outputs kept but not sent
    fleet.thaw(Service::Dds);
    fleet.members(Service::Dds, 1, SOON).await;
    fleet.kill_second(Service::Dds);
    // THEN they are sent
    assert_exact(&fleet).await;
}
