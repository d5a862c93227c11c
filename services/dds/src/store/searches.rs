//! Hotel searches: the link of each, and its offers.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use strata_pipeline::StageError;
use strata_pipeline::metrics::written;
use strata_streams::hotel_search::vault::{HOTEL_SEARCH, HOTEL_SEARCH_OFFERS};
use uuid::Uuid;

use super::hubs::load_columns;
use super::satellites::{Candidate, Columns};
use super::table::Table;
use strata_streams::hotel_search::rows::{Offers, SearchFact};

static SEARCHES: LazyLock<Table> =
    LazyLock::new(|| Table::of(&HOTEL_SEARCH.shape()).returning(HOTEL_SEARCH.key));
static OFFERS: LazyLock<Table> = LazyLock::new(|| Table::of(&HOTEL_SEARCH_OFFERS.shape()));

/// Inserts searches, sorted by key and each once, and returns the keys of those that were not there.
pub async fn insert_links(
    tx: &mut PgConnection,
    facts: &[&SearchFact<'_>],
) -> Result<BTreeSet<Uuid>, StageError> {
    let search_dt = |fact: &&SearchFact<'_>| {
        DateTime::from_timestamp_micros(fact.search.timestamp_micros()).unwrap_or_default()
    };
    let (load_dt, load_src) = load_columns(facts.iter().map(|fact| &fact.load));
    let created: Vec<Uuid> = sqlx::query_scalar(&SEARCHES.insert)
        .bind(facts.iter().map(|fact| fact.search_pk).collect::<Vec<Uuid>>())
        .bind(facts.iter().map(|fact| fact.event_id).collect::<Vec<&str>>())
        .bind(facts.iter().map(|fact| fact.user_pk).collect::<Vec<Uuid>>())
        .bind(facts.iter().map(|fact| fact.hotel_pk).collect::<Vec<Uuid>>())
        .bind(facts.iter().map(search_dt).collect::<Vec<DateTime<Utc>>>())
        .bind(load_dt)
        .bind(load_src)
        .fetch_all(tx)
        .await?;
    written::note(&SEARCHES.name, created.len() as u64);
    Ok(created.into_iter().collect())
}

/// Inserts the offers of searches that were not there: a search never changes, so nothing is compared.
pub async fn insert_offers(
    tx: &mut PgConnection,
    mut records: Vec<Candidate<Offers<'_>>>,
) -> Result<(), StageError> {
    records.sort_unstable_by_key(|record| record.parent);
    let Some(columns) = Columns::of(&records) else { return Ok(()) };
    let advertisers: Vec<String> = records.iter().map(|r| array_literal(r.value.0.0)).collect();
    let (prices, winners): (Vec<Option<i64>>, Vec<Option<&str>>) =
        records.iter().map(|r| r.value.0.1.map(|o| (o.price, o.advertiser.as_str())).unzip()).unzip();
    let done = columns.bind(&OFFERS.insert).bind(advertisers).bind(prices).bind(winners).execute(tx).await?;
    written::note(&OFFERS.name, done.rows_affected());
    Ok(())
}

/// A list as the text of a Postgres array; an array of arrays cannot be bound, they may differ in length.
///
/// **Source**: PostgreSQL manual, 8.15.6 Array Input and Output Syntax.
fn array_literal(items: &[String]) -> String {
    let mut text = String::from("{");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push('"');
        for c in item.chars() {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_form_become_elements_of_an_array() {
        let cases: [(&[&str], &str); 4] = [
            (&[], "{}"),
            (&["Amoma", "NULL"], r#"{"Amoma","NULL"}"#),
            (&["a,b", "{c}", ""], r#"{"a,b","{c}",""}"#),
            (&[r#"the "best" \ rest"#], r#"{"the \"best\" \\ rest"}"#),
        ];
        for (names, literal) in cases {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(array_literal(&names), literal);
        }
    }
}
