//! The rows of every layer, as a table for people.

use sqlx::PgPool;
use strata_streams::hotel_search::vault as hotel_search;
use strata_streams::order::vault as order;
use strata_streams::vault;
use strata_vault::model::SCHEMA;

/// Tables of the vault that are counted, in the order of its layers.
const VAULT: [&str; 7] = [
    order::ORDER.table,
    vault::USER.table,
    order::PRODUCT.table,
    order::ORDER_PRODUCT.table,
    order::ORDER_STATUS.table,
    hotel_search::HOTEL.table,
    hotel_search::HOTEL_SEARCH.table,
];

/// Counters, and by what they count orders.
const COUNTERS: [(&str, &str); 2] =
    [("cdm.user_product_counters", "product"), ("cdm.user_category_counters", "category")];

/// Names of what is counted with the statements that do, in the order of the layers.
fn counts() -> Vec<(String, String)> {
    let rows = |table: String| {
        let count = format!("select count(*) from {table}");
        (table, count)
    };
    let mut counts =
        ["stg.order_events", "stg.hotel_search_events"].map(|table| rows(table.to_owned())).to_vec();
    counts.extend(VAULT.map(|table| rows(format!("{SCHEMA}.{table}"))));
    for (table, what) in COUNTERS {
        counts.push(rows(table.to_owned()));
        let sum = format!("select coalesce(sum(order_cnt), 0)::bigint from {table}");
        counts.push((format!("  orders counted, by {what}"), sum));
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
