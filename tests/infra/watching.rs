//! Prometheus' rules under promtool, and Grafana's dashboard under Grafana's own types.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use millstream_test_support::tools;
use serde_json::{Value, json};

use crate::numbers::expressions;
use crate::workbench::{ask, elements, folder, path, said, text, write, yaml};

fn promtool() -> Command {
    Command::new(tools::prometheus().join("promtool"))
}

/// Grafana fills these in.
const VARIABLES: [(&str, &str); 2] = [("$__rate_interval", "1m"), ("$source", ".*")];

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    said(promtool().args(["check", "rules"]).arg(path("infra/prometheus/rules.yaml")));
    said(promtool().args(["test", "rules"]).arg(path("infra/prometheus/tests.yaml")));
}

#[test]
fn every_rule_is_tested_both_ways() {
    let tests = yaml("infra/prometheus/tests.yaml");
    let (mut quiet, mut fires) = (BTreeSet::new(), BTreeSet::new());
    for test in elements(&tests["tests"]) {
        for asked in elements(&test["alert_rule_test"]) {
            let name = asked["alertname"].as_str().expect("a name").to_owned();
            match elements(&asked["exp_alerts"]).is_empty() {
                true => quiet.insert(name),
                false => fires.insert(name),
            };
        }
    }
    let rules: BTreeSet<String> = rules().into_iter().collect();
    assert_eq!((&quiet, &fires), (&rules, &rules));
}

/// The names of all alerts.
pub(crate) fn rules() -> Vec<String> {
    let rules = yaml("infra/prometheus/rules.yaml");
    let groups = elements(&rules["groups"]);
    let rules = groups.iter().flat_map(|group| elements(&group["rules"]));
    rules.map(|rule| rule["alert"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn promtool_names_a_rule_that_does_not_fire() {
    let folder = folder();
    let rules = text("infra/prometheus/rules.yaml");
    let faulty = rules.replace("outcome=\"unfinished\"", "outcome=\"unfinnished\"");
    assert_ne!(rules, faulty);
    write(&folder.path().join("rules.yaml"), &faulty);
    fs::copy(path("infra/prometheus/tests.yaml"), folder.path().join("tests.yaml")).expect("a copy");
    let verdict = ask(promtool().args(["test", "rules"]).arg(folder.path().join("tests.yaml")));
    assert!(!verdict.is_content && verdict.complained.contains("MillstreamUnfinished"), "{verdict:?}");
}

/// promtool reads rules only: every expression of the dashboard is made one.
#[test]
fn promtool_accepts_every_expression_of_the_dashboard() {
    let rule = |(place, expression): (usize, String)| {
        let mut expression = expression;
        for (variable, value) in VARIABLES {
            expression = expression.replace(variable, value);
        }
        json!({ "record": format!("expression:{place}"), "expr": expression })
    };
    let rules: Vec<Value> = expressions().into_iter().enumerate().map(rule).collect();
    assert!(rules.len() > 15, "{rules:?}");
    let folder = folder();
    let file = folder.path().join("rules.yaml");
    // JSON is YAML.
    write(&file, &json!({ "groups": [{ "name": "all", "rules": rules }] }).to_string());
    said(promtool().args(["check", "rules"]).arg(&file));
    write(
        &file,
        &json!({ "groups": [{ "name": "all", "rules": [{ "record": "a:b", "expr": "sum by (a" }] }] })
            .to_string(),
    );
    assert!(!ask(promtool().args(["check", "rules"]).arg(&file)).is_content);
}

/// What Grafana's types do not know in a dashboard.
fn unknown_to_grafana(dashboard: &str) -> String {
    let folder = folder();
    let file = folder.path().join("dashboard.json");
    write(&file, dashboard);
    let script = path("tests/infra/dashboard.py");
    said(Command::new(tools::linters().join("python")).arg(script).arg(&file)).trim().to_owned()
}

#[test]
fn grafana_knows_all_that_the_dashboard_says() {
    let dashboard = text("infra/grafana/millstream.json");
    assert_eq!(unknown_to_grafana(&dashboard), "");
    let faulty = dashboard.replacen("\"fieldConfig\"", "\"fieldsConfig\"", 1);
    assert_eq!(unknown_to_grafana(&faulty), "/panels/0/fieldsConfig");

    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = elements(&dashboard["panels"]);
    let unique =
        |pick: &dyn Fn(&Value) -> String| panels.iter().map(|panel| pick(panel)).collect::<BTreeSet<_>>();
    assert_eq!(unique(&|panel| panel["id"].to_string()).len(), panels.len());
    let place = |panel: &Value| format!("{} {}", panel["gridPos"]["x"], panel["gridPos"]["y"]);
    assert_eq!(unique(&place).len(), panels.len(), "no panel lies on another");
    for panel in panels {
        assert!(panel["description"].as_str().is_some_and(|it| !it.is_empty()), "{}", panel["title"]);
    }
}
