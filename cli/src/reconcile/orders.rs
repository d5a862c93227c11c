//! The raw layer against the vault: what is staged has arrived, and what has arrived is staged.
//!
//! stg commits an order and its output together, dds applies it later. In flight are the orders of the
//! outputs that stg has kept and of the records that dds has not read, as far as their inputs lie below
//! stg's offset in the snapshot. Every other order must be in both layers, or in none.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use serde::Deserialize;
use strata_events::stream::ORDER;
use strata_runtime::Settings;

use super::report::{Check, Report};
use super::snapshot::Snapshot;
use crate::kafka::read_ranges;

/// What of a record of `dds_topic` says which order it is about.
#[derive(Deserialize)]
struct About {
    object_id: i64,
}

/// What the newest version of an order says must be in the vault. `$1` orders in flight bigint[].
const VERSIONS: [(&str, &str); 4] = [
    (
        "user",
        "select 'stg.order_events: order ' || v.object_id || ' names user ' || (v.payload #>> '{user,id}') || ', who is not linked to it' \
         from versions as v left join dds.h_user as u on u.user_id = v.payload #>> '{user,id}' \
         where not exists (select from dds.l_order_user as l where l.h_order_pk = v.h_order_pk and l.h_user_pk = u.h_user_pk)",
    ),
    (
        "products",
        "select 'stg.order_events: order ' || v.object_id || ' holds product ' || v.product_id || ', which is not linked to it' \
         from (select v.object_id, v.h_order_pk, i ->> 'id' as product_id \
               from versions as v, jsonb_array_elements(v.payload -> 'order_items') as i) as v \
         left join dds.h_product as p on p.product_id = v.product_id \
         where not exists (select from dds.l_order_product as l where l.h_order_pk = v.h_order_pk and l.h_product_pk = p.h_product_pk)",
    ),
    (
        "status",
        "select 'stg.order_events: order ' || v.object_id || ' is ' || (v.payload ->> 'final_status') || ', which s_order_status does not have' \
         from versions as v \
         where not exists (select from dds.s_order_status as s where s.h_order_pk = v.h_order_pk and s.status = v.payload ->> 'final_status')",
    ),
    (
        "cost",
        "select 'stg.order_events: order ' || v.object_id || ' costs ' || (v.payload ->> 'cost') || ', paid ' || (v.payload ->> 'payment') \
             || ', which s_order_cost does not have' \
         from versions as v \
         where not exists (select from dds.s_order_cost as s where s.h_order_pk = v.h_order_pk \
             and abs(s.cost - (v.payload ->> 'cost')::numeric) <= 0.00001 + s.cost * 1e-14 \
             and abs(s.payment - (v.payload ->> 'payment')::numeric) <= 0.00001 + s.payment * 1e-14)",
    ),
];

/// The newest versions that dds has applied.
const APPLIED: &str = "with versions as not materialized (select e.object_id, e.payload, h.h_order_pk from stg.order_events as e \
     join dds.h_order as h on h.order_id = e.object_id \
     where not exists (select from unnest($1::bigint[]) as f (object_id) where f.object_id = e.object_id)) ";

/// Checks the order stream from stg to dds.
pub async fn check(settings: &Settings, snapshot: &mut Snapshot, report: &mut Report) -> anyhow::Result<()> {
    let [stg_topic, dds_topic, _] = settings.topics.of(&ORDER);
    let in_flight = in_flight(settings, snapshot, stg_topic, dds_topic).await?;
    if !in_flight.is_empty() {
        report.notes.push(format!("{} orders are on their way from stg to dds", in_flight.len()));
    }
    let staged = snapshot.count("stg.order_events").await?;
    let mut there = Check::new("stg → dds: every order has arrived");
    there.compared = staged;
    let missing = "select 'stg.order_events: order ' || e.object_id || ' is not in h_order' from stg.order_events as e \
         where not exists (select from dds.h_order as h where h.order_id = e.object_id) \
         and not exists (select from unnest($1::bigint[]) as f (object_id) where f.object_id = e.object_id)";
    differences(snapshot, &mut there, missing, &in_flight, None).await?;

    let mut back = Check::new("dds → stg: every order is staged");
    back.compared = snapshot.count("dds.h_order").await?;
    // Records that were written to dds_topic by hand never were in stg.
    let unstaged = "select 'h_order: order ' || h.order_id || ' is not in stg.order_events' from dds.h_order as h \
         where h.load_src <> $2 and not exists (select from stg.order_events as e where e.object_id = h.order_id)";
    differences(snapshot, &mut back, unstaged, &in_flight, Some(dds_topic)).await?;

    let mut versions = Check::new("stg → dds: user, products, status and cost of every order");
    for (_, statement) in VERSIONS {
        versions.compared += staged;
        differences(snapshot, &mut versions, &format!("{APPLIED}{statement}"), &in_flight, None).await?;
    }
    report.checks.extend([there, back, versions]);
    Ok(())
}

async fn differences(
    snapshot: &mut Snapshot,
    check: &mut Check,
    statement: &str,
    in_flight: &[i64],
    topic: Option<&str>,
) -> anyhow::Result<()> {
    let query =
        sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(statement.to_owned())).bind(in_flight.to_vec());
    let query = match topic {
        Some(topic) => query.bind(topic.to_owned()),
        None => query,
    };
    let mut rows = query.fetch(&mut **snapshot.connection());
    while let Some(row) = rows.try_next().await? {
        check.differs(|| row);
    }
    Ok(())
}

/// The orders that stg has and dds need not have yet.
async fn in_flight(
    settings: &Settings,
    snapshot: &mut Snapshot,
    stg_topic: &str,
    dds_topic: &str,
) -> anyhow::Result<Vec<i64>> {
    let mut orders: BTreeSet<i64> = BTreeSet::new();
    let read = snapshot.offsets_of("stg", stg_topic);
    read_ranges(&settings.kafka, dds_topic, &snapshot.unread("dds", dds_topic), |record| {
        let staged = record.origin.as_ref().is_some_and(|origin| {
            origin.topic == stg_topic && read.get(&origin.partition).is_some_and(|next| origin.offset < *next)
        });
        if staged && let Ok(about) = serde_json::from_slice::<About>(&record.payload) {
            orders.insert(about.object_id);
        }
        Ok(())
    })?;
    for output in snapshot.pending("stg", stg_topic).await? {
        if output.topic == dds_topic
            && let Ok(about) = serde_json::from_slice::<About>(&output.payload)
        {
            orders.insert(about.object_id);
        }
    }
    Ok(orders.into_iter().collect())
}
