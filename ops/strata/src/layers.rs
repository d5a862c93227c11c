//! The rows of every layer, as a table for people.

use sqlx::PgPool;

/// What is counted, in the order of the layers.
const COUNTS: &[(&str, &str)] = &[
    ("stg.order_events", "select count(*) from stg.order_events"),
    ("stg.hotel_search_events", "select count(*) from stg.hotel_search_events"),
    ("dds.h_order", "select count(*) from dds.h_order"),
    ("dds.h_user", "select count(*) from dds.h_user"),
    ("dds.h_product", "select count(*) from dds.h_product"),
    ("dds.l_order_product", "select count(*) from dds.l_order_product"),
    ("dds.s_order_status", "select count(*) from dds.s_order_status"),
    ("dds.h_hotel", "select count(*) from dds.h_hotel"),
    ("dds.l_hotel_search", "select count(*) from dds.l_hotel_search"),
    ("cdm.user_product_counters", "select count(*) from cdm.user_product_counters"),
    (
        "  orders counted, by product",
        "select coalesce(sum(order_cnt), 0)::bigint from cdm.user_product_counters",
    ),
    ("cdm.user_category_counters", "select count(*) from cdm.user_category_counters"),
    (
        "  orders counted, by category",
        "select coalesce(sum(order_cnt), 0)::bigint from cdm.user_category_counters",
    ),
    ("ops.dead_letters", "select count(*) from ops.dead_letters"),
];

/// Prints one line a table.
pub async fn print(pool: &PgPool) -> anyhow::Result<()> {
    for (name, statement) in COUNTS {
        let rows: i64 = sqlx::query_scalar(statement).fetch_one(pool).await?;
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
