//! Dashboard and alerts ask for what the services show.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::metrics::documented_names;

const ALERTS: &str = include_str!("../../observability/prometheus/alerts.yml");
const ALERT_TESTS: &str = include_str!("../../observability/prometheus/alerts_test.yml");
const DASHBOARD: &str = include_str!("../../observability/grafana/dashboards/strata.json");
const DOC: &str = include_str!("../../docs/METRICS.md");

/// The words of a text that are metrics of the fleet.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = ["strata_", "data_source_", "process_"];
    words.filter(|word| ours.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned).collect()
}

/// The metric that a series belongs to.
fn family(series: &str) -> &str {
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| series.strip_suffix(suffix));
    of_histogram.unwrap_or(series)
}

fn assert_documented(what: &str, used: &BTreeSet<String>) {
    let documented = documented_names();
    assert!(used.len() > 4, "{what}: {used:?}");
    for series in used {
        assert!(documented.contains(family(series)), "{what} asks for {series}, which docs/METRICS.md lacks");
    }
}

#[test]
fn alerts_ask_for_documented_metrics_and_are_documented_themselves() {
    assert_documented("alerts.yml", &metrics_in(ALERTS));
    assert_documented("alerts_test.yml", &metrics_in(ALERT_TESTS));
    let alerts: Vec<&str> = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 4, "{alerts:?}");
    for alert in alerts {
        assert!(DOC.contains(&format!("| `{alert}` |")), "docs/METRICS.md lacks {alert}");
    }
}

#[test]
fn every_panel_of_the_dashboard_asks_for_documented_metrics() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let expressions: Vec<&str> = panels
        .iter()
        .filter(|panel| panel["type"] != "row")
        .flat_map(|panel| {
            let targets = panel["targets"].as_array().unwrap_or_else(|| panic!("{panel} has no targets"));
            targets.iter().map(|target| target["expr"].as_str().expect("an expression"))
        })
        .collect();
    for expression in &expressions {
        assert!(!metrics_in(expression).is_empty(), "{expression} asks for nothing of the fleet");
    }
    assert_documented("the dashboard", &metrics_in(&expressions.join("\n")));
}
