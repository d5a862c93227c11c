//! The description of the vault, against the database that the migrations make.

use std::collections::BTreeMap;

use strata_streams::{STREAMS, vault};
use strata_testkit::{Servers, TestDatabase};
use strata_vault::model::{SCHEMA, Table};

/// A table as Postgres has it: columns by name with type and whether they may be null, and its primary key.
type Found = (BTreeMap<String, (String, bool)>, Vec<String>);

/// All tables of the schema.
async fn found(database: &TestDatabase) -> BTreeMap<String, Found> {
    let columns: Vec<(String, String, String, bool)> = sqlx::query_as(
        "select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), not a.attnotnull \
         from pg_class as c join pg_attribute as a on a.attrelid = c.oid \
         where c.relnamespace = $1::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped",
    )
    .bind(SCHEMA)
    .fetch_all(database.pool())
    .await
    .expect("the columns");
    let keys: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.table_constraints as t \
         join information_schema.key_column_usage as k using (constraint_schema, constraint_name, table_name) \
         where t.table_schema = $1 and t.constraint_type = 'PRIMARY KEY' order by table_name, k.ordinal_position",
    )
    .bind(SCHEMA)
    .fetch_all(database.pool())
    .await
    .expect("the primary keys");
    let mut tables: BTreeMap<String, Found> = BTreeMap::new();
    for (table, column, kind, nullable) in columns {
        tables.entry(table).or_default().0.insert(column, (kind, nullable));
    }
    for (table, column) in keys {
        tables.entry(table).or_default().1.push(column);
    }
    tables
}

/// A table as it is described.
fn described(table: &Table) -> Found {
    let columns = table.columns.iter().map(|c| (c.name.to_owned(), (c.kind.name().to_owned(), c.nullable)));
    (columns.collect(), table.primary_key.iter().map(|column| (*column).to_owned()).collect())
}

#[tokio::test]
async fn the_described_vault_is_the_one_that_the_migrations_make() {
    // GIVEN a migrated database, and the tables as the models describe them
    let database = TestDatabase::create(&Servers::from_env().await).await;
    let mut found = found(&database).await;
    let mut problems = Vec::new();
    let mut by_name: BTreeMap<&str, (Table, Vec<&str>)> = BTreeMap::new();
    for stream in STREAMS {
        for table in stream.vault.tables() {
            by_name.entry(table.name).or_insert_with(|| (table, Vec::new())).1.push(stream.spec.name);
        }
    }
    // WHEN they are compared
    for (name, (table, streams)) in by_name {
        if streams.len() > 1 && name != vault::USER.table {
            problems.push(format!("{name} is in the vaults of {streams:?}"));
        }
        let described = described(&table);
        let Some(found) = found.remove(name) else {
            problems.push(format!("{name} is in the vault of {streams:?} and in no migration"));
            continue;
        };
        if found != described {
            problems.push(format!("{name} is described as {described:?}, but is {found:?}"));
        }
    }
    problems.extend(found.keys().map(|name| format!("{name} is in no vault")));
    // THEN nothing differs
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
