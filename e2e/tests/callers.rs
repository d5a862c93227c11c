//! Callers who may not, who want too much, and who hold on to what they get.

use std::time::Duration;

use serde_json::{Value, json};
use strata_streams::STREAMS;
use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, Service, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::SOON;

const KEY: &str = "a-key-that-nobody-may-read-4711";

/// Everything that changes state: method, path, body.
fn changes() -> impl Iterator<Item = (&'static str, String, &'static str)> {
    let ingest = STREAMS.iter().map(|stream| ("POST", format!("/ingest/{}", stream.spec.name), "{}"));
    let reference = ["users", "restaurants"].map(|kind| ("PUT", format!("/reference/{kind}"), "{}"));
    [("POST", "/push".to_owned(), "{\"N\": 1}")].into_iter().chain(ingest).chain(reference)
}

/// Everything that tells of one person.
const PERSONAL: [(Service, &str); 6] = [
    (Service::Cdm, "/counters/users/d3275d9d9530440ea2b0be23/products"),
    (Service::Cdm, "/counters/users/d3275d9d9530440ea2b0be23/categories"),
    (Service::Cdm, "/users"),
    (Service::Console, "/dashboard/users/d3275d9d9530440ea2b0be23/products"),
    (Service::Console, "/dashboard/users/d3275d9d9530440ea2b0be23/categories"),
    (Service::Console, "/dashboard/people"),
];

#[tokio::test]
async fn a_change_that_another_web_page_asks_for_is_refused_with_the_key_and_without() {
    for variables in [&[][..], &[("APIKEY", KEY)]] {
        // GIVEN a fleet, with a key or without
        let fleet = Fleet::launch_with(variables).await;
        let host = fleet.url(Service::DataSource);
        for (method, path, body) in changes() {
            let ask = async |from: &[(&str, &str)]| {
                // What a page may send without asking first; the key it cannot know is no excuse either.
                let headers: Vec<_> = [("content-type", "text/plain"), ("APIKEY", KEY)]
                    .into_iter()
                    .chain(from.iter().copied())
                    .collect();
                fleet.request(Service::DataSource, method, &path, &headers, Some(body.to_owned())).await
            };
            // WHEN a browser sends it for a page of another origin
            for from in [
                &[("origin", "http://evil.example")][..],
                &[("origin", "null")],
                &[("origin", "http://localhost:1")],
                &[("sec-fetch-site", "cross-site")],
                &[("sec-fetch-site", "same-site"), ("origin", &host)],
            ] {
                let answer = ask(from).await;
                // THEN it is refused
                assert_eq!(answer.status, 403, "{method} {path} {from:?}: {}", answer.body);
                let error = answer.body["error"].as_str().unwrap_or_default();
                assert!(error.contains("other web pages"), "{}", answer.body);
            }
            // AND from a page of its own, or from no page, it is not
            for from in [
                &[("origin", host.as_str())][..],
                &[("sec-fetch-site", "same-origin")],
                &[("sec-fetch-site", "none")],
                &[],
            ] {
                let answer = ask(from).await;
                assert_ne!(answer.status, 403, "{method} {path} {from:?}: {}", answer.body);
            }
        }
        // AND so it is with what the console takes
        fleet.launch_console().await;
        let from = [("content-type", "application/json"), ("origin", "http://evil.example")];
        let push = fleet
            .request(Service::Console, "POST", "/dashboard/push", &from, Some("{\"N\": 1}".to_owned()))
            .await;
        assert_eq!(push.status, 403, "{}", push.body);
        // AND none of the refused was carried out
        fleet.at_rest(SOON).await;
        let pushed: i64 = sqlx::query_scalar("select count(*) from stg.order_events")
            .fetch_one(fleet.pool())
            .await
            .expect("a count");
        assert_eq!(pushed, 4, "one for each page or program that may");
        // AND another page may look at what tells of nobody
        let looked =
            fleet.request(Service::Cdm, "GET", "/hotels", &[("origin", "http://evil.example")], None).await;
        assert_eq!(looked.status, 200, "{}", looked.body);
    }
}

#[tokio::test]
async fn what_tells_of_one_person_wants_the_key_too() {
    // GIVEN services with a key
    let fleet = Fleet::launch_only(&[Service::Cdm], &[("APIKEY", KEY)]).await;
    fleet.launch_console().await;
    for (service, path) in PERSONAL {
        // WHEN it is asked for without, or with another THEN that is refused
        for headers in [&[][..], &[("APIKEY", "another")]] {
            let answer = fleet.request(service, "GET", path, headers, None).await;
            assert_eq!(answer.status, 401, "{path} {headers:?}: {}", answer.body);
        }
        // AND with the key it is told
        let answer = fleet.request(service, "GET", path, &[("APIKEY", KEY)], None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    // AND no other page of a browser reads who the users are, where there is no key
    let open = Fleet::launch_only(&[Service::Cdm], &[]).await;
    open.launch_console().await;
    let origin = ("origin", "https://travel.example");
    for (service, path) in PERSONAL {
        let answer = open.request(service, "GET", path, &[origin], None).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None), "{path}");
    }
}

