//! Every query of docs/QUERIES.md, run against a filled warehouse.
//!
//! `STRATA_WRITE_SAMPLES=1` puts the answers of this run into the document.

use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{Column as _, PgPool, Row as _};
use strata_testkit::builders::ndjson;
use strata_testkit::{Fleet, NewRecord, Reference, Service, search};

use crate::support::{SOON, launch, random, reference, simple_order, versions};

/// The document.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/QUERIES.md");

/// A query and the sample of its answer.
#[derive(Debug)]
struct Query<'a> {
    title: &'a str,
    sql: &'a str,
    sample: Option<&'a str>,
}

/// The block that begins with this fence.
fn block<'a>(section: &'a str, fence: &str) -> Option<&'a str> {
    section.split_once(fence)?.1.split_once("\n```").map(|(block, _)| block)
}

fn queries(document: &str) -> Vec<Query<'_>> {
    let sections = document.split("\n## ").skip(1);
    let query = |section| -> Option<Query<'_>> {
        let (title, rest): (&str, &str) = str::split_once(section, '\n')?;
        Some(Query { title, sql: block(rest, "```sql\n")?, sample: block(rest, "```text\n") })
    };
    sections.map(|section| query(section).unwrap_or_else(|| panic!("no query: {section}"))).collect()
}

/// Names of the columns and the rows as text.
async fn ask(pool: &PgPool, query: &Query<'_>) -> (Vec<String>, Vec<Vec<String>>) {
    // The simple protocol answers in text, whatever the types are.
    let sql = &query.sql;
    let rows = sqlx::raw_sql(sql).fetch_all(pool).await.unwrap_or_else(|e| panic!("{}: {e}", query.title));
    let text = |row: &PgRow, at: usize| {
        let value = row.try_get_raw(at).expect("a column");
        value.as_str().map(str::to_owned).unwrap_or_default()
    };
    let columns =
        rows.first().map(|row| row.columns().iter().map(|column| column.name().to_owned()).collect());
    let cells = rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect();
    (columns.unwrap_or_default(), cells)
}

/// The answer as a table of text.
fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let width = |at: usize| rows.iter().chain([&columns.to_vec()]).map(|row| row[at].chars().count()).max();
    let line = |row: &[String]| {
        let cells =
            row.iter().enumerate().map(|(at, cell)| format!("{cell:0$}", width(at).unwrap_or_default()));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let lines: Vec<String> =
        std::iter::once(columns).chain(rows.iter().map(Vec::as_slice)).map(line).collect();
    lines.join("\n")
}

/// An order of the tests that was placed on that day, at this restaurant by this user.
fn placed(number: i64, day: u32, status: &str) -> Value {
    let mut order = simple_order(number, status);
    order["payload"]["date"] = json!(format!("2025-02-{day:02}T09:30:00+00:00"));
    order
}

/// A page that two people open, more than a day after each other.
const STORY: &str = "http://shop.example/story";

/// Clicks of seven people on three pages, and those on [`STORY`], the first of them without a zone.
fn clicks() -> Vec<Value> {
    let click = |user: usize, time: &str, url: &str, country: &str| {
        json!([format!("u-{user}"), time, url, country, "", "Firefox", "Linux", "desktop"])
    };
    let common = (0..40).map(|n| {
        let url = format!("http://shop.example/{}", ["soups", "cart", ""][n % 3]);
        click(n % 7, &format!("2025-02-22T09:{n:02}:14"), &url, ["Portugal", "India"][n % 2])
    });
    let rare = [(1, "2025-02-22T00:00:00"), (2, "2025-02-24T04:00:03+01:00")];
    common.chain(rare.map(|(user, time)| click(user, time, STORY, "Côte d'Ivoire"))).collect()
}

