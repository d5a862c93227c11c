//! The warehouse against the model, row by row, and against itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::{PgPool, Row as _};
use strata_streams::STREAMS;
use strata_streams::order::fold;
use strata_streams::order::vault::{MODEL, ORDER, ORDER_CATEGORY, ORDER_PRODUCT};
use strata_vault::model::{Column, ColumnType, Hub, SCHEMA, SENT, Satellite, VaultModel};

use crate::keys::hub;
use crate::model::{Model, Row, micros};

/// Differences that are shown of one table.
const SHOWN: usize = 8;

/// A column as text: amounts without the zeros at their end, lists as JSON, times as the model writes them.
pub(crate) fn text(column: &Column) -> String {
    let name = column.name;
    match column.kind {
        ColumnType::Numeric => format!("trim_scale({name})::text"),
        ColumnType::TextArray => format!("array_to_json({name})::text"),
        ColumnType::Timestamp => format!("to_char({name} at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"),
        _ => format!("{name}::text"),
    }
}

/// Condition for the rows of a hub that a stream must account for: what its links name, and what no other stream's do.
pub(crate) fn of_stream(model: &VaultModel, hub: &Hub) -> String {
    format!("({} or {})", named(hub, |stream| stream == model.stream), of_no_other(model, hub))
}

/// Condition for the rows of a hub that no other stream can have brought.
pub(crate) fn of_no_other(model: &VaultModel, hub: &Hub) -> String {
    format!("not {}", named(hub, |stream| stream != model.stream))
}

/// Condition for the rows of a hub that links of these streams name.
fn named(hub: &Hub, by: impl Fn(&str) -> bool) -> String {
    let models = STREAMS.iter().map(|stream| stream.vault).filter(|model| by(model.stream));
    let links = models.flat_map(|model| model.links);
    let links = links.filter(|link| link.hubs.iter().any(|own| own.table == hub.table));
    let Hub { table, key, .. } = hub;
    let exists = links
        .map(|link| format!(" or exists (select from {} as l where l.{key} = {table}.{key})", link.shape()));
    format!("(false{})", exists.collect::<String>())
}

/// Compares every layer with the model and cdm with its fold over dds.
///
/// **Panics** with all differences at once.
pub async fn assert_warehouse_equals(pool: &PgPool, model: &Model) {
    let mut report = Report::default();
    compare_raw(pool, model, &mut report).await;
    compare_vault(pool, model, &mut report).await;
    compare_counters(pool, model, &mut report).await;
    check_fold(pool, &mut report).await;
    report.assert_empty();
}

/// Compares the vault alone with the model, where no other stage has run.
///
/// **Panics** with all differences at once.
pub async fn assert_vault_equals(pool: &PgPool, model: &Model) {
    let mut report = Report::default();
    compare_vault(pool, model, &mut report).await;
    report.assert_empty();
}

/// Makes sure that no stage refused anything.
pub async fn assert_no_dead_letters(pool: &PgPool) {
    let rows = select(
        pool,
        "select stage, topic, partition::text, \"offset\"::text, reason, detail from ops.dead_letters order by id",
    )
    .await;
    let mut report = Report::default();
    report.differences("ops.dead_letters", rows, Vec::new());
    report.assert_empty();
}

/// Collected differences.
#[derive(Default)]
pub(crate) struct Report(Vec<String>);

impl Report {
    /// Compares two multisets of rows.
    pub(crate) fn differences(&mut self, table: &str, actual: Vec<Row>, expected: Vec<Row>) {
        let mut balance: BTreeMap<Row, i64> = BTreeMap::new();
        let (found, wanted) = (actual.len(), expected.len());
        for row in actual {
            *balance.entry(row).or_default() += 1;
        }
        for row in expected {
            *balance.entry(row).or_default() -= 1;
        }
        balance.retain(|_, count| *count != 0);
        if balance.is_empty() {
            return;
        }
        self.0.push(format!("{table}: {found} rows, expected {wanted}; {} rows differ", balance.len()));
        for (row, count) in balance.iter().take(SHOWN) {
            let kind = if *count > 0 { "unexpected" } else { "missing   " };
            self.0.push(format!("    {kind} {}", row.join(" | ")));
        }
    }

    /// Notes a problem.
    pub(crate) fn check(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }

    /// Everything that was noted.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.0
    }

    /// **Panics** with everything that was noted.
    pub(crate) fn assert_empty(self) {
        assert!(self.0.is_empty(), "the warehouse is not what it should be:\n{}", self.0.join("\n"));
    }
}

