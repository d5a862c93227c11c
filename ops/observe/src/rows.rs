//! Rows by table: exact when the fleet is at rest, and cheap while it is not.
//!
//! Counting takes time in proportion to the table, and the statistics of Postgres are estimates that lag behind. So
//! the tables are counted when nothing moves, seldom enough to cost little, and in between the statistics say
//! what came since.

use std::collections::BTreeMap;
use std::time::Instant;

use sqlx::PgPool;
use strata_streams::{Counters, STREAMS};
use strata_vault::model::SCHEMA;

use crate::snapshot::Table;

/// A table that is estimated to be larger is not counted.
const MOST_ROWS: i64 = 2_000_000;

/// Counting takes no more than this share of the time.
const SHARE: u32 = 20;

/// A table by schema and name.
type Name = (String, String);

/// What the statistics say of a table.
struct Known {
    name: Name,
    /// Live rows, roughly.
    estimate: i64,
    /// Rows inserted less rows deleted, ever.
    moved: i64,
}

/// What was counted last.
#[derive(Default)]
pub struct Rows {
    /// Rows, and the statistics of that moment.
    counted: BTreeMap<Name, (i64, i64)>,
    /// What the fleet had applied then, and all that had moved in the tables.
    moment: Option<(Vec<i64>, i64)>,
    /// Not to be counted again before.
    rest_until: Option<Instant>,
}

impl Rows {
    /// The rows of every table; `at_rest` is what the stages have applied, where nothing is left to apply.
    pub async fn look(&mut self, pool: &PgPool, at_rest: Option<Vec<i64>>) -> sqlx::Result<Vec<Table>> {
        let known = statistics(pool).await?;
        let all_moved = known.iter().map(|table| table.moved).sum();
        let moment = at_rest.map(|applied| (applied, all_moved));
        let news = moment.is_some() && moment != self.moment;
        if news && self.rest_until.is_none_or(|until| Instant::now() >= until) {
            let started = Instant::now();
            // What takes too long is left to the statistics.
            if let Ok(counted) = count(pool, &known).await {
                self.counted = counted;
                self.moment.clone_from(&moment);
            }
            self.rest_until = Some(Instant::now() + started.elapsed() * SHARE);
        }
        let exact = moment.is_some() && moment == self.moment;
        Ok(known.iter().map(|table| self.table(table, exact)).collect())
    }

    fn table(&self, known: &Known, exact: bool) -> Table {
        let (layer, name) = known.name.clone();
        let counted = self.counted.get(&known.name);
        let rows = counted.map_or(known.estimate, |(rows, moved)| rows + known.moved - moved);
        Table { layer, name, rows: rows.max(0), exact: exact && counted.is_some() }
    }
}

/// Asks for all tables of the layers, in their order.
async fn statistics(pool: &PgPool) -> sqlx::Result<Vec<Known>> {
    let rows: Vec<(String, String, i64, i64)> =
        sqlx::query_as(include_str!("../sql/select_table_statistics.sql")).fetch_all(pool).await?;
    let known = rows.into_iter();
    Ok(known.map(|(layer, name, estimate, moved)| Known { name: (layer, name), estimate, moved }).collect())
}

/// Counts the tables that are not too large, all at one moment.
async fn count(pool: &PgPool, known: &[Known]) -> sqlx::Result<BTreeMap<Name, (i64, i64)>> {
    let small: Vec<&Known> = known.iter().filter(|table| table.estimate <= MOST_ROWS).collect();
    if small.is_empty() {
        return Ok(BTreeMap::new());
    }
    let one = |(index, table): (usize, &&Known)| {
        let (layer, name) = &table.name;
        format!("select {index}, count(*) from \"{layer}\".\"{name}\"")
    };
    let statement = small.iter().enumerate().map(one).collect::<Vec<_>>().join(" union all ");
    let counts: Vec<(i32, i64)> = sqlx::query_as(&statement).fetch_all(pool).await?;
    let counted = counts.into_iter().filter_map(|(index, rows)| {
        let table = small.get(usize::try_from(index).ok()?)?;
        Some((table.name.clone(), (rows, table.moved)))
    });
    Ok(counted.collect())
}

/// What tells most of every layer, counted, in the order of the layers: rows by table, and what the counters sum up to.
pub async fn summary(pool: &PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = |table: String| (format!("select count(*) from {table}"), table);
    let mut counts: Vec<_> = STREAMS.iter().map(|stream| rows(stream.raw.table.to_owned())).collect();
    let vault = STREAMS.iter().flat_map(|stream| stream.summary);
    counts.extend(vault.map(|table| rows(format!("{SCHEMA}.{table}"))));
    for Counters { table, by, .. } in STREAMS.iter().flat_map(|stream| stream.counters()) {
        counts.push(rows((*table).to_owned()));
        let sum = format!("select coalesce(sum(order_cnt), 0)::bigint from {table}");
        counts.push((sum, format!("  orders counted, by {by}")));
    }
    counts.push(rows("ops.dead_letters".to_owned()));
    let mut summary = Vec::with_capacity(counts.len());
    for (statement, name) in counts {
        summary.push((name, sqlx::query_scalar(&statement).fetch_one(pool).await?));
    }
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_the_count_is_added_to_it() {
        let name = ("stg".to_owned(), "order_events".to_owned());
        let rows = Rows { counted: BTreeMap::from([(name.clone(), (100, 40))]), ..Rows::default() };
        let table = rows.table(&Known { name: name.clone(), estimate: 7, moved: 45 }, true);
        assert_eq!((table.rows, table.exact), (105, true));
        let never = Rows::default().table(&Known { name, estimate: 7, moved: 45 }, true);
        assert_eq!((never.rows, never.exact), (7, false));
    }
}