#[tokio::test]
async fn what_changes_state_wants_the_key_and_nobody_is_told_it() {
    // GIVEN a fleet with a key that logs all it has to say
    let fleet = Fleet::launch_with(&[("APIKEY", KEY), ("LOG_LEVEL", "debug")]).await;
    let wrong = [None, Some(""), Some("another"), Some(&KEY[..KEY.len() - 1]), Some(&KEY.to_uppercase())]
        .map(|key| key.map(str::to_owned));
    for (method, path, body) in changes() {
        // WHEN the key is missing or another THEN the request is refused, unread
        for key in &wrong {
            let headers: Vec<(&str, &str)> = key.iter().map(|key| ("APIKEY", key.as_str())).collect();
            let answer =
                fleet.request(Service::DataSource, method, &path, &headers, Some(body.to_owned())).await;
            let refusal = json!({"message": "Error: Unauthorised with 'APIKEY'"});
            assert_eq!((answer.status, &answer.body), (401, &refusal), "{method} {path} {key:?}");
        }
        // AND with the key it is not
        let answer = fleet
            .request(Service::DataSource, method, &path, &[("APIKEY", KEY)], Some(body.to_owned()))
            .await;
        assert_ne!(answer.status, 401, "{method} {path}");
    }
    // AND what only looks is open
    for (service, path) in [
        (Service::DataSource, "/health"),
        (Service::Cdm, "/health"),
        (Service::Cdm, "/hotels"),
        (Service::Cdm, "/metrics"),
    ] {
        assert_eq!(fleet.get(service, path).await.status, 200, "{service:?} {path}");
    }
    // AND no service has written the key down
    assert!(!fleet.logs().contains(KEY));
}

#[tokio::test]
async fn a_menu_too_dear_to_order_from_is_told_to_who_pushes() {
    // GIVEN a restaurant of whose dishes no order can hold two
    let fleet = Fleet::launch_only(&[Service::DataSource], &[]).await;
    let dish = |id: &str| json!({"_id": id.repeat(24), "name": id, "price": 99_999_999_999_999_i64, "category": "Супы"});
    let restaurant = json!({
        "_id": "d".repeat(24), "name": "dear", "menu": [dish("a"), dish("b"), dish("c")],
        "update_ts_utc": "2025-02-01 00:00:00",
    });
    let put = fleet.put_lines(Service::DataSource, "/reference/restaurants", format!("{restaurant}\n")).await;
    assert_eq!(put.status, 200, "{}", put.body);
    // WHEN so many orders are generated that some are of it
    let answer =
        fleet.post_as(Service::DataSource, "/push", "application/json", "{\"N\": 2000}".to_owned()).await;
    // THEN the answer names the restaurant, and it is no outage
    assert_eq!(answer.status, 422, "{}", answer.body);
    let error = answer.body["error"].as_str().unwrap_or_default();
    assert!(error.contains(&"d".repeat(24)) && error.contains("cost more"), "{}", answer.body);
    fleet.wait_healthy(Service::DataSource).await;
}

#[tokio::test]
async fn too_much_at_once_is_refused_with_a_reason() {
    let fleet = Fleet::launch_only(&[Service::DataSource, Service::Cdm], &[]).await;
    let push =
        async |body: String| fleet.post_as(Service::DataSource, "/push", "application/json", body).await;
    // WHEN more events are asked for than are made, or none THEN the field is named
    for n in [json!(0), json!(-1), json!(10_000_001), json!(1.5), json!("many"), json!(1e300), Value::Null] {
        let answer = push(json!({"N": n}).to_string()).await;
        assert_eq!(answer.status, 400, "{n}: {}", answer.body);
        assert!(
            answer.body["error"].as_str().is_some_and(|error| error.starts_with("N ")),
            "{}",
            answer.body
        );
    }
    for rate in [json!(0), json!(-5), json!("fast"), json!(1e-9)] {
        let answer = push(json!({"N": 1, "rate": rate}).to_string()).await;
        assert_eq!(answer.status, 400, "{rate}: {}", answer.body);
    }
    // WHEN a body is longer than it can mean anything
    let answer = push(format!("{{\"N\": 1, \"padding\": \"{}\"}}", "x".repeat(64 << 10))).await;
    // THEN it is refused
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert!(answer.body["error"].is_string(), "{}", answer.body);
    // WHEN one line of a stream is THEN it alone is
    let long = format!("{{\"object_id\": 1, \"padding\": \"{}\"}}\n", "x".repeat(2 << 20));
    let answer = fleet.post_lines(Service::DataSource, "/ingest/order", long).await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(answer.body["rejected"][0]["line"], json!(1), "{}", answer.body);
    // WHEN pages are larger than they may be
    for path in ["/users?limit=10001", "/hotels?limit=0", "/hotel_min_offer_per_advertiser?limit=1001"] {
        assert_eq!(fleet.get(Service::Cdm, path).await.status, 400, "{path}");
    }
}