/// Rows of a statement whose columns are all text.
pub(crate) async fn select(pool: &PgPool, sql: impl Into<String>) -> Vec<Row> {
    let sql = sql.into();
    let rows = sqlx::query(&sql).fetch_all(pool).await;
    let rows = rows.unwrap_or_else(|e| panic!("{e}: {sql}"));
    rows.iter()
        .map(|row| {
            let column = |i| row.try_get::<Option<String>, _>(i).unwrap_or_else(|e| panic!("{e}: {sql}"));
            (0..row.len()).map(|i| column(i).unwrap_or_else(|| "null".to_owned())).collect()
        })
        .collect()
}

async fn compare_raw(pool: &PgPool, model: &Model, report: &mut Report) {
    let rows = select(
        pool,
        "select object_id::text, object_type, to_char(sent_dttm at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), \
         payload::text from stg.order_events",
    )
    .await;
    let mut actual = Vec::new();
    for row in rows {
        let payload: Value = serde_json::from_str(&row[3]).expect("a payload is JSON");
        let known = row[0].parse().ok().and_then(|id: i64| model.raw().get(&id));
        if let Some(order) = known {
            report.check(order.payloads.contains(&payload), || {
                format!("stg.order_events: order {} has another payload than the newest version", row[0])
            });
        }
        actual.push(row[..3].to_vec());
    }
    let expected = model.raw().iter();
    let expected =
        expected.map(|(id, order)| vec![id.to_string(), "order".to_owned(), micros(order.sent_dttm)]);
    report.differences("stg.order_events", actual, expected.collect());
}

async fn compare_vault(pool: &PgPool, model: &Model, report: &mut Report) {
    compare_hubs_and_links(pool, model, report).await;
    for satellite in MODEL.satellites {
        compare_satellite(pool, model, report, satellite).await;
    }
    check_vault(pool, model, report).await;
}

async fn compare_hubs_and_links(pool: &PgPool, model: &Model, report: &mut Report) {
    let (mut hubs, mut links) = (model.hubs(), model.links());
    for hub in MODEL.hubs {
        let sql = format!(
            "select {}::text, {}::text from {} where {}",
            hub.key,
            hub.business_key.name,
            hub.shape(),
            of_stream(&MODEL, hub)
        );
        report.differences(hub.table, select(pool, sql).await, hubs.remove(hub.table).unwrap_or_default());
    }
    for link in MODEL.links {
        let keys = link.hubs.iter().map(|hub| format!("{}::text", hub.key)).collect::<Vec<_>>().join(", ");
        let rows = select(pool, format!("select {}::text, {keys} from {}", link.key, link.shape())).await;
        report.differences(link.table, rows, links.remove(link.table).unwrap_or_default());
    }
    let dates = model.order_dates();
    let date = ORDER.attributes.iter().map(text).collect::<Vec<_>>().join(", ");
    let rows = select(pool, format!("select {}::text, {date} from {}", ORDER.key, ORDER.shape()));
    for row in rows.await {
        let known = dates.get(&row[0]).is_none_or(|dates| dates.contains(&row[1]));
        report.check(known, || format!("h_order: {} has order_dt {}, which no version has", row[0], row[1]));
    }
}

async fn compare_satellite(pool: &PgPool, model: &Model, report: &mut Report, satellite: &Satellite) {
    let (table, parent) = (satellite.table, satellite.parent.key());
    let sent = if satellite.sent { text(&SENT) } else { "null".to_owned() };
    let attributes = satellite.attributes.iter().map(text).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "select {parent}::text, (extract(epoch from load_dt) * 1000)::bigint::text, {sent}, {attributes} \
         from {} order by {parent}, load_dt, load_seq",
        satellite.shape()
    );
    let mut stored: BTreeMap<String, Vec<(i64, String, Row)>> = BTreeMap::new();
    for row in select(pool, sql).await {
        let time = row[1].parse().expect("a time in milliseconds");
        stored.entry(row[0].clone()).or_default().push((time, row[2].clone(), row[3..].to_vec()));
    }
    for (business_key, history) in model.histories(table) {
        let rows = stored.remove(&hub(business_key).to_string()).unwrap_or_default();
        let stray = rows.iter().find(|(time, sent, row)| !history.holds(*time, sent, row));
        report.check(stray.is_none(), || format!("{table}: {business_key} never was {stray:?}"));
        if model.determines(history) {
            let rows: Vec<(i64, Row)> = rows.into_iter().map(|(time, _, row)| (time, row)).collect();
            let expected: Vec<(i64, Row)> =
                history.changes().into_iter().map(|(time, row)| (time, row.clone())).collect();
            report.check(rows == expected, || {
                format!("{table}: the history of {business_key} is {rows:?}, expected {expected:?}")
            });
            continue;
        }
        // Of equal ones the last, which was loaded last.
        let newest = rows.iter().max_by_key(|(_, sent, _)| sent).map(|(.., row)| row);
        let certain = history.certain_newest();
        report.check(newest.is_some() && certain.is_none_or(|certain| newest == Some(certain)), || {
            format!("{table}: {business_key} is {newest:?}, expected {certain:?}")
        });
    }
    report.check(stored.is_empty(), || {
        format!("{table}: rows of parents that nobody sent: {:?}", stored.keys())
    });
}

