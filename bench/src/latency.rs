//! Latency: from producing an order to its counter being visible in Postgres.
//!
//! Among a background of pushed orders, probes are produced one by one, each by a user of its own, so
//! that the user's first counter row is the event. One connection asks for the rows of the probes under
//! way, by index, a millisecond or two apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use strata_testkit::reference::{Reference, User, hex_id};
use strata_testkit::{Fleet, NewRecord, Service, order};
use strata_vault::hub_key;
use uuid::Uuid;

use crate::load::push;

/// Orders a second, probes included.
pub const RATE: u64 = 500;

/// Probes a second.
const PROBES: u64 = 20;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Time that the background runs before the first probe.
const WARM_UP: Duration = Duration::from_secs(2);

/// A probe that is not visible within this is lost.
const VISIBLE_WITHIN: Duration = Duration::from_secs(30);

/// Ids of probes, out of the way of generated orders.
const FIRST_PROBE: i64 = 1 << 50;

/// Milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// Probes.
    pub probes: usize,
    /// Half of them were faster.
    pub p50_ms: f64,
    /// 95 of 100 were faster.
    pub p95_ms: f64,
    /// 99 of 100 were faster.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// Longest time between two looks: how much of a figure may be the measurement's own.
    pub longest_look_ms: f64,
    /// Orders stored by the end, probes included.
    #[serde(skip)]
    pub orders: u64,
}

/// Probes under way: user key → when the order was handed to the producer.
type Outstanding = Arc<Mutex<BTreeMap<Uuid, Instant>>>;

/// Runs for `time` and a little longer.
pub async fn run(fleet: &Fleet, time: Duration) -> anyhow::Result<Latency> {
    let probes = time.as_secs() * PROBES;
    let mut users = Reference::default();
    for number in 0..usize::try_from(probes)? {
        let id = hex_id(0xe0, number);
        let user =
            User {
                id: id.clone(), name: format!("Проба №{number}"), login: format!("probe_{number}")
            };
        users.users.insert(id, user);
    }
    let menus = fleet.reference().await;
    let background = (time + WARM_UP * 2).as_secs() * (RATE - PROBES);
    let body = json!({"N": background, "rate": RATE - PROBES});
    let outstanding: Outstanding = Arc::default();
    let (pushed, watched, sent) = tokio::join!(
        push(fleet, body),
        watch(fleet.pool(), Arc::clone(&outstanding), usize::try_from(probes)?),
        send(fleet, &users, &menus, Arc::clone(&outstanding)),
    );
    let (status, answer) = pushed?;
    ensure!(status == 200, "/push answered {status}: {answer}");
    sent?;
    let (mut times, longest_look) = watched?;
    fleet.at_rest(VISIBLE_WITHIN).await;
    times.sort_unstable();
    let at = |share: f64| millis(times[((times.len() - 1) as f64 * share).round() as usize]);
    Ok(Latency {
        probes: times.len(),
        p50_ms: at(0.50),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        longest_look_ms: millis(longest_look),
        orders: background + probes,
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Produces the probes at their pace.
async fn send(
    fleet: &Fleet,
    users: &Reference,
    menus: &Reference,
    outstanding: Outstanding,
) -> anyhow::Result<()> {
    let restaurant = menus.restaurants.values().next().context("the reference data have a restaurant")?;
    let topic = fleet.stg_topic();
    tokio::time::sleep(WARM_UP / 2).await;
    // The background has chosen from the users that there were when it began: it never orders for these.
    let put = fleet.put_lines(Service::DataSource, "/reference/users", users.users_ndjson()).await;
    ensure!(put.status == 200, "the users of the probes: {}", put.body);
    tokio::time::sleep(WARM_UP / 2).await;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(PROBES)?);
    for (id, user) in (FIRST_PROBE..).zip(users.users.values()) {
        ticks.tick().await;
        let message = order(id).user(user).dishes(restaurant, [0, 1, 2]).status("CLOSED").build();
        let record = NewRecord::of(message.to_string()).key(id.to_string());
        outstanding.lock().unwrap_or_else(PoisonError::into_inner).insert(hub_key(&user.id), Instant::now());
        fleet.kafka().produce(&topic, &[record]).await;
    }
    Ok(())
}

/// Looks for the probes until all are visible; returns their times and the longest gap between looks.
async fn watch(
    pool: &PgPool,
    outstanding: Outstanding,
    probes: usize,
) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let mut connection = pool.acquire().await?;
    let mut times = Vec::with_capacity(probes);
    let (mut longest, mut last_look, mut last_seen) = (Duration::ZERO, None::<Instant>, Instant::now());
    while times.len() < probes {
        tokio::time::sleep(LOOK_EVERY).await;
        let keys: Vec<Uuid> =
            outstanding.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        if keys.is_empty() {
            last_look = None;
            last_seen = Instant::now();
            continue;
        }
        let visible: Vec<Uuid> = sqlx::query_scalar(
            "select distinct user_id from cdm.user_category_counters where user_id = any($1)",
        )
        .bind(&keys)
        .fetch_all(&mut *connection)
        .await?;
        let now = Instant::now();
        longest = longest.max(last_look.replace(now).map_or(Duration::ZERO, |last| now - last));
        let mut waiting = outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        for sent in visible.iter().filter_map(|key| waiting.remove(key)) {
            times.push(now - sent);
            last_seen = now;
        }
        drop(waiting);
        ensure!(last_seen.elapsed() < VISIBLE_WITHIN, "a probe never became visible");
    }
    Ok((times, longest))
}
