//! The click stream: what every layer must hold after the clicks it was sent, computed in memory from their JSON, and
//! the question whether it does.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime};
use serde_json::Value;
use sqlx::PgPool;
use strata_streams::click::vault::{CLICK, CLICK_CLIENTS, MODEL};
use strata_vault::model::Column;

use crate::compare::{Report, of_stream, select, text};
use crate::kafka::TopicRecord;
use crate::keys::hub;
use crate::model::{Arrival, Row, micros};

/// The fields of a click, in the order of its array form.
const FIELDS: [&str; 8] = ["user_id", "timestamp", "url", "country", "city", "browser", "os", "device"];

/// What has no counterpart, as statements that must find nothing.
const ORPHANS: [(&str, &str); 4] = [
    (
        "clicks of nobody",
        "select event_id from dds.l_click as l where not exists (select from dds.h_user as h where h.h_user_pk = l.h_user_pk)",
    ),
    (
        "pages and countries without a click",
        "select url from dds.h_page as h where not exists (select from dds.l_click as l where l.h_page_pk = h.h_page_pk) \
         union all select country_name from dds.h_country as h \
         where not exists (select from dds.l_click as l where l.h_country_pk = h.h_country_pk)",
    ),
    (
        "clients without a click, or the other way round",
        "select hk_click_pk::text from dds.l_click full join dds.s_click_clients as s using (hk_click_pk) \
         where event_id is null or s.load_dt is null",
    ),
    (
        "rows of one click from different records",
        "select event_id from dds.l_click as l join dds.s_click_clients as s using (hk_click_pk) \
         where l.load_src = '' or s.load_src <> l.load_src or s.load_dt <> l.load_dt",
    ),
];

/// One record of a click.
#[derive(Debug, Clone)]
struct Version {
    at: Arrival,
    body: Value,
    /// The fields, cleaned, the time as the warehouse writes it.
    said: BTreeMap<&'static str, String>,
}

/// Every layer after the clicks it was given.
#[derive(Debug, Clone, Default)]
pub struct ClickModel {
    /// The records of each click in the order of time, by `event_id`.
    clicks: BTreeMap<String, Vec<Version>>,
}

impl ClickModel {
    /// Takes a record of the raw topic.
    ///
    /// **Panics** when the record is no valid click: what becomes a dead letter is no business of the model.
    pub fn accept(&mut self, topic: &str, record: &TopicRecord) {
        let bytes = record.payload.as_deref().unwrap_or_default();
        let body: Value = serde_json::from_slice(bytes)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)));
        let event_id = match record.header("event_id").or_else(|| body["event_id"].as_str()) {
            Some(given) => given.to_owned(),
            None => hub(&format!("{topic}/{}/{}", record.partition, record.offset)).to_string(),
        };
        let said = clean(&body).unwrap_or_else(|| panic!("no click: {body}"));
        let versions = self.clicks.entry(event_id).or_default();
        versions.push(Version { at: record.into(), body, said });
        versions.sort_by_key(|version| version.at);
    }

    /// Clicks by `event_id`, as their first records say.
    fn facts(&self) -> impl Iterator<Item = (&String, &Version)> {
        self.clicks.iter().map(|(id, versions)| (id, &versions[0]))
    }

    /// Records that a row of this click may come from: within a partition the first; which of two partitions is read
    /// first nobody knows.
    fn candidates(&self, event_id: &str) -> &[Version] {
        let versions = self.clicks.get(event_id).map_or(&[][..], Vec::as_slice);
        let first = versions.first().map(|version| version.at.partition);
        let spread = versions.iter().any(|version| Some(version.at.partition) != first);
        if spread { versions } else { &versions[..versions.len().min(1)] }
    }

    /// Rows of a hub whose business key is this field: key and business key.
    fn hub(&self, field: &str) -> Vec<Row> {
        let keys: BTreeSet<&String> = self.facts().map(|(_, version)| &version.said[field]).collect();
        keys.into_iter().map(|key| vec![hub(key).to_string(), key.clone()]).collect()
    }

    /// Rows of `dds.l_click`: key, `event_id`, keys of user, page and country, time.
    fn links(&self) -> Vec<Row> {
        let row = |(id, Version { said, .. }): (&String, &Version)| {
            let [user, page, country] =
                ["user_id", "url", "country"].map(|field| hub(&said[field]).to_string());
            vec![hub(id).to_string(), id.clone(), user, page, country, said["timestamp"].clone()]
        };
        self.facts().map(row).collect()
    }

    /// Rows of `dds.s_click_clients`: key of the click, city, browser, system, device.
    fn clients(&self) -> Vec<Row> {
        let row = |(id, Version { said, .. }): (&String, &Version)| {
            let said = FIELDS[4..].iter().map(|field| said[field].clone());
            [hub(id).to_string()].into_iter().chain(said).collect()
        };
        self.facts().map(row).collect()
    }
}

