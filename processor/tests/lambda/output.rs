//! What the process prints: JSON logs, metrics in CloudWatch's embedded format, and no value of any item.

use millstream_test_support::runtime_api::Function;
use serde_json::{Value, json};

use crate::deployment::{Deployment, HASTY, invoke};

/// Stands in every attribute that is no key.
const SECRET: &str = "s3cr3t-value";

const POISONABLE: &str = r#"
[source.orders]
table = "Orders"

[projection.accounting]
kind = "replica"
from = "orders"
table = "Accounting"
key = { orderId = "{orderId}" }
set = { total = "{total}", note = "{note?}" }

[projection.large]
kind = "replica"
from = "orders"
where = "new.total > 100"
table = "Large"
key = { orderId = "{orderId}" }

[projection.versioned]
kind = "replica"
from = "orders"
version = "revision"
table = "Versioned"
key = { orderId = "{orderId}" }

[projection.labelled]
kind = "replica"
from = "orders"
table = "Labelled"
key = { orderId = "{orderId}" }
set = { label = "note {note}" }
"#;

async fn deployment() -> Deployment {
    let deployment = Deployment::new(&format!("{HASTY}{POISONABLE}")).await;
    deployment.source("Orders", "orderId").await;
    for table in ["Accounting", "Large", "Versioned", "Labelled"] {
        deployment.table(table, "orderId").await;
    }
    deployment
}

/// Every line as the JSON it has to be.
fn lines(function: &Function) -> Vec<Value> {
    let lines = function.lines();
    assert!(lines.iter().all(|line| !line.is_error), "nothing goes to standard error: {lines:?}");
    let parse = |text: &str| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    lines.iter().map(|line| parse(&line.text)).collect()
}

/// The value of one metric of one series, as CloudWatch would read it.
fn metric(lines: &[Value], name: &str, dimensions: &Value) -> Option<Value> {
    let fits = |line: &&Value| {
        let declared = line["_aws"]["CloudWatchMetrics"][0].clone();
        let metrics = declared["Metrics"].as_array().cloned().unwrap_or_default();
        let dimensions = dimensions.as_object().expect("an object");
        declared["Namespace"] == "Millstream"
            && metrics.iter().any(|metric| metric["Name"] == name)
            && dimensions.iter().all(|(name, value)| line[name] == *value)
            && declared["Dimensions"][0].as_array().is_some_and(|all| all.contains(&json!("FunctionName")))
    };
    lines.iter().find(fits).map(|line| line[name].clone())
}

#[tokio::test]
async fn logs_are_json_and_metrics_are_embedded() {
    let deployment = deployment().await;
    let good = |id: &str| json!({ "orderId": id, "total": 7, "revision": 1, "note": "n" });
    deployment.db.put("Orders", good("o1")).await;
    deployment.db.put("Orders", good("o2")).await;
    deployment.db.put("Orders", json!({ "orderId": "poison", "revision": 1, "total": 8 })).await;
    let function = deployment.start().await;
    let (event, _) = deployment.event("Orders").await;
    invoke(&function, &event).await.expect("an answer");
    function.line(|line| line.text.contains("millstream_lag_seconds")).await;
    let lines = lines(&function);

    let batch = lines.iter().find(|line| line["message"] == "batch done").expect("a line for the batch");
    assert_eq!(
        (&batch["level"], &batch["source"], &batch["changes"]),
        (&json!("INFO"), &json!("orders"), &json!(3))
    );
    let stored =
        lines.iter().find(|line| line["message"] == "dead letter stored").expect("a line for the letter");
    let letters = deployment.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(stored["letter"], letters[0].head.id.as_str());
    assert_eq!((&stored["projection"], &stored["fault"]), (&json!("labelled"), &json!("rejected")));

    let changes = |projection: &str, outcome: &str| {
        let series = json!({ "source": "orders", "projection": projection, "outcome": outcome });
        metric(&lines, "millstream_changes_total", &series)
    };
    assert_eq!((changes("accounting", "done"), changes("accounting", "lettered")), (Some(json!(3)), None));
    assert_eq!(
        (changes("labelled", "done"), changes("labelled", "lettered")),
        (Some(json!(2)), Some(json!(1)))
    );
    let written = json!({ "table": "Accounting", "kind": "put" });
    assert_eq!(metric(&lines, "millstream_writes_total", &written), Some(json!(3)));
    let letters = json!({ "FunctionName": "millstream", "projection": "labelled", "fault": "rejected" });
    assert_eq!(metric(&lines, "millstream_letters_total", &letters), Some(json!(1)));
    assert!(metric(&lines, "millstream_apply_seconds", &json!({ "source": "orders" })).is_some());
    let series = json!({ "source": "orders", "shard": "-" });
    assert!(metric(&lines, "millstream_lag_seconds", &series).is_some(), "Lambda tells no shard");
}

#[tokio::test]
async fn no_value_of_an_item_is_ever_printed() {
    let deployment = deployment().await;
    let secret = |id: &str, extra: Value| {
        let mut item =
            json!({ "orderId": id, "total": SECRET, "revision": [SECRET], "note": { "inner": SECRET } });
        item.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        item
    };
    deployment.db.put("Orders", secret("o1", json!({}))).await;
    deployment.db.put("Orders", secret("o2", json!({ "total": [SECRET], "note": 5 }))).await;
    deployment.db.put("Orders", secret("o3", json!({ "total": { "inner": SECRET } }))).await;
    let function = deployment.start().await;
    let (mut event, _) = deployment.event("Orders").await;
    let answer = invoke(&function, &event).await;
    assert_eq!(answer, Ok(json!({ "batchItemFailures": [] })));

    // Records that are damaged in all ways a parser could quote.
    let records = event["Records"].as_array_mut().expect("records");
    records[0]["dynamodb"]["NewImage"]["total"] = json!(SECRET);
    records[1]["dynamodb"]["NewImage"] = json!(SECRET);
    records[2]["dynamodb"]["NewImage"]["note"] = json!({ "N": [SECRET] });
    let answer = invoke(&function, &event).await;
    assert_eq!(answer, Ok(json!({ "batchItemFailures": [] })));
    assert!(deployment.letters().await.len() >= 6, "the faults were met");

    let event = json!({ "Records": SECRET, "detail": SECRET });
    let error = invoke(&function, &event).await.expect_err("no known event");
    assert!(!error.message.contains(SECRET), "{error:?}");
    for line in function.lines() {
        assert!(!line.text.contains(SECRET), "{}", line.text);
    }
}
