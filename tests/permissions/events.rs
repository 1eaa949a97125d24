//! Events of other services: functions that a queue or a topic invokes, and queues that pollers read.

use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use futures_util::future::join_all;
use millstream_processor::permissions::Role;
use millstream_test_support::faults::{Fault, Rule};
use serde_json::{Value, json};

use crate::flows::{CHANGES, Flow, other_owners_rows};
use crate::operator::OPERATOR;
use crate::world::Stage;
use crate::{check, config, kind};

const MAIL: &str = "https://sqs.eu-west-1.amazonaws.com/000000000000/mail";

/// What happens to the events of a queue or a topic, whoever takes them from there.
const EVENTS: &[Flow] = &[
    ("an event comes, another, and a removal", |stage| Box::pin(events(stage))),
    ("the table refuses what an event asks for", |stage| Box::pin(refused(stage))),
];
const QUEUE_MAPPING: &[Flow] = &[("Lambda polls the queue", |stage| Box::pin(polls(stage)))];
const POLLED: &[Flow] = &[("an event cannot be done, and comes again", |stage| Box::pin(comes_again(stage)))];

async fn events(stage: &mut Stage) {
    other_owners_rows(stage).await;
    let (whole, part) = (whole(), json!({ "id": { "S": "a" }, "slot": { "S": "a" } }));
    // What lacks a number is poison.
    let changes = [
        ("INSERT", Value::Null, &whole),
        ("MODIFY", whole.clone(), &part),
        ("MODIFY", part.clone(), &whole),
        ("REMOVE", whole.clone(), &Value::Null),
    ];
    for (number, (kind, old, new)) in changes.into_iter().enumerate() {
        bring(stage, number, kind, [&old, new]).await;
    }
}

async fn refused(stage: &mut Stage) {
    other_owners_rows(stage).await;
    for operation in ["PutItem", "UpdateItem", "TransactWriteItems"] {
        stage.world.db.faults().add(Rule::on(operation, Fault::Validation).table("Rows0"));
    }
    bring(stage, 0, "INSERT", [&Value::Null, &whole()]).await;
}

async fn comes_again(stage: &mut Stage) {
    other_owners_rows(stage).await;
    for operation in ["PutItem", "UpdateItem", "TransactWriteItems"] {
        stage.world.db.faults().add(Rule::on(operation, Fault::TableMissing).table("Rows0").first(1));
    }
    bring(stage, 0, "INSERT", [&Value::Null, &whole()]).await;
}

fn whole() -> Value {
    json!({ "id": { "S": "a" }, "slot": { "S": "a" }, "n": { "N": "1" } })
}

/// An event as `emit` writes it, of the queue or the topic that is the config's only source.
async fn bring(stage: &Stage, number: usize, kind: &str, [old, new]: [&Value; 2]) {
    let version = format!("2025-06-15T15:06:40.000/{:040}", 100 + number);
    let subject = "0".repeat(22);
    let event = json!({
        "specversion": "1.0", "id": format!("e/{subject}/{version}"), "source": "/millstream/things",
        "type": format!("e.{}", kind.to_lowercase()), "subject": subject,
        "datacontenttype": "application/json", "msversion": version,
        "data": { "kind": kind, "expired": false, "keys": { "id": { "S": "a" } }, "new": new, "old": old },
    });
    let body = event.to_string();
    if stage.role == Role::Poller {
        stage.world.queues.send(MAIL, &body, None);
        return stage.work(stage.world.queues.emptied(MAIL)).await;
    }
    let source = stage.world.config.sources[0].kind.resource();
    let invocation = match source.starts_with("arn:") {
        false => of_a_queue(number, &body),
        true => of_a_topic(source, number, &body),
    };
    assert!(stage.invoke(invocation).await || !stage.authority.denied().is_empty(), "{event}");
}

fn of_a_queue(number: usize, body: &str) -> Value {
    json!({ "Records": [{
        "messageId": format!("m{number}"), "receiptHandle": "r", "body": body,
        "attributes": {}, "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:mail", "awsRegion": "eu-west-1",
    }] })
}

fn of_a_topic(arn: &str, number: usize, body: &str) -> Value {
    json!({ "Records": [{
        "EventVersion": "1.0", "EventSource": "aws:sns", "EventSubscriptionArn": format!("{arn}:s"),
        "Sns": {
            "Type": "Notification", "MessageId": format!("m{number}"), "TopicArn": arn,
            "Subject": null, "Message": body, "Timestamp": "2025-06-15T15:06:40.000Z",
            "SignatureVersion": "1", "Signature": "", "SigningCertUrl": "", "UnsubscribeUrl": "",
            "MessageAttributes": {},
        },
    }] })
}

/// What Lambda itself does with the role of a function that reads a queue.
async fn polls(stage: &mut Stage) {
    let sqs = stage.aws().sqs();
    stage.world.queues.send(MAIL, "{}", None);
    drop(sqs.get_queue_attributes().queue_url(MAIL).attribute_names("All".into()).send().await);
    let Ok(received) = sqs.receive_message().queue_url(MAIL).send().await else { return };
    for message in received.messages() {
        let entry = DeleteMessageBatchRequestEntry::builder().id("0");
        let entry = entry.set_receipt_handle(message.receipt_handle.clone()).build().unwrap();
        drop(sqs.delete_message_batch().queue_url(MAIL).entries(entry).send().await);
    }
}

fn events_config(source: &str, projection: &str) -> String {
    config(&[projection]).replace("table = 'Things'", source)
}

/// What projections of events need: rights on the rows alone, on an index, and on the ledger.
const FOLLOWERS: [&str; 3] = ["a copy", "a copy by an index whose rows go", "a replica that keeps its rows"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_a_queue_invokes() {
    for name in FOLLOWERS {
        let toml = events_config(&format!("queue = '{MAIL}'"), kind(name));
        check(name, &toml, Role::QueueFunction, &[], &[EVENTS, QUEUE_MAPPING]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_a_topic_invokes() {
    let toml = events_config("topic = 'arn:aws:sns:eu-west-1:000000000000:mail'", kind("a copy"));
    check("a copy", &toml, Role::QueueFunction, &[], &[EVENTS]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poller_of_a_queue_alone() {
    // Most of the time they wait.
    join_all(FOLLOWERS.map(|name| async move {
        let toml = events_config(&format!("queue = '{MAIL}'"), kind(name));
        check(name, &toml, Role::Poller, &[], &[EVENTS, POLLED]).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_beside_a_queue() {
    let name = "a replica that keeps its rows";
    let toml = config(&[kind(name)]) + &format!("[source.mail]\nqueue = '{MAIL}'\n");
    check(name, &toml, Role::Operator, &[], &[CHANGES, OPERATOR]).await;
}