/// The fields of a click in either form, cleaned.
fn clean(body: &Value) -> Option<BTreeMap<&'static str, String>> {
    let mut said = BTreeMap::new();
    for (at, field) in FIELDS.into_iter().enumerate() {
        let value = if body.is_array() { &body[at] } else { &body[field] };
        said.insert(field, value.as_str()?.trim().to_owned());
    }
    let time = &said["timestamp"];
    let zoned = DateTime::parse_from_rfc3339(time).map(|time| time.to_utc());
    let time = zoned.or_else(|_| time.parse::<NaiveDateTime>().map(|time| time.and_utc())).ok()?;
    said.insert("timestamp", micros(time));
    let url = said["url"].clone();
    if let Some((scheme, rest)) = url.split_once("://") {
        let host: String = rest.chars().take_while(|c| !"/?#".contains(*c)).collect();
        let path = &rest[host.len()..];
        said.insert("url", format!("{}://{}{path}", scheme.to_lowercase(), host.to_lowercase()));
    }
    Some(said)
}

/// Compares every layer of clicks with the model.
///
/// **Panics** with all differences at once.
pub async fn assert_clicks_equal(pool: &PgPool, model: &ClickModel) {
    let found = click_differences(pool, model).await;
    assert!(found.is_empty(), "the layers of clicks are not what they should be:\n{}", found.join("\n"));
}

/// What [`assert_clicks_equal`] would object to.
pub async fn click_differences(pool: &PgPool, model: &ClickModel) -> Vec<String> {
    let mut report = Report::default();
    compare_raw(pool, model, &mut report).await;
    for (hub, field) in MODEL.hubs.iter().zip(["user_id", "url", "country"]) {
        let (key, own) = (hub.business_key.name, of_stream(&MODEL, hub));
        let sql = format!("select {}::text, {key}::text from {} where {own}", hub.key, hub.shape());
        report.differences(hub.table, select(pool, sql).await, model.hub(field));
    }
    compare_clicks(pool, model, &mut report).await;
    for (what, sql) in ORPHANS {
        report.differences(what, select(pool, sql).await, Vec::new());
    }
    report.into_lines()
}

async fn compare_raw(pool: &PgPool, model: &ClickModel, report: &mut Report) {
    let sql = "select event_id, to_char(click_dt at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), \
               (extract(epoch from sent_dttm) * 1000)::bigint::text, payload::text from stg.click_events";
    let mut actual = Vec::new();
    for mut row in select(pool, sql).await {
        let body: Value = serde_json::from_str(&row[3]).expect("a payload is JSON");
        let sent: i64 = row[2].parse().expect("a time");
        let is_first = |version: &Version| version.at.timestamp_ms == sent && version.body == body;
        report.check(model.candidates(&row[0]).iter().any(is_first), || {
            format!("stg.click_events: {row:?} is not the first record")
        });
        row.truncate(2);
        actual.push(row);
    }
    let wanted = model.facts().map(|(id, version)| vec![id.clone(), version.said["timestamp"].clone()]);
    report.differences("stg.click_events", actual, wanted.collect());
}

async fn compare_clicks(pool: &PgPool, model: &ClickModel, report: &mut Report) {
    let texts = |columns: &[Column]| columns.iter().map(text).collect::<Vec<_>>().join(", ");
    let (key, said) = (CLICK.key, texts(&MODEL.subject.said()));
    let sql = format!(
        "select {key}::text, {said}, (extract(epoch from load_dt) * 1000)::bigint::text from {}",
        CLICK.shape()
    );
    let mut links = select(pool, sql).await;
    for row in &mut links {
        let time: Option<i64> = row.pop().and_then(|time| time.parse().ok());
        let is_first = |version: &Version| Some(version.at.timestamp_ms) == time;
        report.check(model.candidates(&row[1]).iter().any(is_first), || {
            format!("{}: {row:?} was loaded at {time:?}, not with its first record", CLICK.table)
        });
    }
    report.differences(CLICK.table, links, model.links());
    let sql =
        format!("select {key}::text, {} from {}", texts(CLICK_CLIENTS.attributes), CLICK_CLIENTS.shape());
    report.differences(CLICK_CLIENTS.table, select(pool, sql).await, model.clients());
}
