//! The vault against itself: every row has its parents and its children, and histories hold changes only.
//!
//! dds writes hubs, links and satellites of a record in one transaction, so nothing of this is ever in flight.

use super::report::{Check, Report};
use super::snapshot::Snapshot;

/// Links of the order stream: table and the hubs it joins.
const LINKS: [(&str, [&str; 2]); 5] = [
    ("l_order_user", ["order", "user"]),
    ("l_order_product", ["order", "product"]),
    ("l_order_category", ["order", "category"]),
    ("l_product_restaurant", ["product", "restaurant"]),
    ("l_product_category", ["product", "category"]),
];

/// Satellites of the order stream: table and hub.
const SATELLITES: [(&str, &str); 5] = [
    ("s_user_names", "user"),
    ("s_product_names", "product"),
    ("s_restaurant_names", "restaurant"),
    ("s_order_cost", "order"),
    ("s_order_status", "order"),
];

/// What every row of a hub must have. Users of hotel searches have no names and no orders.
const CHILDREN: [(&str, &str); 13] = [
    ("order", "l_order_user"),
    ("order", "l_order_product"),
    ("order", "l_order_category"),
    ("order", "s_order_cost"),
    ("order", "s_order_status"),
    ("product", "l_order_product"),
    ("product", "l_product_restaurant"),
    ("product", "l_product_category"),
    ("product", "s_product_names"),
    ("category", "l_order_category"),
    ("category", "l_product_category"),
    ("restaurant", "l_product_restaurant"),
    ("restaurant", "s_restaurant_names"),
];

/// Satellites of a parent whose records all pass dds in the order of their source offsets: orders have one key.
const ORDERED: [(&str, &str, &str); 2] = [
    ("s_order_cost", "h_order_pk", "hk_order_cost_hashdiff"),
    ("s_order_status", "h_order_pk", "hk_order_status_hashdiff"),
];

/// Runs all checks of the order stream's vault.
pub async fn check(snapshot: &mut Snapshot, report: &mut Report) -> anyhow::Result<()> {
    report.checks.push(orphans(snapshot).await?);
    report.checks.push(childless(snapshot).await?);
    report.checks.push(categories(snapshot).await?);
    report.checks.push(histories(snapshot).await?);
    Ok(())
}

async fn orphans(snapshot: &mut Snapshot) -> anyhow::Result<Check> {
    let mut check = Check::new("dds: links and satellites have their hubs");
    let links = LINKS.iter().flat_map(|(table, hubs)| hubs.map(|hub| (*table, hub)));
    for (table, hub) in links.chain(SATELLITES) {
        check.compared += snapshot.count(&format!("dds.{table}")).await?;
        let statement = format!(
            "select '{table}: h_{hub}_pk ' || c.h_{hub}_pk || ' is not in h_{hub}' from dds.{table} as c \
             where not exists (select from dds.h_{hub} as h where h.h_{hub}_pk = c.h_{hub}_pk)"
        );
        snapshot.differences(&mut check, statement).await?;
    }
    Ok(check)
}

async fn childless(snapshot: &mut Snapshot) -> anyhow::Result<Check> {
    let mut check = Check::new("dds: hubs have their links and satellites");
    for (hub, child) in CHILDREN {
        check.compared += snapshot.count(&format!("dds.h_{hub}")).await?;
        let statement = format!(
            "select 'h_{hub}: {business_key} ' || h.{business_key} || ' (' || h.h_{hub}_pk || ') has no row in {child}' \
             from dds.h_{hub} as h where not exists (select from dds.{child} as c where c.h_{hub}_pk = h.h_{hub}_pk)",
            business_key = business_key(hub),
        );
        snapshot.differences(&mut check, statement).await?;
    }
    check.compared += snapshot.count("dds.h_user").await?;
    for (users, child) in [("dds.l_order_user", "s_user_names"), ("dds.s_user_names", "l_order_user")] {
        let statement = format!(
            "select distinct 'h_user: ' || u.h_user_pk || ' has no row in {child}' from {users} as u \
             where not exists (select from dds.{child} as c where c.h_user_pk = u.h_user_pk)"
        );
        snapshot.differences(&mut check, statement).await?;
    }
    let idle = "select 'h_user: user_id ' || h.user_id || ' (' || h.h_user_pk || ') has no row in any link' \
                from dds.h_user as h \
                where not exists (select from dds.l_order_user as l where l.h_user_pk = h.h_user_pk) \
                and not exists (select from dds.l_hotel_search as l where l.h_user_pk = h.h_user_pk)";
    snapshot.differences(&mut check, idle.to_owned()).await?;
    Ok(check)
}

fn business_key(hub: &str) -> &'static str {
    match hub {
        "order" => "order_id",
        "product" => "product_id",
        "category" => "category_name",
        _ => "restaurant_id",
    }
}

/// Each product of an order has a category that both were linked to, and each category of it a product.
async fn categories(snapshot: &mut Snapshot) -> anyhow::Result<Check> {
    let mut check = Check::new("dds: products and categories of an order belong together");
    for (table, thing) in [("l_order_product", "product"), ("l_order_category", "category")] {
        check.compared += snapshot.count(&format!("dds.{table}")).await?;
        let statement = format!(
            "with paired as (select distinct op.h_order_pk, pc.h_{thing}_pk from dds.l_order_product as op \
             join dds.l_product_category as pc using (h_product_pk) \
             join dds.l_order_category as oc on oc.h_order_pk = op.h_order_pk and oc.h_category_pk = pc.h_category_pk) \
             select '{table}: order ' || l.h_order_pk || ' holds {thing} ' || l.h_{thing}_pk || ', which nothing else of it goes with' \
             from dds.{table} as l \
             where not exists (select from paired as p where p.h_order_pk = l.h_order_pk and p.h_{thing}_pk = l.h_{thing}_pk)"
        );
        snapshot.differences(&mut check, statement).await?;
    }
    Ok(check)
}

/// No value follows itself, where the two rows reached dds in the order of their offsets.
///
/// A late record takes its place in the past, and the equal value after it stays, for dds deletes nothing. Two
/// rows from one source partition, the second with the higher offset, came in order, unless the first is a
/// dead letter that was replayed. Names are not looked at: their records come by way of several partitions.
async fn histories(snapshot: &mut Snapshot) -> anyhow::Result<Check> {
    let mut check = Check::new("dds: satellites of orders hold changes only");
    for (table, parent, hashdiff) in ORDERED {
        check.compared += snapshot.count(&format!("dds.{table}")).await?;
        let statement = format!(
            "select '{table}: {parent} ' || v.{parent} || ' repeats at ' || v.load_dt || ' the value of ' || v.load_dt_before \
             from (select {parent}, load_dt, load_seq, load_src, {hashdiff}, \
                 lag(load_dt) over w as load_dt_before, lag(load_seq) over w as load_seq_before, \
                 lag(load_src) over w as load_src_before, lag({hashdiff}) over w as hashdiff_before \
                 from dds.{table} window w as (partition by {parent} order by load_dt, load_seq)) as v \
             where v.{hashdiff} = v.hashdiff_before and v.load_src = v.load_src_before \
             and v.load_seq % 4096 = v.load_seq_before % 4096 and v.load_seq > v.load_seq_before \
             and not exists (select from ops.dead_letters as d where d.replay_seq is not null \
                 and coalesce(d.source, d.origin, d.topic || '/' || d.partition || '/' || d.\"offset\") \
                 = v.load_src_before || '/' || v.load_seq_before % 4096 || '/' || v.load_seq_before / 4096)"
        );
        snapshot.differences(&mut check, statement).await?;
    }
    Ok(check)
}
