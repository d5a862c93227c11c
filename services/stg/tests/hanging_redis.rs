//! Reference data that cannot be asked for.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::pin;
use std::time::Duration;

use redis::ConnectionAddr;
use sqlx::PgPool;
use stg::order::handler::OrderHandler;
use stg::reference::ReferenceCache;
use strata_events::StageId;
use strata_pipeline::stage::{Span, Stage as _};
use strata_pipeline::{DeadLetterGuard, Partitions, PgStage, Record, StageError};
use strata_service::Settings;
use strata_service::config::DeadLetterLimits;
use strata_service::redis::{ReferenceKeys, connect};
use strata_testkit::{Proxy, Servers, TestDatabase, eventually};
use uuid::Uuid;

const ORDER: &[u8] = strata_streams::order::golden::RAW.as_bytes();

/// Where the Redis of the environment is.
fn redis_address(servers: &Servers) -> SocketAddr {
    let client = servers.redis();
    let ConnectionAddr::Tcp(host, port) = client.get_connection_info().addr() else {
        panic!("redis over TCP")
    };
    (host.as_str(), *port).to_socket_addrs().expect("a host").next().expect("an address")
}

/// The order stream, its Redis behind `proxy`, at the start of partition 0.
async fn stage_behind(proxy: &Proxy, pool: &PgPool) -> PgStage<OrderHandler> {
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let variable = |name: &str| (name == "REDIS_URL").then(|| url.clone());
    let settings = Settings::from_lookup("STG_PORT", variable).expect("settings fit");
    let redis = connect(&settings.redis);
    let reference = ReferenceCache::new(redis, ReferenceKeys { prefix: format!("test-{}:", Uuid::new_v4()) });
    let handler = OrderHandler::new(reference, "dds_topic".into());
    let partitions = Partitions::told_by(|| Ok([("stg_topic.dlq".to_owned(), 6)].into()));
    let route = settings.topics.route(&strata_streams::order::ORDER, StageId::Stg).expect("orders pass stg");
    let mut stage = PgStage::new(pool.clone(), &route, partitions, handler);
    stage.initialize(&[0]).await.expect("an offset row");
    stage
}

/// Transactions that other sessions have open.
async fn open_transactions(pool: &PgPool) -> i64 {
    let open = "select count(*) from pg_stat_activity where datname = current_database() and xact_start is not null \
                and pid <> pg_backend_pid() and backend_type = 'client backend'";
    sqlx::query_scalar(open).fetch_one(pool).await.expect("the list of sessions")
}

#[tokio::test]
async fn a_redis_that_hangs_holds_no_transaction_open_and_no_offset_row_locked() {
    // GIVEN a stage whose Redis takes connections and answers nothing
    let servers = Servers::from_env().await;
    let database = TestDatabase::create(&servers).await;
    let proxy = Proxy::start(redis_address(&servers));
    let mut stage = stage_behind(&proxy, database.pool()).await;
    proxy.hang();
    // WHEN it has an order in hand
    let records = [Record { topic: "stg_topic".into(), payload: ORDER.to_vec(), ..Record::default() }];
    let span = Span::from([(0, (0, 1))]);
    let mut guard = DeadLetterGuard::new(DeadLetterLimits { max_share: 1.0, min_records: 1 });
    let mut looks = 0;
    let outcome = {
        let mut applying = pin!(stage.apply(&records, &span, None, &mut guard));
        // THEN, for as long as it waits, nobody waits for it
        loop {
            match tokio::time::timeout(Duration::from_millis(20), &mut applying).await {
                Ok(outcome) => break outcome,
                Err(_) => looks += 1,
            }
            assert_eq!(open_transactions(database.pool()).await, 0);
            let lock = "select from ops.consumer_offsets for update nowait";
            sqlx::query(lock).fetch_one(database.pool()).await.expect("the offset row is free");
        }
    };
    assert!(matches!(outcome, Err(StageError::Transient { dependency: "redis", .. })), "{outcome:?}");
    assert!(looks >= 10, "{looks}");
    // AND it goes on when Redis does
    proxy.resume();
    eventually(Duration::from_secs(30), "the order, applied", async || {
        let applied = stage.apply(&records, &span, None, &mut guard).await;
        applied.map(drop).map_err(|e| e.to_string())
    })
    .await;
}