async fn compare_counters(pool: &PgPool, model: &Model, report: &mut Report) {
    let cases = [
        ("user_product_counters", "product", model.product_counters(), model.product_names()),
        ("user_category_counters", "category", model.category_counters(), model.category_names()),
    ];
    for (table, what, expected, names) in cases {
        let sql =
            format!("select user_id::text, {what}_id::text, order_cnt::text, {what}_name from cdm.{table}");
        let mut rows = select(pool, sql).await;
        for row in &mut rows {
            let name = row.pop().expect("four columns");
            let known = names.get(&row[1]).is_none_or(|names| names.contains(&name));
            report.check(known, || format!("{table}: {} was never called {name}", row[1]));
        }
        report.differences(table, rows, expected);
    }
}

/// Keys point somewhere, nothing stands twice, and every time is that of a record.
async fn check_vault(pool: &PgPool, model: &Model, report: &mut Report) {
    let mut children: Vec<(&str, &str, &str)> = Vec::new();
    for link in MODEL.links {
        children.extend(link.hubs.iter().map(|hub| (link.table, hub.table, hub.key)));
    }
    children.extend(MODEL.satellites.iter().map(|s| (s.table, s.parent.table(), s.parent.key())));
    for (table, parent, key) in children {
        let sql = format!(
            "select distinct {key}::text from {SCHEMA}.{table} as c \
             where not exists (select from {SCHEMA}.{parent} as p where p.{key} = c.{key})"
        );
        report.differences(&format!("orphans of {parent} in {table}"), select(pool, sql).await, Vec::new());
    }
    for hub in MODEL.hubs {
        let (table, business_key) = (hub.table, hub.business_key.name);
        let sql = format!(
            "select {business_key}::text from {SCHEMA}.{table} group by {business_key} having count(*) > 1"
        );
        report.differences(&format!("business keys twice in {table}"), select(pool, sql).await, Vec::new());
    }
    for table in MODEL.tables().iter().map(|table| table.name) {
        let unsourced = select(pool, format!("select 1::text from {SCHEMA}.{table} where load_src = ''"));
        report.differences(&format!("rows without load_src in {table}"), unsourced.await, Vec::new());
        let hub = MODEL.hubs.iter().find(|hub| hub.table == table);
        let own = hub.map_or_else(|| "true".to_owned(), |hub| of_no_other(&MODEL, hub));
        let sql = format!(
            "select distinct (extract(epoch from load_dt) * 1000)::bigint::text from {SCHEMA}.{table} where {own}"
        );
        let times: BTreeSet<i64> =
            select(pool, sql).await.iter().filter_map(|row| row[0].parse().ok()).collect();
        let strays: Vec<&i64> = times.difference(model.timestamps()).take(SHOWN).collect();
        report.check(strays.is_empty(), || format!("{table}: load_dt of no record: {strays:?}"));
    }
}

/// cdm is the fold over dds.
async fn check_fold(pool: &PgPool, report: &mut Report) {
    for (table, what, link) in [
        ("user_product_counters", "product", &ORDER_PRODUCT),
        ("user_category_counters", "category", &ORDER_CATEGORY),
    ] {
        let fold = format!(
            "select who::text, what::text, times::text from ({}) as f (who, what, times)",
            fold::counters(link)
        );
        let counters =
            select(pool, format!("select user_id::text, {what}_id::text, order_cnt::text from cdm.{table}"));
        let (counters, fold) = (counters.await, select(pool, fold).await);
        report.differences(&format!("cdm.{table} against the fold over dds"), counters, fold);
    }
}
