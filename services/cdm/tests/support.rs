//! A Redis of the environment, below a prefix of its own.

use std::collections::BTreeMap;

use cdm::metrics::stage::MetricsStage;
use cdm::metrics::store::MetricsStore;
use redis::Commands as _;
use strata_events::{Origin, StageId};
use strata_pipeline::Record;
use strata_pipeline::stage::{Span, Stage as _};
use strata_service::redis::{Connection, MetricsKeys};
use strata_service::{Settings, pg, redis as redis_client};
use strata_streams::hotel_search::HOTEL_SEARCH;
use uuid::Uuid;

/// Topic of the tests; none of them needs Kafka.
pub const TOPIC: &str = "metrics_topic";

/// Everything that Redis holds of the metrics: key → field or member → value.
pub type Content = BTreeMap<String, BTreeMap<String, String>>;

/// Keys of one test, removed when it ends.
pub struct Sandbox {
    settings: Settings,
    prefix: String,
    pub keys: MetricsKeys,
    sync: redis::Connection,
}

impl Sandbox {
    pub fn new() -> Self {
        let settings = Settings::from_env("CDM_PORT").expect("settings fit");
        let client = settings.redis.client();
        let sync = client.get_connection().expect("redis does not answer: make servers");
        let prefix = format!("test-{}:", Uuid::new_v4());
        Self { settings, keys: MetricsKeys::new(&prefix), prefix, sync }
    }

    pub fn connection(&self) -> Connection {
        redis_client::connect(&self.settings.redis)
    }

    pub fn sync(&mut self) -> &mut redis::Connection {
        &mut self.sync
    }

    pub fn store(&self) -> MetricsStore {
        MetricsStore::new(self.connection(), self.keys.clone())
    }

    /// A stage that has read nothing yet.
    pub fn stage(&self) -> MetricsStage {
        let pool = pg::pool(&self.settings.postgres, "cdm_test", 6);
        let route = self.settings.topics.route(&HOTEL_SEARCH, StageId::Cdm).expect("searches pass cdm");
        MetricsStage::new(self.store(), pool, &route)
    }

    /// A stage at the start of two partitions.
    pub async fn started(&self) -> MetricsStage {
        let mut stage = self.stage();
        stage.initialize(&[0, 1]).await.expect("initializes");
        stage
    }

    fn names(&mut self) -> Vec<String> {
        let pattern = format!("{}*", self.prefix);
        self.sync.scan_match::<_, String>(pattern).expect("scans").collect::<Result<_, _>>().expect("keys")
    }

    pub fn content(&mut self) -> Content {
        let names = self.names();
        let read = |name: String| {
            let kind: String = redis::cmd("TYPE").arg(&name).query(&mut self.sync).expect("a type");
            let pairs: Vec<(String, String)> = match kind.as_str() {
                "zset" => self.sync.zrange_withscores(&name, 0, -1).expect("members"),
                _ => self.sync.hgetall(&name).expect("fields"),
            };
            (name.replacen(&self.prefix, "", 1), pairs.into_iter().collect())
        };
        names.into_iter().map(read).collect()
    }

    /// Takes a copy that [`Self::restore`] puts back, as a Redis that lost its last second would.
    pub fn snapshot(&mut self) -> Vec<(String, Vec<u8>)> {
        let names = self.names();
        names
            .into_iter()
            .map(|name| {
                let dump = redis::cmd("DUMP").arg(&name).query(&mut self.sync).expect("dumps");
                (name, dump)
            })
            .collect()
    }

    pub fn restore(&mut self, snapshot: &[(String, Vec<u8>)]) {
        self.remove();
        for (name, dump) in snapshot {
            redis::cmd("RESTORE").arg(name).arg(0).arg(dump).exec(&mut self.sync).expect("restores");
        }
    }

    fn remove(&mut self) {
        let names = self.names();
        if !names.is_empty() {
            self.sync.del::<_, ()>(names).expect("deletes");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A search as it lies in the topic.
pub fn record(partition: i32, offset: i64, origin: Option<(i32, i64)>, hotel: &str, price: i64) -> Record {
    let body = format!(
        r#"{{"user_id":"001adddd-6a55-4cd0-a1a1-9ca20e20d488","hotel_id":"{hotel}","search_timestamp":1620224528,
            "advertisers":["Amoma","Expedia"],"min_offer":{{"price":{price},"advertiser":"Amoma"}}}}"#
    );
    Record {
        topic: TOPIC.into(),
        partition,
        offset,
        timestamp_ms: 1_620_224_528_000,
        key: Some(hotel.into()),
        payload: body.into_bytes(),
        origin: origin.map(|(partition, offset)| Origin {
            topic: "processed_data_topic".into(),
            partition,
            offset,
        }),
        ..Record::default()
    }
}

/// The offsets that records span, from `expected` on.
pub fn span(records: &[Record], expected: &BTreeMap<i32, i64>) -> Span {
    let mut span = Span::new();
    for record in records {
        let at = expected.get(&record.partition).copied().unwrap_or_default();
        span.entry(record.partition).or_insert((at, at)).1 = record.offset + 1;
    }
    span
}
