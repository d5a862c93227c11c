//! The dashboard of the console, in a browser.

mod browser;

use std::time::Duration;

use serde_json::{Value, json};
use strata_streams::{STREAMS, StreamDef};
use strata_testkit::eventually::holds;
use strata_testkit::{Fleet, LocalServers, Server, Service, eventually};

use crate::support::{SOON, launch, simple_order};
use browser::{Browser, SHOWN_WITHIN};

/// Orders that data-source sent, as the picture of the flow shows them.
const SENT: &str = r#"[data-service="data-source"] [data-stream="order"] [data-figure="sent"]"#;

/// The same of any stream.
fn sent(stream: &StreamDef) -> String {
    SENT.replace("order", stream.spec.name)
}

/// Pipes whose middle is not beside the gauge of their stream in the service that they lead to.
const ASKEW: &str = r#"return [...document.querySelectorAll(".hop")].filter((hop) => {
    const gauge = hop.parentElement.nextElementSibling.querySelector(`.gauge[data-stream="${hop.dataset.stream}"]`);
    const [at, beside] = [hop, gauge].map((element) => element.getBoundingClientRect());
    const middle = (at.top + at.bottom) / 2;
    return middle < beside.top || middle > beside.bottom;
}).map((hop) => hop.dataset.hop)"#;

/// Opens the dashboard of a fleet and waits until it is live.
async fn open(fleet: &Fleet) -> Browser {
    fleet.launch_console().await;
    let browser = Browser::open(&fleet.url(Service::Console)).await;
    browser.shows("#connection", "live").await;
    browser.has(SENT).await;
    browser
}

/// What the bands of an element show: name and number.
async fn bands(browser: &Browser, selector: &str) -> Vec<(String, String)> {
    let script = format!(
        "return [...document.querySelectorAll({})].map((band) => [band.querySelector('.name').innerText, \
         band.querySelector('.number').innerText])",
        json!(format!("{selector} .band"))
    );
    serde_json::from_value(browser.script(&script).await).expect("pairs")
}

