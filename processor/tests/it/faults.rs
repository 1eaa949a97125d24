//! Every kind of fault on the wire, and the verdict it gets: retried, unfinished, or a letter; never lost.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::lambda_event;
use serde_json::json;

use crate::world::{World, sequence};

const ORDERS: &str = r#"
[source.orders]
table = "Orders"

[projection.accounting]
kind = "replica"
from = "orders"
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

async fn three(world: &World) {
    for (id, total) in [("o1", 1), ("o2", 2), ("o3", 3)] {
        world.db.put("Orders", json!({ "orderId": id, "total": total })).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_until_it_has_passed() {
    let faults = [
        Fault::Throttle,
        Fault::Throttling,
        Fault::InternalError,
        Fault::Unavailable,
        Fault::TransactionConflict,
        Fault::Cancelled("ThrottlingError"),
        Fault::Cancelled("ProvisionedThroughputExceeded"),
        Fault::Reset,
        Fault::Timeout,
        Fault::LoseReply,
    ];
    for fault in faults {
        let world = orders().await;
        three(&world).await;
        let name = format!("{fault:?}");
        world.db.faults().add(Rule::on("TransactWriteItems", fault).first(4));
        world.deliver_all("Orders").await;
        assert_eq!(world.rows("Accounting").await.len(), 3, "{name}");
        assert!(world.letters().await.is_empty(), "{name}");
        assert!(world.db.requests().len() >= 7, "{name} was met");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_is_unfinished_and_holds_back_nothing_else() {
    let world = orders().await;
    three(&world).await;
    world.db.faults().add(Rule::on("TransactWriteItems", Fault::Throttle).containing("\"o2\""));
    let records = world.db.read_stream("Orders").await;
    let lowest = world.report("Orders", &records).await;
    assert_eq!(lowest.as_deref(), Some(sequence(&records[1])));
    assert_eq!(world.rows("Accounting").await.len(), 2, "the others are written");
    assert!(world.letters().await.is_empty());
    // The mapping delivers again from there on.
    world.db.faults().clear();
    world.deliver("Orders", &records[1..]).await;
    assert_eq!(world.rows("Accounting").await.len(), 3);
}

#[tokio::test]
async fn a_wrong_deployment_fails_loudly_and_never_fills_the_letters() {
    for (fault, names) in [(Fault::AccessDenied, "AccessDenied"), (Fault::TableMissing, "ResourceNotFound")] {
        let world = orders().await;
        three(&world).await;
        world.db.faults().add(Rule::any(fault).table("Accounting"));
        let records = world.db.read_stream("Orders").await;
        let arn = world.db.stream_arn("Orders").await;
        let error =
            world.invoke(lambda_event::event(&arn, &records)).await.expect_err("nothing done").to_string();
        assert!(error.contains("Accounting") && error.contains(names), "{error}");
        assert!(error.contains("TransactWriteItems"), "the call is named: {error}");
        assert!(world.letters().await.is_empty());
    }
}

#[tokio::test]
async fn a_table_that_was_never_made_is_named() {
    let world = World::new(ORDERS).await;
    world.source("Orders", "orderId").await;
    three(&world).await;
    let records = world.db.read_stream("Orders").await;
    let arn = world.db.stream_arn("Orders").await;
    let error =
        world.invoke(lambda_event::event(&arn, &records)).await.expect_err("nothing done").to_string();
    assert!(error.contains("Accounting"), "{error}");
}

#[tokio::test]
async fn a_key_that_the_table_does_not_have_is_the_configs_fault() {
    let world = World::new(ORDERS).await;
    world.source("Orders", "orderId").await;
    world.table("Accounting", "id").await;
    three(&world).await;
    let records = world.db.read_stream("Orders").await;
    let arn = world.db.stream_arn("Orders").await;
    let error =
        world.invoke(lambda_event::event(&arn, &records)).await.expect_err("nothing done").to_string();
    assert!(error.contains("has the key (id)") && error.contains("orderId"), "{error}");
    assert!(world.letters().await.is_empty());
}

#[tokio::test]
async fn a_record_that_dynamodb_refuses_becomes_a_letter() {
    let world = orders().await;
    three(&world).await;
    world.db.faults().add(Rule::any(Fault::Validation).table("Accounting").containing("\"o2\""));
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await.len(), 2);
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].head.attempts[0].fault, "rejected");
}

#[tokio::test(start_paused = true)]
async fn a_transient_fault_becomes_a_letter_when_the_stream_is_about_to_forget_the_record() {
    let world = orders().await;
    three(&world).await;
    let records = world.db.read_stream("Orders").await;
    world.db.faults().add(Rule::any(Fault::Throttle).table("Accounting"));
    assert!(world.report("Orders", &records).await.is_some());
    let now = world.db.now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    world.clock.set(now + 21 * 3600);
    world.deliver("Orders", &records).await;
    let letters = world.letters().await;
    assert_eq!(letters.len(), 3);
    assert_eq!(letters[0].head.attempts[0].fault, "throttled");
}

#[tokio::test(start_paused = true)]
async fn a_letter_store_that_is_down_leaves_the_change_unfinished() {
    let world = orders().await;
    world.db.put("Orders", json!({ "orderId": "o1", "total": 1 })).await;
    world.db.put("Orders", json!({ "orderId": "o2" })).await;
    let records = world.db.read_stream("Orders").await;
    let letters = world.config.state.letters_table();
    for fault in [Fault::Unavailable, Fault::Throttle, Fault::AccessDenied] {
        let rule = world.db.faults().add(Rule::any(fault).table(&letters));
        assert_eq!(world.report("Orders", &records).await.as_deref(), Some(sequence(&records[1])));
        world.db.faults().remove(rule);
    }
    world.deliver("Orders", &records).await;
    assert_eq!(world.letters().await.len(), 1);
}

#[tokio::test]
async fn near_the_deadline_nothing_starts_and_what_is_left_is_unfinished() {
    let world = orders().await;
    three(&world).await;
    let records = world.db.read_stream("Orders").await;
    let arn = world.db.stream_arn("Orders").await;
    let event = Bytes::from(lambda_event::event(&arn, &records).to_string());
    // One second is left, and the margin is two.
    let deadline = SystemTime::now() + Duration::from_secs(1);
    let response = world.host().handle(event, deadline).await.expect("an answer");
    assert_eq!(response.batch_item_failures[0].item_identifier, sequence(&records[0]));
    assert!(world.db.requests().is_empty());
    assert!(world.letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_is_given_up_before_the_deadline() {
    let world = orders().await;
    three(&world).await;
    let hang = Fault::Delay(Duration::from_secs(3600));
    world.db.faults().add(Rule::on("TransactWriteItems", hang).containing("\"o3\""));
    let records = world.db.read_stream("Orders").await;
    let lowest = world.report("Orders", &records).await;
    assert_eq!(lowest.as_deref(), Some(sequence(&records[2])));
    assert_eq!(world.rows("Accounting").await.len(), 2);
}
