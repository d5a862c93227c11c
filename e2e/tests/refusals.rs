//! What a server refuses is told as what it is, not as an outage.

use sqlx::Executor as _;
use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, LocalServers, Server, Service, eventually};

use crate::support::{SOON, reference, simple_order};

/// A user of Postgres that may do all a service does, and no more: it can be denied things.
struct Role {
    name: String,
}

impl Role {
    /// Makes the user and has the fleet be it.
    async fn of(fleet: &mut Fleet) -> Self {
        let name = format!("limited_{}", fleet.stg_topic().replace("stg_topic_", ""));
        let role = Self { name };
        role.run(fleet, "create role {role} login password 'limited'").await;
        for grant in [
            "usage on schema stg, dds, cdm, ops",
            "all on all tables in schema stg, dds, cdm, ops",
            "all on all sequences in schema stg, dds, cdm, ops",
        ] {
            role.run(fleet, &format!("grant {grant} to {{role}}")).await;
        }
        fleet.add_variable("POSTGRES_USER", &role.name);
        fleet.add_variable("POSTGRES_PASSWORD", "limited");
        role
    }

    /// Runs a statement as the owner, `{role}` being the user.
    async fn run(&self, fleet: &Fleet, statement: &str) {
        let statement = statement.replace("{role}", &self.name);
        let done = fleet.pool().execute(statement.as_str()).await;
        done.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
}

/// Ends the sessions of the user, so that the next ones meet what has changed.
const END_SESSIONS: &str = "select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'";

/// What is broken, how it is repaired, and what `/health` says meanwhile.
const FAULTS: [(&[&str], &[&str], &str); 5] = [
    (
        &["revoke insert on stg.order_events from {role}"],
        &["grant insert on stg.order_events to {role}"],
        "postgres denies our user a right: grant it",
    ),
    (
        &["alter table stg.order_events rename to order_events_away"],
        &["alter table stg.order_events_away rename to order_events"],
        "postgres lacks a table or column of this version: run the migrations",
    ),
    (
        &["alter table stg.order_events rename column payload to content"],
        &["alter table stg.order_events rename column content to payload"],
        "postgres lacks a table or column of this version: run the migrations",
    ),
    (
        &["alter role {role} set default_transaction_read_only = on", END_SESSIONS],
        &["alter role {role} reset default_transaction_read_only", END_SESSIONS],
        "postgres takes no writes",
    ),
    (
        &["alter role {role} connection limit 0", END_SESSIONS],
        &["alter role {role} connection limit -1"],
        "postgres takes no more connections: raise its max_connections",
    ),
];

#[tokio::test]
async fn what_postgres_refuses_is_told_with_what_to_do_and_the_stage_goes_on_when_it_is_repaired() {
    // GIVEN a stage whose user can be denied things
    let mut fleet = Fleet::prepare(&[]).await;
    let role = Role::of(&mut fleet).await;
    fleet.start(Service::DataSource);
    fleet.start(Service::Stg);
    fleet.wait_healthy(Service::DataSource).await;
    fleet.put_reference(&reference()).await;
    fleet.wait_healthy(Service::Stg).await;
    for (number, (faults, repairs, told)) in (0..).zip(FAULTS) {
        // WHEN Postgres refuses what the stage needs
        for fault in faults {
            role.run(&fleet, fault).await;
        }
        fleet.ingest(&[simple_order(number, "CLOSED")]).await;
        // THEN /health says what, and what to do
        eventually(SOON, told, async || {
            let health = fleet.get(Service::Stg, "/health").await;
            let worker = health.body["worker"].as_str().unwrap_or_default();
            holds(health.status == 503 && worker.contains(told), || health.body.to_string())
        })
        .await;
        // AND WHEN it is repaired
        for repair in repairs {
            role.run(&fleet, repair).await;
        }
        // THEN the stage goes on without a restart, and nothing is lost
        eventually(SOON, &format!("order {number} after: {told}"), async || {
            let rows: i64 = sqlx::query_scalar("select count(*) from stg.order_events")
                .fetch_one(fleet.pool())
                .await
                .expect("a count");
            holds(rows == number + 1, || format!("{rows} orders"))
        })
        .await;
        fleet.wait_healthy(Service::Stg).await;
    }
    // AND none of it was a dead letter
    fleet.terminate(Service::Stg).await;
    let dead_letters: i64 = sqlx::query_scalar("select count(*) from ops.dead_letters")
        .fetch_one(fleet.pool())
        .await
        .expect("a count");
    assert_eq!(dead_letters, 0);
    role.run(&fleet, "drop owned by {role}").await;
    role.run(&fleet, "drop role {role}").await;
}

#[tokio::test]
async fn a_redis_that_is_full_or_takes_no_writes_is_no_outage() {
    // GIVEN cdm, on servers of its own
    let servers = LocalServers::start_these(&[Server::Redis]).await;
    let fleet = Fleet::prepare_on(servers.servers(), &[]).await;
    for service in Service::ALL {
        fleet.start(service);
    }
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
    let mut admin = fleet.redis().await;
    let mut searches = 0;
    for (fault, repair, told) in [
        (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"], "redis is full"),
        (["REPLICAOF", "127.0.0.1", "1", ""], ["REPLICAOF", "NO", "ONE", ""], "redis takes no writes"),
    ] {
        let mut run = async |words: [&str; 4]| {
            let mut command = redis::cmd(words[0]);
            for word in words[1..].iter().filter(|word| !word.is_empty()) {
                command.arg(*word);
            }
            command.query_async::<()>(&mut admin).await.expect("Redis takes it");
        };
        // WHEN Redis takes no more, and searches come
        run(fault).await;
        searches += 20;
        let body = serde_json::json!({"N": 20, "stream": "hotel_search"});
        fleet.post(Service::DataSource, "/push", &body).await.ok();
        // THEN /health says why
        eventually(SOON, told, async || {
            let health = fleet.get(Service::Cdm, "/health").await;
            let worker = health.body["worker"].as_str().unwrap_or_default();
            holds(health.status == 503 && worker.contains(told), || health.body.to_string())
        })
        .await;
        // AND WHEN it is repaired THEN cdm goes on
        run(repair).await;
        fleet.wait_healthy(Service::Cdm).await;
        eventually(SOON, &format!("{searches} searches counted"), async || {
            let counted = fleet.get(Service::Cdm, "/hotels?limit=10000").await.ok();
            let sum: i64 =
                counted["data"].as_object().expect("hotels").values().filter_map(|n| n.as_i64()).sum();
            holds(sum == searches, || format!("{sum}"))
        })
        .await;
    }
}
