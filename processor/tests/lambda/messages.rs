//! Events of a queue and of a topic, made of what an `emit` of the same process published.

use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::runtime_api::Function;
use serde_json::{Value, json};

use crate::deployment::{Deployment, HASTY, failures, invoke};

const COMPANIES: &str = r#"
[source.companies]
table = "Company"

[source.company-events]
queue = "https://sqs.eu-west-1.amazonaws.com/000000000000/company-events"

[source.company-events-fifo]
queue = "https://sqs.eu-west-1.amazonaws.com/000000000000/company-events.fifo"

[source.company-topic]
topic = "arn:aws:sns:eu-west-1:000000000000:company-changed"

[projection.company-changed]
kind = "emit"
from = "companies"
topic = "arn:aws:sns:eu-west-1:000000000000:company-changed"
include = ["name"]

[projection.names]
kind = "replica"
from = "company-events"
table = "Names"
key = { companyId = "{companyId}" }
set = { name = "{name}" }

[projection.names-fifo]
kind = "replica"
from = "company-events-fifo"
table = "NamesFifo"
key = { companyId = "{companyId}" }
set = { name = "{name}" }

[projection.names-topic]
kind = "replica"
from = "company-topic"
table = "NamesTopic"
key = { companyId = "{companyId}" }
set = { name = "{name}" }
"#;

const TABLES: [&str; 3] = ["Names", "NamesFifo", "NamesTopic"];

/// A deployment whose function has published one event of each of four companies.
async fn published() -> (Deployment, Function, Vec<Value>) {
    let deployment = Deployment::new(&format!("{HASTY}{COMPANIES}")).await;
    deployment.source("Company", "companyId").await;
    for table in TABLES {
        deployment.table(table, "companyId").await;
    }
    let topic = deployment.topics.create("company-changed");
    for n in 1..=4 {
        let company = json!({ "companyId": format!("c{n}"), "name": format!("Mill {n}"), "staff": n });
        deployment.db.put("Company", company).await;
    }
    let function = deployment.start().await;
    let (event, _) = deployment.event("Company").await;
    assert_eq!(invoke(&function, &event).await, Ok(json!({ "batchItemFailures": [] })));
    let notifications = deployment.topics.published(&topic).into_iter().map(|message| {
        json!({
            "Type": "Notification", "MessageId": message.message_id, "TopicArn": topic,
            "Message": message.message, "Timestamp": "2026-01-01T00:00:00.000Z", "SignatureVersion": "1",
        })
    });
    let mut notifications: Vec<Value> = notifications.collect();
    notifications.sort_by_key(company);
    (deployment, function, notifications)
}

/// The company that a notification is about.
fn company(notification: &Value) -> String {
    let event: Value = serde_json::from_str(notification["Message"].as_str().expect("a text")).expect("JSON");
    event["data"]["keys"]["companyId"]["S"].as_str().expect("a text").to_owned()
}

/// The event of a queue that is subscribed to the topic; messages are named like their companies.
fn queue_event(queue: &str, notifications: &[Value], group: impl Fn(&str) -> Value) -> Value {
    let record = |notification: &Value| {
        let company = company(notification);
        json!({
            "messageId": format!("message-{company}"), "receiptHandle": "r", "body": notification.to_string(),
            "attributes": { "ApproximateReceiveCount": "1", "MessageGroupId": group(&company) },
            "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:eu-west-1:000000000000:{queue}"), "awsRegion": "eu-west-1",
        })
    };
    json!({ "Records": notifications.iter().map(record).collect::<Vec<_>>() })
}

fn topic_event(notifications: &[Value]) -> Value {
    let record = |notification: &Value| {
        json!({
            "EventSource": "aws:sns", "EventVersion": "1.0", "Sns": notification,
            "EventSubscriptionArn": "arn:aws:sns:eu-west-1:000000000000:company-changed:1",
        })
    };
    json!({ "Records": notifications.iter().map(record).collect::<Vec<_>>() })
}

fn no_group(_company: &str) -> Value {
    Value::Null
}

async fn names(deployment: &Deployment, table: &str) -> Vec<Value> {
    deployment.rows(table).await.into_iter().map(|row| row["name"].clone()).collect()
}

fn break_company(deployment: &Deployment, table: &str, company: &str) {
    let broken = Rule::any(Fault::Throttle).table(table).containing(&format!("\"{company}\""));
    deployment.db.faults().add(broken);
}

#[tokio::test]
async fn messages_of_a_queue_become_rows_and_only_the_unfinished_one_comes_again() {
    let (deployment, function, notifications) = published().await;
    let event = queue_event("company-events", &notifications, no_group);
    break_company(&deployment, "Names", "c2");
    let answer = invoke(&function, &event).await.expect("an answer");
    assert_eq!(failures(&answer), ["message-c2"]);
    assert_eq!(names(&deployment, "Names").await, ["Mill 1", "Mill 3", "Mill 4"]);
    let lag = ["millstream_lag_seconds", "\"source\":\"company-events\"", "\"shard\":\"-\""];
    function.line(move |line| lag.iter().all(|part| line.text.contains(part))).await;

    deployment.db.faults().clear();
    let again = queue_event("company-events", &notifications[1..2], no_group);
    assert_eq!(invoke(&function, &again).await, Ok(json!({ "batchItemFailures": [] })));
    assert_eq!(names(&deployment, "Names").await, ["Mill 1", "Mill 2", "Mill 3", "Mill 4"]);
    assert!(deployment.letters().await.is_empty());
}

#[tokio::test]
async fn of_a_fifo_group_everything_after_the_first_unfinished_message_comes_again() {
    let (deployment, function, notifications) = published().await;
    let group = |company: &str| json!(if company == "c3" { "other" } else { "one" });
    let event = queue_event("company-events.fifo", &notifications, group);
    break_company(&deployment, "NamesFifo", "c2");
    let answer = invoke(&function, &event).await.expect("an answer");
    assert_eq!(failures(&answer), ["message-c2", "message-c4"]);

    deployment.db.faults().clear();
    let rest = [notifications[1].clone(), notifications[3].clone()];
    let again = queue_event("company-events.fifo", &rest, group);
    assert_eq!(invoke(&function, &again).await, Ok(json!({ "batchItemFailures": [] })));
    assert_eq!(names(&deployment, "NamesFifo").await, ["Mill 1", "Mill 2", "Mill 3", "Mill 4"]);
}

#[tokio::test]
async fn a_notification_that_is_unfinished_fails_its_invocation() {
    let (deployment, function, notifications) = published().await;
    deployment.db.faults().add(Rule::any(Fault::AccessDenied).table("NamesTopic"));
    let event = topic_event(&notifications[..1]);
    let error = invoke(&function, &event).await.expect_err("a topic can only be told of a whole failure");
    assert!(error.message.contains("NamesTopic") && error.message.contains("unfinished"), "{error:?}");
    assert!(deployment.letters().await.is_empty(), "a wrong deployment makes no letters");

    deployment.db.faults().clear();
    invoke(&function, &event).await.expect("an answer");
    assert_eq!(names(&deployment, "NamesTopic").await, ["Mill 1"]);
}

#[tokio::test]
async fn a_notification_that_cannot_be_written_now_becomes_a_letter_since_a_topic_soon_forgets_it() {
    let (deployment, function, notifications) = published().await;
    break_company(&deployment, "NamesTopic", "c1");
    invoke(&function, &topic_event(&notifications[..1])).await.expect("an answer");
    let letters = deployment.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].head.projection.as_deref(), Some("names-topic"));
}
