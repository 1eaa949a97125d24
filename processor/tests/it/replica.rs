//! `replica`: rows equal to a pure function of the source, whatever is delivered and in which order.

use aws_sdk_dynamodbstreams::types::StreamViewType;
use serde_json::json;

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
set = { total = "{total}", customer = "{customer.name}", note = "{note?}" }
"#;

const MOVING: &str = r#"
[source.users]
table = "Users"

[projection.by-email]
kind = "replica"
from = "users"
table = "ByEmail"
key = { email = "{email}" }
set = { userId = "{userId}" }
"#;

async fn orders() -> World {
    let world = World::new(ORDERS).await;
    world.source("Orders", "orderId").await;
    world.table("Accounting", "orderId").await;
    world
}

async fn moving() -> World {
    let world = World::new(MOVING).await;
    world.source("Users", "userId").await;
    world.table("ByEmail", "email").await;
    world
}

fn order(status: &str, total: u64) -> serde_json::Value {
    json!({ "orderId": "o1", "status": status, "total": total, "customer": { "name": "Ada" } })
}

fn row(total: u64) -> serde_json::Value {
    json!({ "orderId": "o1", "total": total, "customer": "Ada" })
}

#[tokio::test]
async fn an_insert_makes_a_row_with_its_guard() {
    let world = orders().await;
    world.db.put("Orders", order("PAID", 5)).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await, [row(5)]);
    let stored = world.db.get("Accounting", json!({ "orderId": "o1" })).await.expect("the row");
    let guard = stored["ms:accounting"].as_str().expect("the guard");
    let (digest, version) = guard.split_once('/').expect("digest and version");
    assert_eq!(digest.len(), 22);
    assert_eq!(version.rsplit_once('/').expect("label and sequence").1.len(), 40);
}

#[tokio::test]
async fn a_row_that_stops_matching_goes_and_comes_back() {
    let world = orders().await;
    world.db.put("Orders", order("DRAFT", 1)).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await, [] as [serde_json::Value; 0]);
    for (status, rows) in [("PAID", 1), ("DRAFT", 0), ("PAID", 1)] {
        world.db.put("Orders", order(status, 2)).await;
        world.deliver_all("Orders").await;
        assert_eq!(world.rows("Accounting").await.len(), rows, "after {status}");
    }
}

#[tokio::test]
async fn a_removed_row_is_not_brought_back_by_an_older_change() {
    let world = orders().await;
    world.db.put("Orders", order("PAID", 1)).await;
    world.db.put("Orders", order("PAID", 2)).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    let records = world.db.read_stream("Orders").await;
    world.deliver("Orders", &records).await;
    for stale in [&records[..1], &records[1..2], &records[..2], &records[..]] {
        world.deliver("Orders", stale).await;
        assert_eq!(world.rows("Accounting").await.len(), 0);
    }
}

#[tokio::test]
async fn the_removal_alone_keeps_older_changes_out() {
    let world = orders().await;
    world.db.put("Orders", order("PAID", 1)).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    let records = world.db.read_stream("Orders").await;
    world.deliver("Orders", &records[1..]).await;
    world.deliver("Orders", &records[..1]).await;
    assert_eq!(world.rows("Accounting").await.len(), 0);
}

#[tokio::test]
async fn a_recreated_item_gets_its_row_again_and_keeps_it() {
    let world = orders().await;
    world.db.put("Orders", order("PAID", 1)).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    world.db.put("Orders", order("PAID", 3)).await;
    let records = world.db.read_stream("Orders").await;
    world.deliver("Orders", &records).await;
    assert_eq!(world.rows("Accounting").await, [row(3)]);
    // The removal comes once more, after what it must not remove.
    world.deliver("Orders", &records[1..2]).await;
    assert_eq!(world.rows("Accounting").await, [row(3)]);
}

#[tokio::test]
async fn a_time_to_live_removal_is_a_removal() {
    let world = orders().await;
    world.db.enable_ttl("Orders", "expires").await;
    let mut item = order("PAID", 1);
    item["expires"] = json!(1);
    world.db.put("Orders", item).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await.len(), 1);
    assert_eq!(world.db.sweep_ttl().await, 1);
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await.len(), 0);
}

#[tokio::test]
async fn an_optional_attribute_leaves_the_row_when_it_leaves_the_item() {
    let world = orders().await;
    let mut with_note = order("PAID", 1);
    with_note["note"] = json!("by the back door");
    world.db.put("Orders", with_note).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await[0]["note"], "by the back door");
    world.db.put("Orders", order("PAID", 2)).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await, [row(2)]);
}

#[tokio::test]
async fn a_key_that_changes_moves_the_row() {
    let world = moving().await;
    for email in ["a@x", "b@x", "a@x", "c@x"] {
        world.db.put("Users", json!({ "userId": "u1", "email": email })).await;
    }
    let records = world.db.read_stream("Users").await;
    world.deliver("Users", &records).await;
    assert_eq!(world.rows("ByEmail").await, [json!({ "email": "c@x", "userId": "u1" })]);
    for record in &records {
        world.deliver("Users", std::slice::from_ref(record)).await;
        assert_eq!(world.rows("ByEmail").await, [json!({ "email": "c@x", "userId": "u1" })]);
    }
}

