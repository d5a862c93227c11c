//! What `/metrics` of running services shows, compared with docs/METRICS.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strata_streams::STREAMS;
use strata_streams::order::ORDER;
use strata_testkit::{Fleet, NewRecord, Service, eventually};

use crate::support::{SOON, launch, simple_order};

/// The documentation.
const DOC: &str = include_str!("../../docs/METRICS.md");

/// A metric: its type and the names of its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

/// What a service shows.
#[derive(Debug, Default)]
struct Scrape {
    help: BTreeMap<String, String>,
    metrics: BTreeMap<String, Metric>,
    /// Series as they are written, with their value.
    samples: Vec<(String, f64)>,
}

impl Scrape {
    async fn of(fleet: &Fleet, service: Service) -> Self {
        let (status, content_type, text) = fleet.text(service, "/metrics").await;
        assert_eq!((status, content_type.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                assert!(scrape.help.insert(name.to_owned(), help.to_owned()).is_none(), "{name} twice");
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                let metric = Metric { kind: kind.to_owned(), labels: BTreeSet::new() };
                assert!(scrape.metrics.insert(name.to_owned(), metric).is_none(), "{name} twice");
            } else {
                scrape.sample(line);
            }
        }
        scrape
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let family = name.strip_suffix(suffix)?;
            (self.metrics.get(family)?.kind == "histogram").then_some(family)
        });
        let family = family.unwrap_or(name);
        let metric = self.metrics.get_mut(family).unwrap_or_else(|| panic!("{family} has no type: {line}"));
        for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
            let (label, _) = label.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            if label != "le" {
                metric.labels.insert(label.to_owned());
            }
        }
        self.samples.push((series.to_owned(), value));
    }

    /// Sum of the series that begin with `name` and hold all of `labels`.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let fits = |series: &str| {
            series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
        };
        self.samples.iter().filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
    }

    fn has(&self, name: &str, label: &str) -> bool {
        self.samples.iter().any(|(series, _)| series.starts_with(name) && series.contains(label))
    }
}

/// Every program that shows metrics.
fn all() -> impl Iterator<Item = Service> {
    Service::ALL.into_iter().chain([Service::Console])
}

/// Names of all documented metrics.
pub fn documented_names() -> BTreeSet<String> {
    all().flat_map(|service| documented(service).into_keys()).collect()
}

/// The documented metrics of a service.
fn documented(service: Service) -> BTreeMap<String, Metric> {
    let letter = match service {
        Service::DataSource => "S",
        Service::Stg => "R",
        Service::Dds => "V",
        Service::Cdm => "M",
        Service::Console => "C",
    };
    let (table, _) = DOC.split_once("\n## ").expect("the table comes first");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let metrics = rows.filter_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [name, kind, labels, _unit, services, meaning, ..] = cells[..] else { panic!("{row}") };
        assert!(!meaning.is_empty(), "{row}");
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        let metric = Metric { kind: kind.to_owned(), labels };
        services
            .split(' ')
            .any(|known| known == letter)
            .then(|| (name.trim_end_matches('`').to_owned(), metric))
    });
    metrics.collect()
}

/// Sends events of every stream and something unusable through all layers, and a reconcile.
async fn exercise(fleet: &Fleet) {
    let orders: Vec<_> = (0..20).map(|number| simple_order(number, "CLOSED")).collect();
    fleet.ingest(&orders).await;
    for stream in STREAMS.iter().filter(|stream| stream.spec != ORDER) {
        fleet.push_to(&stream.spec, 20).await;
    }
    for topic in [fleet.stg_topic(), fleet.dds_topic(), fleet.cdm_topic(), fleet.metrics_topic()] {
        fleet.kafka().produce(&topic, &[NewRecord::of("not JSON")]).await;
    }
    sqlx::query("insert into ops.reconciliations (duration_ms, checks, differences) values (1500, 40, 2)")
        .execute(fleet.pool())
        .await
        .expect("the run of a reconcile");
    fleet.all_at_rest(SOON).await;
    eventually(SOON, "metrics of the reconcile", async || {
        let scrape = Scrape::of(fleet, Service::Console).await;
        if scrape.sum("strata_reconcile_differences", &[]) == 2.0 {
            Ok(())
        } else {
            Err(scrape.samples.len().to_string())
        }
    })
    .await;
}

#[tokio::test]
async fn every_service_shows_the_documented_metrics_and_no_others() {
    // GIVEN a fleet that has seen good and bad events and a reconcile
    let fleet = launch(&[]).await;
    fleet.launch_console().await;
    exercise(&fleet).await;
    for service in all() {
        // Requests show with the next scrape.
        Scrape::of(&fleet, service).await;
        // WHEN a service is scraped
        let scrape = Scrape::of(&fleet, service).await;
        // THEN it shows what the documentation says
        let documented = documented(service);
        assert!(documented.len() > 10, "{service:?}: {documented:?}");
        assert_eq!(scrape.metrics, documented, "{service:?}");
        for (name, metric) in &scrape.metrics {
            // AND every metric says what it means, and its name what it is
            assert!(
                scrape.help.get(name).is_some_and(|help| help.len() > 10),
                "{service:?} {name} has no help"
            );
            assert_eq!(name.ends_with("_total"), metric.kind == "counter", "{name} is a {}", metric.kind);
            assert!(!name.contains("milli") && !name.ends_with("_ms"), "{name} has no base unit");
        }
    }
    // AND the numbers are those of the events
    let stg = Scrape::of(&fleet, Service::Stg).await;
    let orders = |outcome: &'static str| stg.sum("strata_events_total", &["stream=\"order\"", outcome]);
    assert_eq!((orders("outcome=\"applied\""), orders("outcome=\"dead_letter\"")), (20.0, 1.0));
    assert_eq!(stg.sum("strata_event_latency_seconds_count", &["stream=\"order\""]), 21.0);
    assert_eq!(stg.sum("strata_rows_written_total", &["table=\"stg.order_events\""]), 20.0);
    assert_eq!(stg.sum("strata_dead_letters_total", &["reason=\"malformed_json\""]), 1.0);
    assert_eq!(stg.sum("strata_consumer_lag_messages", &[]), 0.0);
    let dds = Scrape::of(&fleet, Service::Dds).await;
    assert_eq!(dds.sum("strata_rows_written_total", &["table=\"dds.h_order\""]), 20.0);
    assert_eq!(dds.sum("strata_healthy", &["check=\"worker\""]), 1.0);
    let source = Scrape::of(&fleet, Service::DataSource).await;
    let ingested = ["method=\"POST\"", "route=\"/ingest/{stream}\"", "status=\"200\""];
    assert_eq!(source.sum("strata_http_requests_total", &ingested), 1.0);
}

