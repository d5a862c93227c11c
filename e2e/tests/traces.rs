//! One trace from a request through all layers, as a collector sees it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_testkit::{Answer, Fleet, Service, eventually};

use crate::support::{SOON, reference, simple_order};

/// A caller's place in a trace that is recorded.
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A caller's place in a trace that nobody records.
const UNRECORDED: &str = "00-5cf92f3577b34da6a3ce929d0e0e4736-10f067aa0ba902b7-00";

/// The services as spans name them.
const SERVICES: [&str; 4] = ["data_generator", "stg_service", "dds_service", "cdm_service"];

/// A span and the service that made it.
type Exported = (String, Span);

/// A collector for OTLP over HTTP that keeps what it gets.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Exported>>>,
}

impl Collector {
    async fn start() -> Self {
        let spans: Arc<Mutex<Vec<Exported>>> = Arc::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, spans }
    }

    /// The spans of a trace, given in hexadecimal digits.
    fn trace(&self, id: &str) -> Vec<Exported> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|(_, span)| hex(&span.trace_id) == id).cloned().collect()
    }

    /// The spans of a trace that has reached all services.
    async fn whole_trace(&self, id: &str) -> Vec<Exported> {
        eventually(SOON, &format!("trace {id} in all services"), async || {
            let spans = self.trace(id);
            let seen: BTreeSet<&str> = spans.iter().map(|(service, _)| service.as_str()).collect();
            if seen == BTreeSet::from(SERVICES) { Ok(spans) } else { Err(format!("{seen:?}")) }
        })
        .await
    }
}

async fn take(State(spans): State<Arc<Mutex<Vec<Exported>>>>, body: Bytes) -> Vec<u8> {
    let request = ExportTraceServiceRequest::decode(body).expect("spans in protobuf");
    let mut kept = spans.lock().unwrap_or_else(PoisonError::into_inner);
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let name =
            attributes.iter().find(|attribute| attribute.key == "service.name").expect("a service's name");
        let name = format!("{:?}", name.value);
        let service =
            SERVICES.into_iter().find(|service| name.contains(service)).expect("a service of the fleet");
        let own = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        kept.extend(own.map(|span| (service.to_owned(), span)));
    }
    Vec::new()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn launch_traced(collector: &Collector) -> Fleet {
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "200")];
    let fleet = Fleet::launch_with(&variables).await;
    fleet.put_reference(&reference()).await;
    fleet
}

/// Ingests one order whose caller stands there in a trace.
async fn ingest(fleet: &Fleet, number: i64, caller: Option<&str>) -> Answer {
    let mut headers = vec![("content-type", "application/x-ndjson")];
    headers.extend(caller.map(|caller| ("traceparent", caller)));
    let order = simple_order(number, "CLOSED").to_string();
    let answer = fleet.request(Service::DataSource, "POST", "/ingest/order", &headers, Some(order)).await;
    assert_eq!(answer.clone().ok()["accepted"], json!(1), "{}", answer.body);
    answer
}

/// The header of all records of a topic.
async fn traceparents(fleet: &Fleet, topic: &str) -> Vec<Option<String>> {
    let records = fleet.kafka().read_all(topic).await;
    records.iter().map(|record| record.header("traceparent").map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_request_is_one_trace_through_all_services() {
    // GIVEN a fleet that exports its traces
    let collector = Collector::start().await;
    let fleet = launch_traced(&collector).await;
    // WHEN a caller that stands in a trace sends an order
    ingest(&fleet, 1, Some(CALLER)).await;
    // THEN all four services show in that trace
    let (trace_id, caller_span) = (&CALLER[3..35], &CALLER[36..52]);
    let spans = collector.whole_trace(trace_id).await;
    let request = spans.iter().find(|(service, _)| service == "data_generator").expect("the request");
    assert_eq!(request.1.name, "POST /ingest/{stream}");
    assert_eq!(hex(&request.1.parent_span_id), caller_span);
    for (service, span) in spans.iter().filter(|(service, _)| service != "data_generator") {
        // AND each layer's span belongs to the request and is linked with its batch, which links back
        assert_eq!(hex(&span.parent_span_id), hex(&request.1.span_id), "{service} {}", span.name);
        let linked = eventually(SOON, "the span of the batch", async || {
            let batch = collector.trace(&hex(&span.links[0].trace_id));
            batch
                .into_iter()
                .find(|(_, batch)| batch.span_id == span.links[0].span_id)
                .ok_or_else(String::new)
        });
        let (_, batch) = linked.await;
        assert!(batch.name.starts_with("batch ") && batch.parent_span_id.is_empty(), "{}", batch.name);
        assert!(batch.links.iter().any(|link| hex(&link.trace_id) == trace_id), "{service} {}", span.name);
    }
    // AND the records of all layers carry the place of the request, the same one
    let place = format!("00-{trace_id}-{}-01", hex(&request.1.span_id));
    for topic in [fleet.stg_topic(), fleet.dds_topic(), fleet.cdm_topic()] {
        assert_eq!(traceparents(&fleet, &topic).await, [Some(place.clone())], "{topic}");
    }
    // WHEN generated searches are pushed by a caller without a trace
    fleet.push_searches(5).await;
    // THEN they are one trace of their own through all services
    let raw = traceparents(&fleet, &fleet.topic(HOTEL_SEARCH.source().env)).await;
    let places: BTreeSet<_> = raw.into_iter().flatten().collect();
    assert_eq!(places.len(), 1, "{places:?}");
    let place = places.first().expect("a place");
    assert_ne!(&place[3..35], trace_id);
    let spans = collector.whole_trace(&place[3..35]).await;
    assert!(spans.iter().any(|(_, span)| span.name == "POST /push" && span.parent_span_id.is_empty()));
}

#[tokio::test]
async fn a_caller_decides_whether_its_trace_is_recorded() {
    // GIVEN a fleet that exports its traces
    let collector = Collector::start().await;
    let fleet = launch_traced(&collector).await;
    // WHEN an order comes of a trace that nobody records, and then one that is recorded
    ingest(&fleet, 1, Some(UNRECORDED)).await;
    fleet.at_rest(SOON).await;
    ingest(&fleet, 2, Some(CALLER)).await;
    collector.whole_trace(&CALLER[3..35]).await;
    // THEN the first has no span, though its records name its trace
    assert_eq!(collector.trace(&UNRECORDED[3..35]), []);
    let of_first = traceparents(&fleet, &fleet.cdm_topic()).await;
    let named = |place: &Option<String>| place.as_ref().is_some_and(|p| p[3..35] == UNRECORDED[3..35]);
    assert_eq!(of_first.iter().filter(|place| named(place)).count(), 1, "{of_first:?}");
}

#[tokio::test]
async fn without_a_collector_the_callers_place_passes_through_untouched() {
    // GIVEN a fleet without a collector
    let fleet = Fleet::launch().await;
    fleet.put_reference(&reference()).await;
    // WHEN orders come with a place, without one, and with one that is none
    for (number, caller) in [(1, Some(CALLER)), (2, None), (3, Some("00-nonsense"))] {
        ingest(&fleet, number, caller).await;
    }
    fleet.at_rest(SOON).await;
    // THEN every layer has the place of the first and no other
    for topic in [fleet.stg_topic(), fleet.dds_topic(), fleet.cdm_topic()] {
        let mut places = traceparents(&fleet, &topic).await;
        places.sort();
        assert_eq!(places, [None, None, Some(CALLER.to_owned())], "{topic}");
    }
}
