//! A database per test.

use sqlx::Executor as _;
use strata_testkit::{Servers, TestDatabase};

async fn exists(servers: &Servers, name: &str) -> bool {
    sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&mut servers.connect_postgres().await)
        .await
        .expect("the list of databases")
}

async fn orders(database: &TestDatabase) -> i64 {
    sqlx::query_scalar("select count(*) from stg.order_events")
        .fetch_one(database.pool())
        .await
        .expect("a count")
}

#[tokio::test]
async fn databases_are_migrated_and_know_nothing_of_each_other() {
    // GIVEN two databases made at once
    let servers = Servers::from_env().await;
    let (first, second) = tokio::join!(TestDatabase::create(&servers), TestDatabase::create(&servers));
    // WHEN an order is written to one
    first
        .pool()
        .execute("insert into stg.order_events (object_id, object_type, sent_dttm, payload) values (1, 'order', now(), '{}')")
        .await
        .expect("the schema is there");
    // THEN the other does not have it
    assert_eq!((orders(&first).await, orders(&second).await), (1, 0));
}

#[tokio::test]
async fn a_database_is_dropped_with_its_value_though_connections_are_open() {
    // GIVEN a database with an open connection
    let servers = Servers::from_env().await;
    let database = TestDatabase::create(&servers).await;
    let name = database.name().to_owned();
    let connection = database.pool().acquire().await.expect("a connection");
    assert!(exists(&servers, &name).await);
    // WHEN the value goes
    drop(database);
    // THEN the database goes
    assert!(!exists(&servers, &name).await);
    drop(connection);
}

#[tokio::test]
async fn the_url_leads_to_the_database() {
    // GIVEN a database
    let servers = Servers::from_env().await;
    let database = TestDatabase::create(&servers).await;
    // WHEN its URL is used
    let pool = sqlx::PgPool::connect(&database.url()).await.expect("the URL works");
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&pool).await.expect("a name");
    // THEN it leads there
    assert_eq!(name, database.name());
}