#[tokio::test]
async fn lag_monitors_are_told_where_each_stage_stands() {
    // GIVEN a fleet that has stored orders, batch after batch
    let fleet = launch(&[("BATCH_MAX_ROWS", "3")]).await;
    let orders: Vec<_> = (0..60).map(|number| simple_order(number, "CLOSED")).collect();
    fleet.ingest(&orders).await;
    fleet.at_rest(SOON).await;
    // THEN Kafka soon knows the offsets that lie with the data
    for service in [Service::Stg, Service::Dds, Service::Cdm] {
        let topic = fleet.input_of(service);
        let stored = fleet.offsets(service, &topic).await;
        assert_eq!(stored.values().sum::<i64>(), 60, "{service:?}");
        eventually(SOON, "what lag monitors see", async || {
            let told = fleet.committed(service, &topic).await;
            if told == stored { Ok(()) } else { Err(format!("{told:?}, not {stored:?}")) }
        })
        .await;
    }
}

#[tokio::test]
async fn lag_grows_in_messages_and_seconds_while_a_stage_waits_and_ends_with_the_partitions() {
    // GIVEN a fleet whose dds cannot write
    let fleet = launch(&[]).await;
    sqlx::query("alter table dds.h_order rename to h_order_away")
        .execute(fleet.pool())
        .await
        .expect("renamed");
    // WHEN orders come
    let orders: Vec<_> = (0..30).map(|number| simple_order(number, "OPEN")).collect();
    fleet.ingest(&orders).await;
    // THEN dds is behind by all of them, and their age grows
    let topic = format!("topic=\"{}\"", fleet.dds_topic());
    let behind = async |at_least: f64| {
        eventually(SOON, "the lag of dds", async || {
            let scrape = Scrape::of(&fleet, Service::Dds).await;
            let lag = ["strata_consumer_lag_messages", "strata_consumer_lag_seconds"]
                .map(|n| scrape.sum(n, &[&topic]));
            if lag[0] == 30.0 && lag[1] > at_least { Ok(lag[1]) } else { Err(format!("{lag:?}")) }
        })
        .await
    };
    let first = behind(0.5).await;
    behind(first + 1.0).await;
    // WHEN dds can write again
    sqlx::query("alter table dds.h_order_away rename to h_order")
        .execute(fleet.pool())
        .await
        .expect("renamed back");
    fleet.at_rest(SOON).await;
    // THEN nothing waits
    let scrape = Scrape::of(&fleet, Service::Dds).await;
    assert_eq!(scrape.sum("strata_consumer_lag_messages", &[&topic]), 0.0);
    assert_eq!(scrape.sum("strata_consumer_lag_seconds", &[&topic]), 0.0);
    assert!(scrape.sum("strata_batch_retries_total", &["cause=\"operator\"", "stream=\"order\""]) > 0.0);
    // WHEN a second instance takes half of the partitions
    fleet.second(Service::Dds);
    fleet.members(Service::Dds, 2, SOON).await;
    // THEN the first shows the lag of its own half only
    eventually(Duration::from_secs(30), "three partitions", async || {
        let scrape = Scrape::of(&fleet, Service::Dds).await;
        let own = (0..6)
            .filter(|n| scrape.has("strata_consumer_lag_seconds", &format!("{topic},partition=\"{n}\"")));
        let own = own.count();
        if own == 3 { Ok(()) } else { Err(own.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn the_partitions_of_an_instance_that_died_lag_at_once_in_the_metrics_of_the_console() {
    // GIVEN a fleet whose dds has died
    let fleet = launch(&[]).await;
    fleet.launch_console().await;
    fleet.kill(Service::Dds);
    // WHEN orders come
    let orders: Vec<_> = (0..30).map(|number| simple_order(number, "OPEN")).collect();
    fleet.ingest(&orders).await;
    // THEN the console shows that all of them wait in dds, and since when
    let labels = ["stage=\"dds\"", "stream=\"order\""];
    eventually(Duration::from_secs(20), "the lag of dds", async || {
        let scrape = Scrape::of(&fleet, Service::Console).await;
        let lag = ["strata_fleet_lag_messages", "strata_fleet_lag_seconds"].map(|n| scrape.sum(n, &labels));
        if lag[0] == 30.0 && lag[1] > 0.0 { Ok(()) } else { Err(format!("{lag:?}")) }
    })
    .await;
    // AND nothing after dds is done
    fleet.start(Service::Dds);
    eventually(Duration::from_secs(40), "no lag", async || {
        let scrape = Scrape::of(&fleet, Service::Console).await;
        let lag = scrape.sum("strata_fleet_lag_messages", &["stream=\"order\""]);
        if lag == 0.0 { Ok(()) } else { Err(lag.to_string()) }
    })
    .await;
}
