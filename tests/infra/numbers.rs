//! The numbers that dashboards, rules and alarms ask for: each has to be one that is told, by the labels that it has.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::function;
use crate::told::told;
use crate::workbench::{members, resources, text, yaml};

const DASHBOARD: &str = "infra/dashboard.yaml";
const ALARMS: &str = "infra/alarms.yaml";
const RULES: [&str; 2] = ["infra/prometheus/rules.yaml", "infra/prometheus/tests.yaml"];
const GRAFANA: &str = "infra/grafana/millstream.json";

/// What services of AWS tell of what the template has, as their guides name it.
const OF_AWS: [(&str, &[&str]); 2] = [
    (
        "AWS/Lambda",
        &["DestinationDeliveryFailures", "Duration", "Errors", "Invocations", "IteratorAge", "Throttles"],
    ),
    ("AWS/SQS", &["ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"]),
];
/// The words of PromQL that stand before a list of labels.
const LISTS: [&str; 2] = ["by (", "label_values("];

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|token| !token.is_empty())
}

/// What a text asks for that nobody tells.
fn unknown(asked: &str) -> BTreeSet<String> {
    let told = told();
    let mut unknown = BTreeSet::new();
    for name in tokens(asked).filter(|token| token.starts_with("millstream_")) {
        let ends = ["_bucket", "_sum", "_count"].iter().filter_map(|end| name.strip_suffix(end));
        let is_histogram = ends.into_iter().any(|name| told.histograms.contains(name));
        let is_bare = told.numbers.contains_key(name) && !told.histograms.contains(name);
        if !is_bare && !is_histogram {
            unknown.insert(name.to_owned());
        }
    }
    unknown
}

/// The labels that an expression of PromQL names and none of its numbers has.
fn strange_labels(expression: &str) -> BTreeSet<String> {
    let numbers = &told().numbers;
    let mut known: BTreeSet<&str> = BTreeSet::from(["le"]);
    for name in tokens(expression).filter(|token| token.starts_with("millstream_")) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        for name in [Some(name), base].into_iter().flatten() {
            known.extend(numbers.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    let mut named: Vec<&str> = Vec::new();
    for list in LISTS {
        for (_, rest) in expression.match_indices(list).map(|(at, _)| expression.split_at(at + list.len())) {
            named.extend(tokens(rest.split(')').next().unwrap_or_default()));
        }
    }
    for selector in expression.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        let matchers = selector.split(',').filter_map(|matcher| matcher.split(['=', '!']).next());
        named.extend(matchers.map(str::trim).filter(|label| !label.is_empty()));
    }
    let strange =
        named.into_iter().filter(|label| !known.contains(label) && !label.starts_with("millstream_"));
    strange.map(str::to_owned).collect()
}

/// Every expression of the rules and of the Grafana dashboard.
pub(crate) fn expressions() -> Vec<String> {
    let mut found = Vec::new();
    let mut seek = |document: &Value| {
        let mut open = vec![document];
        while let Some(value) = open.pop() {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
                    open.extend(members.values());
                }
                Value::Array(elements) => open.extend(elements),
                _ => {}
            }
        }
    };
    seek(&yaml(RULES[0]));
    seek(&serde_json::from_str(&text(GRAFANA)).expect("JSON"));
    found
}

/// The widgets of the CloudWatch dashboard, with CloudFormation's variables as they stand there.
pub(crate) fn widgets() -> Vec<Value> {
    let template = yaml(DASHBOARD);
    let body = &template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"];
    let body: Value = serde_json::from_str(body.as_str().expect("a text")).expect("the dashboard is JSON");
    body["widgets"].as_array().expect("widgets").clone()
}

#[test]
fn every_number_that_is_asked_for_is_told() {
    for file in RULES.into_iter().chain([GRAFANA]) {
        assert_eq!(unknown(&text(file)), BTreeSet::new(), "{file}");
    }
    for expression in expressions() {
        assert_eq!(strange_labels(&expression), BTreeSet::new(), "{expression}");
    }
}

#[test]
fn a_wrong_number_is_named() {
    let shipped = RULES.into_iter().chain([GRAFANA]).map(text);
    for faulty in shipped.map(|text| text.replace("millstream_lag_seconds", "millstream_lag_second")) {
        assert_eq!(unknown(&faulty), BTreeSet::from(["millstream_lag_second".to_owned()]));
    }
    for (asked, named) in [
        ("rate(millstream_leters_total[5m])", "millstream_leters_total"),
        ("millstream_apply_seconds", "millstream_apply_seconds"),
        ("millstream_lag_seconds_bucket", "millstream_lag_seconds_bucket"),
    ] {
        assert_eq!(unknown(asked), BTreeSet::from([named.to_owned()]));
    }
    for (asked, named) in [
        ("sum by (projecton) (millstream_letters_total)", "projecton"),
        ("millstream_changes_total{result=\"unfinished\"}", "result"),
        ("max by (fault) (millstream_lag_seconds)", "fault"),
    ] {
        assert_eq!(strange_labels(asked), BTreeSet::from([named.to_owned()]));
    }
}