/// Fills the warehouse with something for every query.
async fn fill(fleet: &Fleet) {
    fleet.push(300).await;
    let mut orders: Vec<Value> =
        (1000..1060).map(|n| placed(n, 20 + u32::try_from(n % 3).unwrap_or(0), "CLOSED")).collect();
    orders.extend((1060..1070).map(|n| placed(n, 21, "CANCELLED")));
    fleet.ingest(&orders).await;
    fleet.ingest(&versions(&mut random(), 40, 3)).await;
    fleet.at_rest(SOON).await;
    // The menu moves a dish, and it is ordered again.
    let mut moved = Reference::invented(15, 4, 8);
    for restaurant in moved.restaurants.values_mut() {
        restaurant.menu[0].category = "Десерты".to_owned();
    }
    fleet.put_reference(&moved).await;
    fleet.ingest(&[simple_order(1080, "CLOSED"), simple_order(1088, "CLOSED")]).await;
    let bad =
        [NewRecord::of("not JSON"), NewRecord::of("{\"object_id\": 1}"), NewRecord::of("not JSON either")];
    fleet.kafka().produce(&fleet.stg_topic(), &bad).await;
    let advertisers = ["Amoma", "Booking.com", "Destinia", "Expedia", "Tui.com"];
    let searches = (0..120_usize).map(|n| {
        // One hotel comes into fashion.
        let hotel = if n > 60 && n % 3 == 0 { 6034 } else { 6030 + n * n % 7 };
        let found = search((n % 11) as u128, hotel.to_string());
        let found = found.at(1_620_224_528 + n * 97).event_id(format!("search-{}", n % 110));
        let offered = (0..3).map(|k| (n + k * 2) % 5);
        let prices = offered.map(|at| (advertisers[at], 7_000 + at * 150 + (n * 37 + at * 911) % 4_000));
        let price = |eurocents| i64::try_from(eurocents).unwrap_or_default();
        prices.fold(found, |found, (advertiser, eurocents)| found.offer(advertiser, price(eurocents))).build()
    });
    fleet.ingest_searches(&searches.collect::<Vec<_>>()).await;
    let answer = fleet.post_lines(Service::DataSource, "/ingest/click", ndjson(&clicks())).await.ok();
    assert_eq!(answer["rejected_count"], json!(0), "{answer}");
    fleet.all_at_rest(SOON).await;
    sqlx::query("analyze").execute(fleet.pool()).await.expect("statistics");
}

#[tokio::test]
async fn every_query_of_the_documentation_answers_as_it_says() {
    // GIVEN a warehouse with something of everything
    let fleet = launch(&[]).await;
    assert_eq!(reference().users.len(), 15);
    fill(&fleet).await;
    let document = std::fs::read_to_string(PATH).expect("the document");
    let writing = std::env::var_os("STRATA_WRITE_SAMPLES").is_some();
    let queries = queries(&document);
    assert!(queries.len() >= 15, "{}", queries.len());
    let mut written = document.clone();
    let mut asked_of_clicks = false;
    for query in &queries {
        // WHEN a query of the document is asked
        let (columns, rows) = ask(fleet.pool(), query).await;
        // THEN it has an answer
        assert!(!rows.is_empty(), "{} finds nothing", query.title);
        if let Some(story) = rows.iter().find(|row| row.first().is_some_and(|url| url == STORY)) {
            // 51 hours and 3 seconds, of two people
            assert_eq!(story[1..], ["Côte d'Ivoire", "2", "2", "91801", "25:30:01"]);
            asked_of_clicks = true;
        }
        if writing {
            // Topics by their usual names.
            let topic = fleet.stg_topic();
            let mark = topic.strip_prefix("stg_topic").unwrap_or_default();
            let usual = |row: Vec<String>| row.into_iter().map(|cell| cell.replace(mark, "")).collect();
            let answer = table(&columns, &rows.into_iter().map(usual).collect::<Vec<Vec<String>>>());
            let old = query.sample.map_or(String::new(), |sample| format!("\n\n```text\n{sample}\n```"));
            let new = format!("{}\n```\n\n```text\n{answer}\n```", query.sql);
            written = written.replacen(&format!("{}\n```{old}", query.sql), &new, 1);
            continue;
        }
        // AND its columns are those of the sample
        let sample = query.sample.unwrap_or_else(|| panic!("{} has no sample", query.title));
        let names: Vec<&str> = sample.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(columns, names, "{}", query.title);
        assert!(sample.lines().count() > 1, "{} has an empty sample", query.title);
    }
    assert!(asked_of_clicks, "no query of clicks");
    if writing {
        std::fs::write(PATH, written).expect("the document is written");
    }
}
