//! Every client gets through by every way in.

use sqlx::Row as _;
use strata_testkit::{Kafka, Mechanism, NewRecord, Servers};
use uuid::Uuid;

use super::shared;

#[tokio::test]
async fn kafka_lets_producer_consumer_and_admin_in_by_every_mechanism() {
    let servers = shared().await;
    for mechanism in Mechanism::ALL {
        assert_kafka_works(&servers.servers(mechanism)).await;
    }
}

#[tokio::test]
async fn kafka_postgres_and_redis_let_a_client_certificate_in() {
    let servers = Servers::at(shared().await.variables_of_certified());
    assert_kafka_works(&servers).await;
    assert_postgres_encrypts(&servers, "certified").await;
    assert_redis_works(&servers, "stra@ta").await;
}

#[tokio::test]
async fn postgres_and_redis_let_a_user_in_whose_password_is_of_any_characters() {
    let servers = shared().await.servers(Mechanism::Plain);
    assert_postgres_encrypts(&servers, "stra@ta").await;
    assert_redis_works(&servers, "stra@ta").await;
}

#[tokio::test]
async fn urls_lead_to_the_same_servers_when_their_parts_are_escaped() {
    let secure = shared().await;
    let mut variables = secure.variables(Mechanism::Plain);
    let value = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone()).expect(name);
    let user = "stra%40ta:p%40ss%3Aw%2Ford%23%25%3F%26%22'%20%C3%BC";
    let postgres = format!("postgres://{user}@localhost:{}/dwh", value("POSTGRES_PORT"));
    let redis = format!("rediss://{user}@localhost:{}", value("REDIS_PORT"));
    variables.retain(|(name, _)| !["REDIS_TLS", "REDIS_PASSWORD", "REDIS_USERNAME"].contains(name));
    variables.extend([("DATABASE_URL", postgres), ("REDIS_URL", redis)]);
    let servers = Servers::at(variables);
    assert_postgres_encrypts(&servers, "stra@ta").await;
    assert_redis_works(&servers, "stra@ta").await;
}

/// Creates a topic, writes a record and reads it.
async fn assert_kafka_works(servers: &Servers) {
    let kafka = Kafka::new(servers.kafka());
    let topic = format!("secure_{}", Uuid::new_v4().simple());
    kafka.create(&topic, 1).await;
    kafka.produce(&topic, &[NewRecord { payload: Some(b"seen".to_vec()), ..NewRecord::default() }]).await;
    let read = kafka.read_all(&topic).await;
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].payload.as_deref(), Some(&b"seen"[..]));
    kafka.delete(&[topic], &[]).await;
}

async fn assert_postgres_encrypts(servers: &Servers, user: &str) {
    let mut connection = servers.connect_postgres().await;
    let row = sqlx::query("select current_user::text, ssl from pg_stat_ssl where pid = pg_backend_pid()")
        .fetch_one(&mut connection)
        .await
        .expect("postgres answers");
    assert_eq!((row.get::<&str, _>(0), row.get::<bool, _>(1)), (user, true));
}

async fn assert_redis_works(servers: &Servers, user: &str) {
    let who: String = redis::cmd("ACL")
        .arg("WHOAMI")
        .query_async(&mut servers.connect_redis().await)
        .await
        .expect("redis answers");
    assert_eq!(who, user);
}