/// Connects and sends the beginning of a request.
async fn begin(fleet: &Fleet, service: Service, text: &str) -> TcpStream {
    let address = fleet.url(service).replace("http://", "");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("a beginning");
    stream
}

/// Sends a byte now and then until the service answers or closes; what it said.
async fn drip(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    let dripping = async {
        loop {
            match timeout(Duration::from_millis(50), stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(n)) => said.extend_from_slice(&buffer[..n]),
                // Fails once the other side has closed; the next look at it tells.
                Err(_) => drop(stream.write_all(b"x").await),
            }
        }
    };
    timeout(SOON, dripping).await.expect("the service lets go of the connection");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn callers_that_send_byte_by_byte_are_let_go() {
    // GIVEN services with little patience
    let fleet =
        Fleet::launch_only(&[Service::DataSource, Service::Cdm], &[("HTTP_READ_TIMEOUT_SECS", "1")]).await;
    for service in [Service::DataSource, Service::Cdm] {
        // WHEN a header never ends THEN the connection is closed
        drip(begin(&fleet, service, "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ").await).await;
    }
    // WHEN a body never ends THEN the caller is told so, and let go
    for path in ["/push", "/ingest/order"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n ");
        let said = drip(begin(&fleet, Service::DataSource, &head).await).await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{path}: {said}");
        assert!(said.contains("less than 1024 bytes arrived within 1 s"), "{path}: {said}");
    }
    // AND others are served as ever
    fleet.push(10).await;
}

#[tokio::test]
async fn there_are_no_more_connections_than_allowed() {
    // GIVEN a service of four connections, all of them taken by callers that say nothing
    let fleet = Fleet::launch_only(&[Service::Cdm], &[("HTTP_MAX_CONNECTIONS", "4")]).await;
    let ask = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut taken = Vec::new();
    let mut waiting = eventually(SOON, "a connection that has to wait", async || {
        // The fleet's own client may hold one still: take until one is not served.
        let mut stream = begin(&fleet, Service::Cdm, ask).await;
        let mut answer = [0; 12];
        if timeout(Duration::from_millis(500), stream.read_exact(&mut answer)).await.is_err() {
            return Ok(stream);
        }
        taken.push(begin(&fleet, Service::Cdm, "GET ").await);
        Err(format!("{} are taken", taken.len()))
    })
    .await;
    assert!((1..=4).contains(&taken.len()), "{} connections were open at once", taken.len());
    // WHEN one of them leaves THEN the next is served
    taken.pop();
    let mut answer = String::new();
    timeout(SOON, waiting.read_to_string(&mut answer)).await.expect("an answer").expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn there_are_no_more_requests_than_allowed() {
    // GIVEN a service that works on two requests at once, and has two that last
    let fleet = Fleet::launch_only(&[Service::DataSource], &[("HTTP_MAX_REQUESTS", "2")]).await;
    let head = "POST /ingest/order HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    let lasting =
        [begin(&fleet, Service::DataSource, head).await, begin(&fleet, Service::DataSource, head).await];
    // WHEN a third comes THEN it is told to come back
    eventually(SOON, "a request that is turned away", async || {
        let answer = fleet.post(Service::DataSource, "/push", &json!({"N": 1})).await;
        let turned_away = answer.status == 429 && answer.header("retry-after") == Some("1");
        holds(turned_away && answer.body["error"].is_string(), || {
            format!("{} {}", answer.status, answer.body)
        })
    })
    .await;
    // AND health is told all the same
    assert_eq!(fleet.get(Service::DataSource, "/health").await.status, 200);
    // WHEN the others are gone THEN it has its turn
    drop(lasting);
    eventually(SOON, "a request that has its turn", async || {
        let answer = fleet.post(Service::DataSource, "/push", &json!({"N": 1})).await;
        holds(answer.status == 200, || format!("{} {}", answer.status, answer.body))
    })
    .await;
}
