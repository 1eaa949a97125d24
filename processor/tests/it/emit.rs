//! `emit`: events for other services, in the order of their keys, read again on the other side of a queue.

use millstream_test_support::faults::{Fault, Rule};
use serde_json::{Value, json};

use crate::world::{World, sequence};

const COMPANIES: &str = r#"
[source.companies]
table = "Company"

[source.company-events]
queue = "https://sqs.eu-west-1.amazonaws.com/000000000000/company-events"

[projection.company-changed]
kind = "emit"
from = "companies"
changed = ["name"]
where = "new.status != 'secret'"
topic = "arn:aws:sns:eu-west-1:000000000000:company-changed"
include = ["name"]

[projection.names]
kind = "replica"
from = "company-events"
table = "Names"
key = { companyId = "{companyId}" }
set = { name = "{name}" }
"#;

async fn companies() -> (World, String) {
    companies_on(COMPANIES, "company-changed").await
}

async fn companies_on(toml: &str, topic: &str) -> (World, String) {
    let world = World::new(toml).await;
    world.source("Company", "companyId").await;
    world.table("Names", "companyId").await;
    let topic = world.topics.create(topic);
    (world, topic)
}

async fn put(world: &World, id: &str, name: &str, status: &str) {
    world.db.put("Company", json!({ "companyId": id, "name": name, "status": status, "staff": 3 })).await;
}

fn fail_entry(containing: &str) -> Fault {
    Fault::FailEntries { containing: containing.to_owned(), code: "InternalError", sender_fault: false }
}

fn events(world: &World, topic: &str) -> Vec<Value> {
    let published = world.topics.published(topic);
    published.iter().map(|message| serde_json::from_str(&message.message).expect("JSON")).collect()
}

#[tokio::test]
async fn an_event_is_a_cloud_event_with_key_version_and_included_attributes() {
    let (world, topic) = companies().await;
    put(&world, "c1", "Mill", "open").await;
    world.deliver_all("Company").await;
    let event = &events(&world, &topic)[0];
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "company-changed.insert");
    assert_eq!(event["source"], "/millstream/companies");
    assert_eq!(event["data"]["keys"], json!({ "companyId": { "S": "c1" } }));
    assert_eq!(event["data"]["new"], json!({ "name": { "S": "Mill" } }));
    assert!(event["time"].as_str().expect("a time").ends_with('Z'));
    let id = event["id"].as_str().expect("an id");
    assert!(id.ends_with(event["msversion"].as_str().expect("a version")), "{id}");
}

#[tokio::test]
async fn only_watched_attributes_make_an_event_and_leaving_the_selection_is_a_removal() {
    let (world, topic) = companies().await;
    put(&world, "c1", "Mill", "open").await;
    world.db.put("Company", json!({ "companyId": "c1", "name": "Mill", "status": "open", "staff": 4 })).await;
    put(&world, "c1", "Mill", "secret").await;
    put(&world, "c1", "Mill 2", "secret").await;
    put(&world, "c1", "Mill 2", "open").await;
    world.db.delete("Company", json!({ "companyId": "c1" })).await;
    world.deliver_all("Company").await;
    let kinds: Vec<_> = events(&world, &topic).iter().map(|event| event["data"]["kind"].clone()).collect();
    assert_eq!(kinds, ["INSERT", "REMOVE", "INSERT", "REMOVE"]);
}

#[tokio::test]
async fn the_same_change_makes_the_same_event_however_often_it_comes() {
    let (world, topic) = companies().await;
    put(&world, "c1", "Mill", "open").await;
    world.deliver_all("Company").await;
    world.deliver_all("Company").await;
    let published = world.topics.published(&topic);
    assert_eq!(published.len(), 2);
    assert_eq!(published[0].message, published[1].message);
}

#[tokio::test]
async fn a_subscriber_keeps_what_it_needs_whatever_the_queue_does() {
    let (world, topic) = companies().await;
    for round in 0..4 {
        put(&world, "c1", &format!("One {round}"), "open").await;
        put(&world, "c2", &format!("Two {round}"), "open").await;
    }
    world.db.delete("Company", json!({ "companyId": "c2" })).await;
    world.deliver_all("Company").await;
    let mut event = world.queue_event(&topic, "company-events");
    let records = event["Records"].as_array_mut().expect("records");
    // A standard queue: out of order, and some of it twice.
    records.reverse();
    let twice = records[2..5].to_vec();
    records.extend(twice);
    let response = world.invoke(event).await.expect("an answer");
    assert_eq!(response, json!({ "batchItemFailures": [] }));
    assert_eq!(world.rows("Names").await, [json!({ "companyId": "c1", "name": "One 3" })]);
}

