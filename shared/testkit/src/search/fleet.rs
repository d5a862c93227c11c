//! What a fleet can be told and asked about searches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redis::AsyncCommands as _;
use serde_json::{Value, json};
use strata_events::StageId;
use strata_service::redis::MetricsKeys;
use strata_streams::hotel_search::{self, HOTEL_SEARCH};

use crate::builders::ndjson;
use crate::eventually::eventually;
use crate::fleet::{Fleet, Service};
use crate::http::Answer;
use crate::search::SearchModel;

/// Entries of a page where all are wanted; small, so that there is more than one.
const PAGE: usize = 50;

/// More pages than any test has.
const MOST_PAGES: usize = 2000;

/// The content type of the log form.
const LOG: &str = "text/tab-separated-values";

/// The keys of a pattern, as of one moment; deletes them where told to, as a flush would.
const KEYS: &str = "local all, cursor = {}, '0' repeat \
    local found = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000) cursor = found[1] \
    for _, key in ipairs(found[2]) do all[#all + 1] = key end until cursor == '0' \
    if ARGV[2] == 'delete' then for _, key in ipairs(all) do redis.call('DEL', key) end end return all";

/// Entries in the order of an answer's pages, and what the pages said besides.
pub type Ranked = Vec<(String, Value)>;

/// The metrics as the routes of cdm tell them, each paged to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// How often each user was seen.
    pub users: BTreeMap<String, u64>,
    /// How often each hotel was seen.
    pub hotels: BTreeMap<String, u64>,
    /// How often each advertiser was seen.
    pub advertisers: BTreeMap<String, u64>,
    /// Lowest winning price by hotel and advertiser.
    pub prices: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Fleet {
    /// What stg reads of searches.
    pub fn raw_topic(&self) -> String {
        self.topic(HOTEL_SEARCH.topic(StageId::Stg).env)
    }

    /// What dds reads of searches.
    pub fn processed_topic(&self) -> String {
        self.topic(HOTEL_SEARCH.topic(StageId::Dds).env)
    }

    /// What cdm reads of searches.
    pub fn metrics_topic(&self) -> String {
        self.topic(HOTEL_SEARCH.topic(StageId::Cdm).env)
    }

    /// Names of the metrics of this fleet in Redis.
    pub fn metrics_keys(&self) -> MetricsKeys {
        MetricsKeys::new(&format!("{}:", self.suffix))
    }

    /// Has data-source generate searches.
    pub async fn push_searches(&self, count: usize) {
        self.push_to(&HOTEL_SEARCH, count).await;
    }

    /// Sends searches as lines of JSON; all must be accepted.
    pub async fn ingest_searches(&self, searches: &[Value]) {
        let answer =
            self.post_lines(Service::DataSource, "/ingest/hotel_search", ndjson(searches)).await.ok();
        assert_eq!(answer["accepted"], json!(searches.len()), "{answer}");
    }

    /// Sends text in the tab-separated form.
    pub async fn ingest_log(&self, log: String) -> Answer {
        self.post_as(Service::DataSource, "/ingest/hotel_search", LOG, log).await
    }

    /// Folds everything that lies in the raw topic; every record there must be a valid search.
    pub async fn search_model(&self) -> SearchModel {
        let (topic, mut model) = (self.raw_topic(), SearchModel::default());
        for record in self.kafka().read_all(&topic).await {
            model.accept(&topic, &record);
        }
        model
    }

    /// Waits until every search has gone through all layers; nothing may be produced meanwhile.
    pub async fn searches_at_rest(&self, within: Duration) {
        self.stream_at_rest(&hotel_search::DEF, within).await;
    }

    /// Waits until the metrics hold all that their topic has.
    pub(crate) async fn metrics_at_rest(&self, topic: &str, within: Duration) {
        eventually(within, &format!("the metrics at the end of {topic}"), async || {
            let ends = self.ends(topic).await;
            let mut offsets = self.metrics_offsets().await;
            offsets.retain(|_, offset| *offset > 0);
            if offsets == ends { Ok(()) } else { Err(format!("they stand at {offsets:?} of {ends:?}")) }
        })
        .await;
    }

    /// Waits until the metrics hold this many records since their topic began.
    pub async fn metrics_reached(&self, goal: i64, within: Duration) {
        eventually(within, &format!("the metrics at {goal} records"), async || {
            let read: i64 = self.metrics_offsets().await.values().sum();
            if read >= goal { Ok(()) } else { Err(format!("{read} records")) }
        })
        .await;
    }

    /// Next offset by partition, as it lies beside the metrics.
    pub async fn metrics_offsets(&self) -> BTreeMap<i32, i64> {
        self.redis().await.hgetall(self.metrics_keys().offsets()).await.expect("the offsets of the metrics")
    }

    /// Deletes the metrics with all that belongs to them, in one moment.
    pub async fn empty_metrics(&self) {
        let deleted = self.visit_metrics("delete").await;
        assert!(!deleted.is_empty(), "there were no metrics");
    }

    /// Deletes what rebuilds that did not come to their end have left beside the metrics.
    pub async fn forget_unfinished_rebuilds(&self) {
        self.visit_keys(&format!("{}:{{metrics}}:new:*", self.suffix), "delete").await;
    }

    /// Changes a key of the metrics by hand: the command's name, then what follows the key.
    pub async fn spoil_metrics(&self, key: &str, command: &[&str]) {
        let mut spoil = redis::cmd(command[0]);
        spoil.arg(format!("{}:{{metrics}}:{key}", self.suffix)).arg(&command[1..]);
        spoil.exec_async(&mut self.redis().await).await.expect("the metrics are changed");
    }

    /// Names of all keys that the metrics have.
    pub(crate) async fn metrics_key_names(&self) -> BTreeSet<String> {
        self.visit_metrics("list").await
    }

    async fn visit_metrics(&self, what: &str) -> BTreeSet<String> {
        self.visit_keys(&format!("{}:{{metrics}}:*", self.suffix), what).await
    }

    async fn visit_keys(&self, pattern: &str, what: &str) -> BTreeSet<String> {
        let mut eval = redis::cmd("EVAL");
        eval.arg(KEYS).arg(0).arg(pattern).arg(what);
        eval.query_async(&mut self.redis().await).await.expect("the keys of the metrics")
    }

    /// The metrics as cdm serves them.
    pub async fn metrics(&self) -> Metrics {
        let counts = async |path: &str| -> BTreeMap<String, u64> {
            let entries = self.ranked(path, PAGE).await.into_iter();
            entries.map(|(member, times)| (member, times.as_u64().expect("a count"))).collect()
        };
        let prices = self.ranked("/hotel_min_offer_per_advertiser", PAGE).await.into_iter();
        let prices = prices.map(|(hotel, prices)| (hotel, serde_json::from_value(prices).expect("prices")));
        Metrics {
            users: counts("/users").await,
            hotels: counts("/hotels").await,
            advertisers: counts("/advertisers").await,
            prices: prices.collect(),
        }
    }

    /// Reads a route of the metrics page by page to its end; within a page entries stand in name order.
    ///
    /// **Panics** when an entry shows twice or the pages do not end.
    pub async fn ranked(&self, path: &str, limit: usize) -> Ranked {
        let (mut entries, mut seen, mut cursor) = (Ranked::new(), BTreeSet::new(), None);
        for _ in 0..MOST_PAGES {
            let (page, next) = self.ranked_page(path, limit, cursor.as_deref()).await;
            assert!(page.len() <= limit, "{path}: {} entries where {limit} were asked for", page.len());
            for (member, value) in page {
                assert!(seen.insert(member.clone()), "{path} shows {member} twice");
                entries.push((member, value));
            }
            cursor = next;
            if cursor.is_none() {
                return entries;
            }
        }
        panic!("{path} does not end within {MOST_PAGES} pages");
    }

    /// One page and the cursor of the next.
    pub async fn ranked_page(
        &self,
        path: &str,
        limit: usize,
        cursor: Option<&str>,
    ) -> (Ranked, Option<String>) {
        let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let answer = self.get(Service::Cdm, &format!("{path}?limit={limit}{after}")).await;
        // Frequencies carry their cursor in the body, prices in a header.
        let next = answer.header("x-next-cursor").map(str::to_owned);
        let mut body = answer.ok();
        let next = next.or_else(|| body["next_cursor"].as_str().map(str::to_owned));
        let data = if path.starts_with("/hotel_min") { body } else { body["data"].take() };
        let Value::Object(data) = data else { panic!("{path} gives no object") };
        (data.into_iter().collect(), next)
    }
}
