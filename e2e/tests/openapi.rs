//! The services do what their descriptions say, as schemathesis sees it.

use std::process::Command;

use strata_testkit::{Fleet, Service};

use crate::support::launch;

/// Runs schemathesis against a service and returns what it says, or how it failed.
async fn schemathesis(fleet: &Fleet, service: Service) -> Result<String, String> {
    let url = fleet.url(service);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/test_openapi.sh");
    let run = tokio::task::spawn_blocking(move || Command::new(script).arg(url).output());
    let output = run.await.expect("it is waited for").expect("bash");
    let [said, failed] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let text = format!("{said}{failed}");
    if output.status.success() { Ok(text) } else { Err(text) }
}

#[tokio::test]
async fn every_service_answers_as_its_description_says() {
    // GIVEN a fleet
    let fleet = launch(&[]).await;
    fleet.launch_console().await;
    let readers = [Service::Stg, Service::Dds, Service::Cdm];
    for service in readers.into_iter().chain([Service::Console, Service::DataSource]) {
        if service == Service::DataSource {
            // It is asked for hundreds of thousands of events: nobody has to read them.
            for reader in readers {
                fleet.terminate(reader).await;
            }
        }
        // WHEN every operation is called with examples, with the limits of its schema and beyond them
        let report = schemathesis(&fleet, service).await;
        // THEN every answer is one that is described
        let report = report.unwrap_or_else(|report| panic!("{service:?}:\n{report}"));
        assert!(report.contains("No issues found"), "{service:?}:\n{report}");
    }
}

#[tokio::test]
async fn the_page_at_docs_needs_nothing_from_elsewhere() {
    let fleet = Fleet::launch().await;
    fleet.launch_console().await;
    for service in Service::ALL.into_iter().chain([Service::Console]) {
        // GIVEN the page of a service
        let (status, content_type, page) = fleet.text(service, "/docs").await;
        assert_eq!((status, content_type.as_str()), (200, "text/html; charset=utf-8"));
        assert!(!page.contains("//"), "{page}");
        // WHEN what it loads is asked for
        let attributes = page.split('"').filter(|text| text.starts_with("docs/"));
        let loaded: Vec<&str> = attributes.collect();
        assert_eq!(loaded.len(), 3, "{page}");
        for path in loaded {
            // THEN the service has it
            let answer = fleet.get(service, &format!("/{path}")).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("content-encoding").is_some(), path.contains("swagger-ui"), "{path}");
        }
        // AND the browser is told to load nothing else
        let policy = fleet.get(service, "/docs").await;
        let policy = policy.header("content-security-policy").unwrap_or_default().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        // AND the description names the service's own routes and those of all services, each with an answer
        let description = fleet.get(service, "/openapi.json").await.ok();
        let paths = description["paths"].as_object().expect("paths");
        assert!(paths.contains_key("/metrics") && paths.contains_key("/docs"), "{service:?}");
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().expect("operations") {
                let mut responses = operation["responses"].as_object().expect("responses").keys();
                assert!(responses.any(|status| status.starts_with('2')), "{service:?} {method} {path}");
                assert!(operation["operationId"].is_string(), "{service:?} {method} {path}");
            }
        }
    }
}
