//! The tables that the registry of streams names, against the database that the migrations make.

use strata_streams::STREAMS;
use strata_testkit::{Servers, TestDatabase};

/// True where the table has a unique index on just these columns.
async fn is_unique(database: &TestDatabase, table: &str, columns: &[&str]) -> bool {
    sqlx::query_scalar(
        "select exists (select from pg_index as i where i.indrelid = to_regclass($1) and i.indisunique \
         and i.indpred is null and array(select a.attname::text from pg_attribute as a \
         where a.attrelid = i.indrelid and a.attnum = any(i.indkey) order by 1) = array(select unnest($2::text[]) order by 1))",
    )
    .bind(table)
    .bind(columns)
    .fetch_one(database.pool())
    .await
    .expect("an answer")
}

#[tokio::test]
async fn every_table_of_a_stream_is_there_and_unique_by_its_key() {
    // GIVEN a migrated database
    let database = TestDatabase::create(&Servers::from_env().await).await;
    let mut problems = Vec::new();
    for stream in STREAMS {
        // WHEN its raw table and its counters are looked for
        let raw = (stream.raw.table, stream.raw.key);
        for (table, key) in stream.counters().map(|counters| (counters.table, counters.key)).chain([raw]) {
            let columns: Vec<&str> = key.split(", ").collect();
            if !is_unique(&database, table, &columns).await {
                problems.push(format!("{}: no unique index of {table} on ({key})", stream.spec.name));
            }
        }
    }
    // THEN all are there
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