#[tokio::test]
async fn raw_delivery_and_direct_notifications_are_understood_too() {
    let (world, topic) = companies().await;
    put(&world, "c1", "Mill", "open").await;
    world.deliver_all("Company").await;
    let message = world.topics.published(&topic)[0].message.clone();
    let raw = json!({ "Records": [{
        "messageId": "m1", "body": message, "attributes": {}, "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:company-events",
    }] });
    world.invoke(raw).await.expect("raw delivery");
    assert_eq!(world.rows("Names").await.len(), 1);

    let toml = COMPANIES.replace(
        "queue = \"https://sqs.eu-west-1.amazonaws.com/000000000000/company-events\"",
        "topic = \"arn:aws:sns:eu-west-1:000000000000:company-changed\"",
    );
    let (direct, _) = companies_on(&toml, "company-changed").await;
    let notification = json!({ "Records": [{
        "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": format!("{topic}:1"),
        "Sns": { "Type": "Notification", "MessageId": "m1", "TopicArn": topic, "Message": message,
                 "Timestamp": "2026-01-01T00:00:00.000Z", "MessageAttributes": {} },
    }] });
    direct.invoke(notification).await.expect("a notification");
    assert_eq!(direct.rows("Names").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_fails_under_http_200_is_tried_again_before_its_successor() {
    let (world, topic) = companies().await;
    for round in 0..3 {
        put(&world, "c1", &format!("One {round}"), "open").await;
        put(&world, "c2", &format!("Two {round}"), "open").await;
    }
    let failure = fail_entry("One 0");
    world.topics.faults().add(Rule::on("PublishBatch", failure).first(2));
    world.deliver_all("Company").await;
    let names = |prefix: &str| -> Vec<String> {
        let events = events(&world, &topic);
        let names = events.iter().filter_map(|event| event["data"]["new"]["name"]["S"].as_str());
        names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    };
    assert_eq!(names("One"), ["One 0", "One 1", "One 2"]);
    assert_eq!(names("Two"), ["Two 0", "Two 1", "Two 2"]);
}

#[tokio::test(start_paused = true)]
async fn one_key_that_cannot_be_published_holds_back_its_own_later_events_only() {
    let (world, topic) = companies().await;
    for round in 0..2 {
        put(&world, "c1", &format!("One {round}"), "open").await;
        put(&world, "c2", &format!("Two {round}"), "open").await;
    }
    world.topics.faults().add(Rule::on("PublishBatch", fail_entry("One 0")));
    let records = world.db.read_stream("Company").await;
    let lowest = world.report("Company", &records).await;
    assert_eq!(lowest.as_deref(), Some(sequence(&records[0])));
    let published = events(&world, &topic);
    assert_eq!(published.len(), 2, "only the other key: {published:?}");
}

#[tokio::test]
async fn a_fifo_topic_gets_group_and_deduplication_id() {
    let toml = COMPANIES.replace(":company-changed\"", ":company-changed.fifo\"");
    let (world, topic) = companies_on(&toml, "company-changed.fifo").await;
    put(&world, "c1", "Mill", "open").await;
    put(&world, "c1", "Mill 2", "open").await;
    world.deliver_all("Company").await;
    let published = world.topics.published(&topic);
    assert_eq!(published[0].group, published[1].group);
    assert!(published[0].group.is_some());
    assert_ne!(published[0].deduplication_id, published[1].deduplication_id);
}

#[tokio::test]
async fn an_event_that_outgrows_a_message_becomes_a_letter_and_the_shard_goes_on() {
    let (world, topic) = companies().await;
    put(&world, "c1", &"x".repeat(300_000), "open").await;
    put(&world, "c2", "small", "open").await;
    world.deliver_all("Company").await;
    assert_eq!(events(&world, &topic).len(), 1);
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].head.attempts[0].causes[0].contains("262144"), "{:?}", letters[0].head.attempts);
}

#[tokio::test]
async fn a_missing_topic_leaves_the_batch_unfinished_and_names_it() {
    let (world, _) = companies().await;
    put(&world, "c1", "Mill", "open").await;
    world.topics.faults().add(Rule::on("PublishBatch", Fault::TableMissing));
    let records = world.db.read_stream("Company").await;
    let arn = world.db.stream_arn("Company").await;
    let event = millstream_test_support::lambda_event::event(&arn, &records);
    let error = world.invoke(event).await.expect_err("nothing could be done").to_string();
    assert!(error.contains("PublishBatch") && error.contains("company-changed"), "{error}");
    assert!(world.letters().await.is_empty());
}

#[tokio::test]
async fn events_are_packed_ten_to_a_request_and_one_of_a_key() {
    let (world, _) = companies().await;
    for number in 0..25 {
        put(&world, &format!("c{number}"), "Mill", "open").await;
    }
    world.deliver_all("Company").await;
    assert_eq!(world.topics.faults().count("PublishBatch"), 3);
}
