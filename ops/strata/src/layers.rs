//! The rows of every layer, as a table for people.

use sqlx::PgPool;
use strata_streams::{Counters, STREAMS};
use strata_vault::model::SCHEMA;

/// Names of what is counted with the statements that do, in the order of the layers.
fn counts() -> Vec<(String, String)> {
    let rows = |table: String| {
        let count = format!("select count(*) from {table}");
        (table, count)
    };
    let mut counts: Vec<_> = STREAMS.iter().map(|stream| rows(stream.raw.table.to_owned())).collect();
    let vault = STREAMS.iter().flat_map(|stream| stream.summary);
    counts.extend(vault.map(|table| rows(format!("{SCHEMA}.{table}"))));
    for Counters { table, by, .. } in STREAMS.iter().flat_map(|stream| stream.counters()) {
        counts.push(rows((*table).to_owned()));
        let sum = format!("select coalesce(sum(order_cnt), 0)::bigint from {table}");
        counts.push((format!("  orders counted, by {by}"), sum));
    }
    counts.push(rows("ops.dead_letters".to_owned()));
    counts
}

/// Prints one line per table.
pub async fn print(pool: &PgPool) -> anyhow::Result<()> {
    for (name, statement) in counts() {
        let rows: i64 = sqlx::query_scalar(&statement).fetch_one(pool).await?;
        println!("  {name:<32}{:>14}", grouped(rows));
    }
    Ok(())
}

/// A number with its thousands set apart.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (-1_234_567, "-1 234 567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
