//! Records that can never be projected: they become letters with their raw body, and everything else goes on.

use bytes::Bytes;
use millstream_test_support::lambda_event;
use serde_json::{Value, json};

use crate::world::World;

const ORDERS: &str = r#"
[source.orders]
table = "Orders"

[projection.accounting]
kind = "replica"
from = "orders"
where = "new.status != 'DRAFT'"
table = "Accounting"
key = { orderId = "{orderId}" }
set = { total = "{total}" }
"#;

async fn orders() -> World {
    let world = World::new(ORDERS).await;
    world.source("Orders", "orderId").await;
    world.table("Accounting", "orderId").await;
    world
}

async fn put(world: &World, id: &str, total: Option<u64>) {
    let mut item = json!({ "orderId": id, "status": "PAID" });
    if let Some(total) = total {
        item["total"] = json!(total);
    }
    world.db.put("Orders", item).await;
}

#[tokio::test]
async fn a_poison_record_between_good_ones_of_other_keys_and_of_its_own() {
    let world = orders().await;
    put(&world, "o1", Some(1)).await;
    put(&world, "o2", Some(2)).await;
    put(&world, "o1", None).await;
    put(&world, "o3", None).await;
    put(&world, "o2", Some(3)).await;
    put(&world, "o1", Some(4)).await;
    world.deliver_all("Orders").await;
    let expected = [json!({ "orderId": "o1", "total": 4 }), json!({ "orderId": "o2", "total": 3 })];
    assert_eq!(world.rows("Accounting").await, expected);
    let letters = world.letters().await;
    assert_eq!(letters.len(), 2);
    let keys: Vec<_> = letters.iter().map(|letter| letter.head.key.clone().expect("a key")).collect();
    assert!(keys.iter().any(|key| format!("{key:?}").contains("o3")), "{keys:?}");
    let causes = letters[0].head.attempts[0].causes.join(": ");
    assert!(causes.contains("`total`") && causes.contains("{total?}"), "says what would be right: {causes}");
}

#[tokio::test]
async fn when_the_newest_change_is_refused_the_one_before_it_is_written() {
    let twice = "set = { total = \"{total}\", a = \"{a?}\", b = \"{a?}\" }";
    let world = World::new(&ORDERS.replace("set = { total = \"{total}\" }", twice)).await;
    world.source("Orders", "orderId").await;
    world.table("Accounting", "orderId").await;
    put(&world, "o1", Some(1)).await;
    // Twice 399 KB is more than an item may hold.
    let huge = "x".repeat(399_000);
    world.db.put("Orders", json!({ "orderId": "o1", "status": "PAID", "total": 2, "a": huge })).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await, [json!({ "orderId": "o1", "total": 1 })]);
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert!(String::from_utf8_lossy(&letters[0].record).contains(&huge), "the whole record is in the letter");
}

#[tokio::test]
async fn the_same_poison_twice_is_one_letter_with_two_attempts() {
    let world = orders().await;
    put(&world, "o1", None).await;
    world.deliver_all("Orders").await;
    world.deliver_all("Orders").await;
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].head.attempts.len(), 2);
}

#[tokio::test]
async fn a_letter_holds_the_record_as_it_came() {
    let world = orders().await;
    put(&world, "o1", None).await;
    let records = world.db.read_stream("Orders").await;
    world.deliver("Orders", &records).await;
    let arn = world.db.stream_arn("Orders").await;
    let came = lambda_event::record(&arn, &records[0]);
    let letter = &world.letters().await[0];
    assert_eq!(serde_json::from_slice::<Value>(&letter.record).expect("JSON"), came);
    assert_eq!(letter.head.config, world.config.hash);
    assert_eq!(letter.head.source, "orders");
    assert_eq!(letter.head.projection.as_deref(), Some("accounting"));
}

#[tokio::test]
async fn a_condition_on_a_missing_attribute_is_a_letter_that_says_how_to_test_for_it() {
    let world = orders().await;
    world.db.put("Orders", json!({ "orderId": "o1", "total": 1 })).await;
    world.deliver_all("Orders").await;
    let letters = world.letters().await;
    let cause = &letters[0].head.attempts[0].causes[0];
    assert!(cause.contains("status") && cause.contains("has()"), "{cause}");
}

#[tokio::test]
async fn an_undecodable_record_becomes_a_letter_and_its_neighbours_are_written() {
    let world = orders().await;
    put(&world, "o1", Some(1)).await;
    put(&world, "o2", Some(2)).await;
    put(&world, "o3", Some(3)).await;
    let records = world.db.read_stream("Orders").await;
    let arn = world.db.stream_arn("Orders").await;
    let mut event = lambda_event::event(&arn, &records);
    event["Records"][1]["eventName"] = json!("EXPLODE");
    let response = world.invoke(event).await.expect("an answer");
    assert_eq!(response, json!({ "batchItemFailures": [] }));
    assert_eq!(world.rows("Accounting").await.len(), 2);
    let letters = world.letters().await;
    assert_eq!((letters.len(), &letters[0].head.projection), (1, &None));
    assert!(letters[0].head.attempts[0].causes[0].contains("EXPLODE"), "{:?}", letters[0].head);
}

#[tokio::test]
async fn an_image_that_is_no_item_becomes_a_letter() {
    let world = orders().await;
    put(&world, "o1", Some(1)).await;
    put(&world, "o2", Some(2)).await;
    let arn = world.db.stream_arn("Orders").await;
    let mut event = lambda_event::event(&arn, &world.db.read_stream("Orders").await);
    event["Records"][0]["dynamodb"]["NewImage"]["total"] = json!({ "N": 5 });
    world.invoke(event).await.expect("an answer");
    assert_eq!(world.rows("Accounting").await.len(), 1);
    assert_eq!(world.letters().await.len(), 1);
}

#[tokio::test]
async fn an_undecodable_record_without_a_sequence_number_fails_the_batch() {
    let world = orders().await;
    put(&world, "o1", Some(1)).await;
    let arn = world.db.stream_arn("Orders").await;
    let mut event = lambda_event::event(&arn, &world.db.read_stream("Orders").await);
    event["Records"][0]["dynamodb"].as_object_mut().expect("an object").remove("SequenceNumber");
    let error = world.invoke(event).await.expect_err("nobody could name the record").to_string();
    assert!(error.contains("SequenceNumber"), "{error}");
}

#[tokio::test]
async fn an_unknown_event_fails_and_says_which_are_known() {
    let world = orders().await;
    for event in [json!({ "hello": 1 }), json!({ "Records": [{ "eventSource": "aws:kinesis" }] }), json!([])]
    {
        let error = world.invoke(event).await.expect_err("no known event").to_string();
        for known in ["aws:dynamodb", "aws:sqs", "aws:sns"] {
            assert!(error.contains(known), "{error}");
        }
    }
    let deadline = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let error = world.host().handle(Bytes::from_static(b"{nonsense"), deadline).await.expect_err("no JSON");
    assert!(!error.to_string().is_empty());
}

#[tokio::test]
async fn an_event_of_a_table_that_is_no_source_names_the_table_and_the_sources() {
    let world = orders().await;
    world.source("Strangers", "id").await;
    world.db.put("Strangers", json!({ "id": "1" })).await;
    let arn = world.db.stream_arn("Strangers").await;
    let records = world.db.read_stream("Strangers").await;
    let error = world.invoke(lambda_event::event(&arn, &records)).await.expect_err("no source").to_string();
    assert!(error.contains("Strangers") && error.contains("orders"), "{error}");
}