#[tokio::test]
async fn what_is_pushed_on_the_page_is_seen_to_arrive_in_every_layer() {
    // GIVEN the page of a fleet
    let fleet = launch(&[]).await;
    let browser = open(&fleet).await;
    assert_eq!(browser.number(SENT).await, Some(0));
    for stream in STREAMS {
        let (name, many) = (stream.spec.name, stream.words.many);
        // WHEN events are pushed by the button
        browser.fill("#push [name=count]", "400").await;
        browser.click(&format!("#push option[value={name}]")).await;
        browser.click("#push button[type=submit]").await;
        // THEN the page tells when all layers have them, and its figures have moved
        browser.shows("#push-progress [role=status]", &format!("400 {many} in all layers")).await;
        assert_eq!(browser.number(&sent(stream)).await, Some(400));
        let shares =
            "return [...document.querySelectorAll('#push-progress progress')].map((bar) => bar.value)";
        assert_eq!(browser.script(shares).await, json!(vec![1; 1 + stream.spec.hops.len()]), "{name}");
        // AND the latency of what was committed
        browser.shows("#latency-chart + .legend", many).await;
    }
    fleet.all_at_rest(SOON).await;
    for table in STREAMS.iter().map(|stream| stream.raw.table) {
        eventually(SHOWN_WITHIN, &format!("400 rows of {table}"), async || {
            let rows = browser.number(&format!(r#"#layers [data-name="{table}"] .number"#)).await;
            holds(rows == Some(400), || format!("{rows:?}"))
        })
        .await;
    }
    // AND who sends and who reads: one instance of each, all partitions of every stream that passes it
    let readers = STREAMS.iter().flat_map(|stream| stream.spec.hops).count();
    eventually(SHOWN_WITHIN, "all instances", async || {
        let shown = bands(&browser, "#instances").await;
        let reading = shown.iter().filter(|(name, _)| name.ends_with(" 0–5")).count();
        holds((shown.len(), reading) == (STREAMS.len() + readers, readers), || format!("{shown:?}"))
    })
    .await;
    let words = browser.script("return document.getElementById('latency-chart').ariaLabel").await;
    assert!(words.as_str().is_some_and(|words| words.contains("ms") || words.contains(" s,")), "{words}");
    // AND nothing went wrong on the way
    assert_eq!(browser.console_errors().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_user_is_looked_up_by_either_id_and_a_wrong_one_is_explained() {
    // GIVEN orders of users
    let fleet = launch(&[]).await;
    let orders: Vec<Value> = (0..20).map(|number| simple_order(number, "CLOSED")).collect();
    fleet.ingest(&orders).await;
    fleet.at_rest(SOON).await;
    let id = orders[3]["payload"]["user"]["id"].as_str().expect("an id").to_owned();
    let counted = fleet.get(Service::Cdm, &format!("/counters/users/{id}/products")).await.ok();
    let row = |row: &Value| {
        let text = |field: &str| row[field].as_str().map_or_else(|| row[field].to_string(), str::to_owned);
        (text("product_name"), text("order_cnt"))
    };
    let expected: Vec<_> = counted["data"].as_array().expect("rows").iter().map(row).collect();
    assert!(!expected.is_empty(), "{counted}");
    let key = counted["user_id"].as_str().expect("a key").to_owned();
    let browser = open(&fleet).await;
    browser.has("#counters .band").await;
    for id in [id, key] {
        // WHEN one is looked up
        browser.fill("#user [name=id]", "").await;
        browser.fill("#user [name=id]", &id).await;
        browser.click("#user button[type=submit]").await;
        // THEN his products and categories show
        eventually(SHOWN_WITHIN, "the products of the user", async || {
            let shown = bands(&browser, "#counters .bands:first-child").await;
            holds(shown == expected, || format!("{shown:?}"))
        })
        .await;
        assert!(!bands(&browser, "#counters .bands:last-child").await.is_empty());
    }
    assert_eq!(browser.console_errors().await, Vec::<String>::new());
    // AND WHEN the id is none
    browser.fill("#user [name=id]", "this is no id of any user").await;
    browser.click("#user button[type=submit]").await;
    // THEN the page says why
    browser.shows("#counters [role=alert]", "24 hexadecimal characters").await;
}

#[tokio::test]
async fn what_is_down_shows_as_down_and_the_page_comes_back_by_itself() {
    // GIVEN the page of a fleet
    let fleet = launch(&[]).await;
    let browser = open(&fleet).await;
    browser.shows("#verdict", "All layers are current").await;
    // WHEN a service stops
    fleet.terminate(Service::Dds).await;
    // THEN it shows, and the others do as before
    browser.has(r#"[data-service="dds"][data-state="down"]"#).await;
    browser.shows("#verdict", "dds is down").await;
    browser.has(r#"[data-service="stg"][data-state="ok"]"#).await;
    // AND WHEN the console itself stops, while it is looked at
    let stopped = fleet.terminate(Service::Console).await;
    // THEN that does not take until the deadline, and the page says what is wrong
    assert!(stopped.status.success() && stopped.took < Duration::from_secs(6), "{stopped:?}");
    browser.shows("#connection", "the console does not answer").await;
    // AND WHEN both are back
    fleet.start(Service::Dds);
    fleet.start(Service::Console);
    // THEN the page is too
    browser.shows("#connection", "live").await;
    browser.shows("#verdict", "All layers are current").await;
}

#[tokio::test]
async fn a_page_without_redis_and_then_without_postgres_shows_what_is_left() {
    // GIVEN the page of a fleet on servers of its own
    let servers = LocalServers::start_these(&[Server::Redis, Server::Postgres]).await;
    let fleet = Fleet::prepare_on(servers.servers(), &[]).await;
    for service in Service::ALL {
        fleet.start(service);
    }
    for service in Service::ALL {
        fleet.wait_healthy(service).await;
    }
    let browser = open(&fleet).await;
    for (server, name, lost) in
        [(Server::Redis, "redis", "#hotels"), (Server::Postgres, "postgres", "#layers")]
    {
        // WHEN a server is gone
        servers.crash(server).await;
        // THEN the page says which, and what it does not know, and is live
        browser.has(&format!(r#"[data-server="{name}"][data-state="down"]"#)).await;
        browser.shows("#verdict", &format!("{name} is down")).await;
        browser.shows(lost, "not known").await;
        browser.has(r#"[data-server="kafka"][data-state="ok"]"#).await;
        browser.shows("#connection", "live").await;
        // AND it comes back with the server
        servers.restart(server).await;
        browser.has(&format!(r#"[data-server="{name}"][data-state="ok"]"#)).await;
    }
    browser.shows("#verdict", "All layers are current").await;
}

#[tokio::test]
async fn a_push_wants_the_key_of_the_fleet_and_says_so() {
    // GIVEN the page of a fleet that has a key
    let fleet = Fleet::launch_with(&[("APIKEY", "a key of this test")]).await;
    let browser = open(&fleet).await;
    browser.fill("#push [name=count]", "5").await;
    // AND who searches and orders is not told without
    browser.shows("#users", "wants the API key").await;
    browser.fill("#user [name=id]", "d3275d9d9530440ea2b0be23").await;
    browser.click("#user button[type=submit]").await;
    browser.shows("#counters [role=alert]", "wants the API key").await;
    browser.fill("#user [name=id]", "").await;
    // WHEN it is pushed without, and with another
    for key in ["", "another"] {
        browser.fill("#push [name=key]", key).await;
        browser.click("#push button[type=submit]").await;
        // THEN that is refused
        browser.shows("#push-progress [role=alert]", "Unauthorised").await;
    }
    assert_eq!(browser.number(SENT).await, Some(0));
    // AND WHEN the key is right
    browser.fill("#push [name=key]", "a key of this test").await;
    browser.click("#push button[type=submit]").await;
    // THEN the orders go their way
    browser.shows("#push-progress [role=status]", "5 orders in all layers").await;
    // AND what tells of persons is told, too
    browser.shows("#users h3", "Users").await;
    browser.has("#recent button").await;
    browser.click("#recent button").await;
    browser.has("#counters .band").await;
    // AND what data-source refuses is passed on, as is that it does not answer
    let push = async |body: &Value| fleet.post(Service::Console, "/dashboard/push", body).await;
    assert_eq!(push(&json!({"N": 0})).await.status, 401);
    let plain = fleet.post_as(Service::Console, "/dashboard/push", "text/plain", "{}".to_owned()).await;
    assert_eq!(plain.status, 415, "{}", plain.body);
    fleet.terminate(Service::DataSource).await;
    let silent = push(&json!({"N": 1})).await;
    assert_eq!(silent.status, 503, "{}", silent.body);
    assert!(silent.body["error"].as_str().is_some_and(|why| why.contains("data-source")), "{}", silent.body);
}

#[tokio::test]
async fn the_page_fits_every_width_and_nobody_looks_when_it_is_closed() {
    // GIVEN the page of a fleet that holds events of every stream
    let fleet = launch(&[]).await;
    for stream in STREAMS {
        fleet.push_to(&stream.spec, 100).await;
    }
    fleet.at_rest(SOON).await;
    let browser = open(&fleet).await;
    browser.has("#hotels .band").await;
    browser.has("#counters .band").await;
    for scheme in ["light", "dark"] {
        for width in [320, 390, 768, 1024, 1440, 2560] {
            // WHEN it is shown at any width
            browser.look(width, scheme).await;
            // THEN it does not scroll sideways
            let sizes = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]";
            eventually(SHOWN_WITHIN, &format!("a page of {width}"), async || {
                let sizes: Vec<i64> =
                    serde_json::from_value(browser.script(sizes).await).expect("two numbers");
                holds(sizes[0] <= sizes[1] && sizes[1] <= i64::from(width), || format!("{sizes:?}"))
            })
            .await;
            // AND where services stand in a row, what flows between them stands beside the gauges of its stream
            if width > 1024 {
                assert_eq!(browser.script(ASKEW).await, json!([]), "{width}");
            }
        }
    }
    assert_eq!(browser.console_errors().await, Vec::<String>::new());
    // AND WHEN it is closed
    let looking = async || {
        let observers = "select count(*) from pg_stat_activity where application_name = 'strata-observer' \
                         and datname = current_database()";
        sqlx::query_scalar::<_, i64>(observers).fetch_one(fleet.pool()).await.expect("a count")
    };
    assert!(looking().await > 0);
    browser.go("about:blank").await;
    // THEN nobody asks the fleet any more
    eventually(SOON, "no observer", async || {
        let observers = looking().await;
        holds(observers == 0, || format!("{observers} connections"))
    })
    .await;
}
