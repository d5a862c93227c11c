//! What services say about themselves.

use serde_json::json;
use strata_testkit::{Fleet, Service};

#[tokio::test]
async fn every_service_says_that_it_is_well() {
    // GIVEN a fleet
    let fleet = Fleet::launch().await;
    for (service, name) in [
        (Service::DataSource, "data_generator"),
        (Service::Stg, "stg_service"),
        (Service::Dds, "dds_service"),
        (Service::Cdm, "cdm_service"),
    ] {
        // WHEN a service is asked for its health
        let health = fleet.get(service, "/health").await.ok();
        // THEN it and all it depends on are well
        assert_eq!(health["service"], json!(name), "{health}");
        assert_eq!(health["status"], json!("ok"), "{health}");
        assert_eq!(health["api"], json!("ok"), "{health}");
        let worker = (service != Service::DataSource).then_some(json!("ok"));
        assert_eq!(health.get("worker"), worker.as_ref(), "{health}");
        let checks = health["checks"].as_object().expect("checks by name");
        assert!(checks.contains_key("kafka"), "{health}");
        assert!(checks.values().all(|check| check == "ok"), "{health}");
        // AND the other paths that every service has answer too
        for path in ["/livez", "/readyz", "/metrics", "/openapi.json"] {
            assert_eq!(fleet.get(service, path).await.status, 200, "{service:?} {path}");
        }
        let unknown = fleet.get(service, "/nothing/here").await;
        assert_eq!(unknown.status, 404);
        assert!(unknown.body["error"].is_string(), "{}", unknown.body);
        let openapi = fleet.get(service, "/openapi.json").await.ok();
        assert!(openapi["paths"].is_object(), "{openapi}");
    }
}

#[tokio::test]
async fn a_service_listens_on_addresses_of_ipv6_and_its_callers_find_it_there() {
    // GIVEN services that listen on every address, those of IPv6 first
    let fleet = Fleet::launch_only(&[Service::DataSource], &[("HTTP_HOST", "::")]).await;
    let url = fleet.url(Service::DataSource).replace("127.0.0.1", "[::1]");
    // WHEN the tool is sent to such an address, or finds it by itself
    for variables in [&[("DATA_SOURCE_URL", &*url)][..], &[("DATA_SOURCE_URL", "")]] {
        let pushed = fleet.strata_with(&["push", "order=5"], variables).await;
        // THEN it gets there
        assert!(pushed.status.success(), "{variables:?}: {}", String::from_utf8_lossy(&pushed.stderr));
    }
    // AND the container's own check does, too
    let checked = fleet.healthcheck(Service::DataSource).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
