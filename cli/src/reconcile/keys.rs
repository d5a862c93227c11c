//! Every key and every hashdiff against what it is the hash of, computed as the services do.
//!
//! A key that fits its business key and is unique, as the primary key sees to, means that no business key
//! stands twice; a hashdiff that fits means that no attribute was changed.

use strata_vault::{hashdiff, hub_key, link_key};

use super::copy::{Row, copy_out};
use super::report::{Check, Report};
use super::snapshot::Snapshot;

/// Hubs: table, key, business key.
const HUBS: [(&str, &str, &str); 5] = [
    ("h_order", "h_order_pk", "order_id"),
    ("h_user", "h_user_pk", "user_id"),
    ("h_product", "h_product_pk", "product_id"),
    ("h_category", "h_category_pk", "category_name"),
    ("h_restaurant", "h_restaurant_pk", "restaurant_id"),
];

/// Links: table, key, hub keys.
const LINKS: [(&str, &str, [&str; 2]); 5] = [
    ("l_order_user", "hk_order_user_pk", ["h_order_pk", "h_user_pk"]),
    ("l_order_product", "hk_order_product_pk", ["h_order_pk", "h_product_pk"]),
    ("l_order_category", "hk_order_category_pk", ["h_order_pk", "h_category_pk"]),
    ("l_product_restaurant", "hk_product_restaurant_pk", ["h_product_pk", "h_restaurant_pk"]),
    ("l_product_category", "hk_product_category_pk", ["h_product_pk", "h_category_pk"]),
];

/// Satellites: table, parent, hashdiff, attributes as they are hashed.
const SATELLITES: [(&str, &str, &str, &[&str]); 5] = [
    ("s_user_names", "h_user_pk", "hk_user_names_hashdiff", &["username", "userlogin"]),
    ("s_product_names", "h_product_pk", "hk_product_names_hashdiff", &["name"]),
    ("s_restaurant_names", "h_restaurant_pk", "hk_restaurant_names_hashdiff", &["name"]),
    (
        "s_order_cost",
        "h_order_pk",
        "hk_order_cost_hashdiff",
        &["trim_scale(cost)::text", "trim_scale(payment)::text"],
    ),
    ("s_order_status", "h_order_pk", "hk_order_status_hashdiff", &["status"]),
];

/// Checks the keys of the order stream.
pub async fn check(snapshot: &mut Snapshot, report: &mut Report) -> anyhow::Result<()> {
    let mut hubs = Check::new("dds: keys of hubs are those of their business keys");
    for (table, key, business_key) in HUBS {
        let select = format!("select {key}, {business_key}::text from dds.{table}");
        compare(snapshot, &mut hubs, &select, |row| {
            let (key, expected) = (row.uuid(0)?, hub_key(row.text(1)?));
            let differs =
                || format!("{table}: {business_key} {:?} has the key {key}, not {expected}", row.text(1));
            Ok((key != expected).then(differs))
        })
        .await?;
    }
    let mut links = Check::new("dds: keys of links are those of their hubs");
    for (table, key, [first, second]) in LINKS {
        let select = format!("select {key}, {first}, {second} from dds.{table}");
        compare(snapshot, &mut links, &select, |row| {
            let (key, hubs) = (row.uuid(0)?, [row.uuid(1)?, row.uuid(2)?]);
            let differs = || {
                format!("{table}: {} and {} have the key {key}, not {}", hubs[0], hubs[1], link_key(&hubs))
            };
            Ok((key != link_key(&hubs)).then(differs))
        })
        .await?;
    }
    let mut satellites = Check::new("dds: hashdiffs are those of their attributes");
    for (table, parent, hashed, attributes) in SATELLITES {
        let select = format!("select {parent}, {hashed}, {} from dds.{table}", attributes.join(", "));
        compare(snapshot, &mut satellites, &select, |row| {
            let values: Vec<&str> =
                (0..attributes.len()).map(|column| row.text(2 + column)).collect::<Result<_, _>>()?;
            let (parent, stored) = (row.uuid(0)?, row.uuid(1)?);
            let differs = || format!("{table}: {parent} says {values:?}, but its hashdiff {stored} does not");
            Ok((stored != hashdiff(&values)).then(differs))
        })
        .await?;
    }
    report.checks.extend([hubs, links, satellites]);
    Ok(())
}

async fn compare(
    snapshot: &mut Snapshot,
    check: &mut Check,
    select: &str,
    difference: impl Fn(&Row<'_>) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    copy_out(snapshot.connection(), select, |row| {
        check.compared += 1;
        if let Some(text) = difference(row)? {
            check.differs(|| text);
        }
        Ok(())
    })
    .await
}