#[tokio::test]
async fn a_row_that_another_item_took_over_stays_when_its_first_owner_goes() {
    let world = moving().await;
    world.db.put("Users", json!({ "userId": "u1", "email": "a@x" })).await;
    world.deliver_all("Users").await;
    world.db.put("Users", json!({ "userId": "u1", "email": "b@x" })).await;
    world.db.put("Users", json!({ "userId": "u2", "email": "a@x" })).await;
    let records = world.db.read_stream("Users").await;
    // The new owner is heard of first, as it may be from another shard.
    world.deliver("Users", &records[2..3]).await;
    world.deliver("Users", &records[1..2]).await;
    let expected = [json!({ "email": "a@x", "userId": "u2" }), json!({ "email": "b@x", "userId": "u1" })];
    assert_eq!(world.rows("ByEmail").await, expected);
    // The first owner's old change must not take the row back.
    world.deliver("Users", &records[..1]).await;
    assert_eq!(world.rows("ByEmail").await, expected);
}

#[tokio::test]
async fn changes_of_a_stream_that_was_switched_off_and_on_are_later() {
    let world = orders().await;
    world.db.put("Orders", order("PAID", 1)).await;
    let old_arn = world.db.stream_arn("Orders").await;
    let before = world.db.read_stream("Orders").await;
    world.deliver("Orders", &before).await;
    world.db.disable_stream("Orders").await;
    world.db.advance(std::time::Duration::from_secs(60));
    world.db.enable_stream("Orders", StreamViewType::NewAndOldImages).await;
    assert_ne!(world.db.stream_arn("Orders").await, old_arn);
    world.db.put("Orders", order("PAID", 2)).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await, [row(2)]);
    let stale = millstream_test_support::lambda_event::event(&old_arn, &before);
    world.invoke(stale).await.expect("a late change of the old stream is stale");
    assert_eq!(world.rows("Accounting").await, [row(2)]);
}

#[tokio::test]
async fn a_row_without_a_guard_is_adopted() {
    let world = orders().await;
    world.db.put("Accounting", json!({ "orderId": "o1", "total": 99, "left": "over" })).await;
    world.db.put("Orders", order("PAID", 1)).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await, [row(1)]);
}

#[tokio::test]
async fn ten_changes_of_one_item_in_a_batch_cost_one_write() {
    let world = orders().await;
    for total in 1..=10 {
        world.db.put("Orders", order("PAID", total)).await;
    }
    world.db.clear_requests();
    world.deliver_all("Orders").await;
    let operations: Vec<_> = world.db.requests().iter().map(|request| request.operation.clone()).collect();
    assert_eq!(operations, ["TransactWriteItems"], "the first of the ten tells that there is no row yet");
    assert_eq!(world.rows("Accounting").await, [row(10)]);
}

#[tokio::test]
async fn an_update_of_a_row_that_is_there_costs_one_request() {
    let world = orders().await;
    world.db.put("Orders", order("PAID", 1)).await;
    world.deliver_all("Orders").await;
    world.db.put("Orders", order("PAID", 2)).await;
    let records = world.db.read_stream("Orders").await;
    world.db.clear_requests();
    world.deliver("Orders", &records[1..]).await;
    assert_eq!(world.db.requests().len(), 1);
}

#[tokio::test]
async fn inline_tombstones_keep_a_marker_and_cost_no_transaction() {
    let toml = ORDERS.to_owned() + "tombstones = \"inline\"\n";
    let world = World::new(&toml).await;
    world.source("Orders", "orderId").await;
    world.table("Accounting", "orderId").await;
    world.db.put("Orders", order("PAID", 1)).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    let records = world.db.read_stream("Orders").await;
    for batch in [&records[..], &records[..1]] {
        world.deliver("Orders", batch).await;
        let marker = world.db.get("Accounting", json!({ "orderId": "o1" })).await.expect("the marker");
        assert_eq!(marker["ms:removed"], true);
        assert!(marker.get("total").is_none());
    }
    world.db.put("Orders", order("PAID", 4)).await;
    world.deliver_all("Orders").await;
    let back = world.db.get("Accounting", json!({ "orderId": "o1" })).await.expect("the row");
    assert_eq!((back.get("ms:removed"), &back["total"]), (None, &json!(4)));
    assert!(world.db.requests().iter().all(|request| request.operation != "TransactWriteItems"));
}

#[tokio::test]
async fn keep_leaves_the_rows_of_removed_items() {
    let toml = ORDERS.to_owned() + "on_delete = \"keep\"\n";
    let world = World::new(&toml).await;
    world.source("Orders", "orderId").await;
    world.table("Accounting", "orderId").await;
    world.db.put("Orders", order("PAID", 1)).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    let records = world.db.read_stream("Orders").await;
    world.deliver("Orders", &records[..1]).await;
    world.deliver("Orders", &records).await;
    assert_eq!(world.rows("Accounting").await, [row(1)]);
}

#[tokio::test]
async fn a_declared_version_orders_changes_and_their_removal() {
    let toml = ORDERS.to_owned() + "version = \"revision\"\n";
    let world = World::new(&toml).await;
    world.source("Orders", "orderId").await;
    world.table("Accounting", "orderId").await;
    for (revision, total) in [(9, 1), (10, 2), (7, 3)] {
        let mut item = order("PAID", total);
        item["revision"] = json!(revision);
        world.db.put("Orders", item).await;
        world.deliver_all("Orders").await;
    }
    // Revision 7 came last but is older than 10.
    assert_eq!(world.rows("Accounting").await, [row(2)]);
    let mut last = order("PAID", 4);
    last["revision"] = json!(11);
    world.db.put("Orders", last).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await.len(), 0);
    world.deliver_all("Orders").await;
    assert_eq!(world.rows("Accounting").await.len(), 0);
}