/// What the filters and alarms of a template watch that nobody tells.
fn unwatchable(template: &Value) -> Vec<String> {
    let (mut made, mut found) = (BTreeSet::new(), Vec::new());
    for (name, filter) in resources(template, "AWS::Logs::MetricFilter") {
        let pattern = filter["Properties"]["FilterPattern"].as_str().expect("a pattern");
        let told: Vec<&str> = tokens(pattern).filter(|token| token.starts_with("millstream_")).collect();
        let [told] = told[..] else { panic!("{name} filters by one number: {pattern}") };
        match function::told().get(told) {
            None => found.push(format!("{name}: no function tells {told}")),
            Some(labels) => {
                let fields = pattern.split("$.").skip(1).filter_map(|rest| tokens(rest).next());
                let strange = fields.filter(|field| *field != told && !labels.contains(*field));
                found.extend(strange.map(|field| format!("{name}: {told} has no label {field}")));
            }
        }
        let made_of = &filter["Properties"]["MetricTransformations"][0];
        if made_of["MetricValue"] != format!("$.{told}") {
            found.push(format!("{name}: it counts {}", made_of["MetricValue"]));
        }
        made.insert((made_of["MetricNamespace"].to_string(), made_of["MetricName"].to_string()));
    }
    for (name, alarm) in resources(template, "AWS::CloudWatch::Alarm") {
        let (namespace, metric) = (&alarm["Properties"]["Namespace"], &alarm["Properties"]["MetricName"]);
        let is_known = match namespace.as_str() {
            Some(namespace) => is_of_aws(namespace, metric),
            None => made.contains(&(namespace.to_string(), metric.to_string())),
        };
        if !is_known {
            found.push(format!("{name}: nobody tells {metric}"));
        }
    }
    found
}

#[test]
fn alarms_watch_numbers_that_there_are() {
    let template = yaml(ALARMS);
    assert_eq!(unwatchable(&template), [""; 0]);
    for (from, to, named) in [
        (
            "$.millstream_letters_total",
            "$.millstream_letter_total",
            "no function tells millstream_letter_total",
        ),
        ("$.outcome", "$.result", "millstream_changes_total has no label result"),
        (
            "\"MetricName\":\"Unfinished\",\"Namespace\"",
            "\"MetricName\":\"Undone\",\"Namespace\"",
            "nobody tells \"Undone\"",
        ),
        ("\"IteratorAge\"", "\"IteratorAges\"", "StreamLag: nobody tells \"IteratorAges\""),
    ] {
        let shipped = template.to_string();
        let faulty = shipped.replace(from, to);
        assert_ne!(faulty, shipped, "{ALARMS} has no {from}");
        let found = unwatchable(&serde_json::from_str(&faulty).expect("JSON"));
        assert!(!found.is_empty() && found[0].contains(named), "{from}: {found:?}");
    }
}

fn is_of_aws(namespace: &str, name: &Value) -> bool {
    OF_AWS.iter().any(|(of, names)| *of == namespace && names.iter().any(|known| name == known))
}

/// Why CloudWatch finds nothing for a search: it finds a number by all of its dimensions, or not at all.
fn unfound(search: &str) -> Option<String> {
    let (schema, rest) = search.split_once('}').expect("a schema");
    let schema = schema.split_once("{Millstream,").expect("the namespace of the functions").1;
    let name = tokens(rest).find(|token| token.starts_with("millstream_")).expect("a name");
    let Some(dimensions) = function::told().get(name) else {
        return Some(format!("no function tells {name}"));
    };
    let asked: BTreeSet<String> = schema.split(',').map(str::to_owned).collect();
    (asked != *dimensions).then(|| format!("{name} has {dimensions:?}, not {asked:?}"))
}

#[test]
fn the_dashboard_of_cloudwatch_asks_for_numbers_by_all_of_their_dimensions() {
    let mut searched = Vec::new();
    for widget in widgets() {
        for metric in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            let Some(search) = metric[0]["expression"].as_str() else {
                let namespace = metric[0].as_str().expect("a namespace");
                assert!(is_of_aws(namespace, &metric[1]), "{metric}");
                continue;
            };
            searched.push(search.to_owned());
            assert_eq!(unfound(search), None);
        }
    }
    assert!(searched.len() >= 5, "numbers of our own are shown");
    for (from, to) in [("millstream_letters_total", "millstream_letter_total"), ("fault,", "")] {
        let faulty = searched.iter().find(|it| it.contains(from)).expect("there is one").replace(from, to);
        assert!(unfound(&faulty).is_some(), "{faulty}");
    }
}

#[test]
fn the_dashboard_of_cloudwatch_shows_every_alarm() {
    let template = yaml(ALARMS);
    let all = resources(&template, "AWS::CloudWatch::Alarm");
    // To show one that is not there would look like a fault.
    let (optional, always): (Vec<_>, Vec<_>) =
        all.iter().partition(|(_, alarm)| !alarm["Condition"].is_null());
    let [("StreamQuiet", _)] = optional[..] else { panic!("the page names one: {optional:?}") };
    let alarms: BTreeSet<String> = always.iter().map(|(name, _)| (*name).to_owned()).collect();
    for (name, alarm) in resources(&template, "AWS::CloudWatch::Alarm") {
        assert_eq!(alarm["Properties"]["AlarmName"]["Fn::Sub"], format!("${{Stage}}-millstream-{name}"));
    }
    let widgets = widgets();
    let shown = widgets.iter().find(|widget| widget["type"] == "alarm").expect("a widget of alarms");
    let shown = shown["properties"]["alarms"].as_array().expect("ARNs");
    let shown = shown.iter().filter_map(|arn| arn.as_str()?.rsplit("${Stage}-millstream-").next());
    assert_eq!(shown.map(str::to_owned).collect::<BTreeSet<_>>(), alarms);
    let rows: Vec<_> = widgets.iter().map(|widget| (widget["x"].as_u64(), widget["y"].as_u64())).collect();
    assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len(), "no widget lies on another");
    assert!(members(&yaml(DASHBOARD)["Parameters"]).count() > 0);
}
