//! What is shipped in `deploy/`, held against docs/metrics.md. What the alerts do, promtool tests
//! (scripts/test-deploy).

use std::collections::BTreeSet;

use crate::metrics::documented;
use crate::pages::text;

/// The names of ours in a text.
fn named(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("payoutd_"));
    let base = |word: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    words.map(base).collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_numbers_that_exist() {
    let documented: BTreeSet<_> = documented().into_keys().collect();
    for path in ["deploy/grafana/payoutd.json", "deploy/prometheus/alerts.yml"] {
        let named = named(&text(path));
        assert!(named.len() > 5, "{path} asks for {named:?}");
        let unknown: Vec<_> = named.difference(&documented).collect();
        assert!(unknown.is_empty(), "{path} asks for {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_each_ask_something() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&text("deploy/grafana/payoutd.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        assert!(
            panel["targets"][0]["expr"].as_str().is_some_and(|expr| !expr.is_empty()),
            "{panel}"
        );
    }
    assert!(ids.len() > 8, "{ids:?}");
}

#[test]
fn every_alert_says_what_to_do_and_is_tested() {
    let (rules, tests) =
        (text("deploy/prometheus/alerts.yml"), text("deploy/prometheus/alerts_test.yml"));
    let alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 13, "{alerts:?}");
    for alert in &alerts {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no test");
    }
    let count = |key: &str| rules.matches(key).count();
    for key in ["severity:", "summary:", "description:"] {
        assert_eq!(count(key), alerts.len(), "each alert has its {key}");
    }
}
