//! `aggregate`: totals that cannot drift, and what each batch costs.

use aws_sdk_dynamodbstreams::types::Record;
use millstream_test_support::faults::{Fault, Logged, Rule};
use serde_json::{Value, json};

use crate::world::World;

const ORDERS: &str = r#"
[source.orders]
table = "Orders"

[projection.by-customer]
kind = "aggregate"
from = "orders"
table = "Customers"
group = { customer = "{customer}" }
count = "orders"
sum = { revenue = "{total?}" }
on_empty = "delete"
"#;

async fn orders() -> World {
    let world = World::new(ORDERS).await;
    world.source("Orders", "orderId").await;
    world.table("Customers", "customer").await;
    world
}

async fn put(world: &World, id: &str, customer: &str, total: i64) {
    world.db.put("Orders", json!({ "orderId": id, "customer": customer, "total": total })).await;
}

fn row(customer: &str, orders: u64, revenue: i64) -> Value {
    json!({ "customer": customer, "orders": orders, "revenue": revenue })
}

async fn customers(world: &World) -> Vec<Value> {
    world.rows("Customers").await
}

fn transactions(requests: &[Logged]) -> usize {
    requests.iter().filter(|request| request.operation == "TransactWriteItems").count()
}

/// The revenue of customer `a`, digit by digit.
async fn revenue(world: &World) -> String {
    let row = world.db.get_typed("Customers", json!({ "customer": { "S": "a" } })).await.expect("a row");
    row["revenue"]["N"].as_str().expect("a number").to_owned()
}

async fn records(world: &World) -> Vec<Record> {
    world.db.read_stream("Orders").await
}

#[tokio::test]
async fn a_batch_needs_as_many_transactions_as_its_items_fill() {
    let world = orders().await;
    for change in 0..1_000 {
        put(&world, &format!("o{}", change % 200), &format!("c{}", change % 10), change).await;
    }
    world.db.clear_requests();
    world.deliver_all("Orders").await;
    let requests = world.db.requests();
    // 200 items and 10 totals rows: 100 actions a transaction hold 90 to 99 items.
    assert_eq!((transactions(&requests), requests.len()), (3, 3));
    let revenue = |customer: i64| (0..20).map(|nth| 800 + customer + 10 * nth).sum();
    let expected: Vec<Value> = (0..10).map(|nth| row(&format!("c{nth}"), 20, revenue(nth))).collect();
    assert_eq!(customers(&world).await, expected);
    // The next changes of all items are guessed right.
    for change in 0..200 {
        put(&world, &format!("o{change}"), &format!("c{}", change % 10), 1).await;
    }
    world.db.clear_requests();
    world.deliver("Orders", &records(&world).await[1_000..]).await;
    assert_eq!(world.db.requests().len(), 3);
    // All of it again costs one look at each transaction.
    world.db.clear_requests();
    world.deliver_all("Orders").await;
    assert_eq!(world.db.requests().len(), 3);
    assert_eq!(customers(&world).await[3], row("c3", 20, 20));
}

#[tokio::test]
async fn a_move_there_and_back_within_a_batch_leaves_the_totals_alone() {
    let world = orders().await;
    put(&world, "o1", "a", 5).await;
    world.deliver_all("Orders").await;
    put(&world, "o1", "b", 6).await;
    put(&world, "o1", "a", 5).await;
    world.db.clear_requests();
    world.deliver("Orders", &records(&world).await[1..]).await;
    let requests = world.db.requests();
    assert_eq!(requests.len(), 1);
    let actions = requests[0].body["TransactItems"].as_array().expect("actions");
    assert_eq!(actions.len(), 1, "only the ledger learns the version: {actions:?}");
    assert_eq!(customers(&world).await, [row("a", 1, 5)]);
}

#[tokio::test]
async fn a_missed_change_is_healed_by_the_next_one() {
    let world = orders().await;
    for (customer, total) in [("a", 1), ("b", 2), ("c", 3)] {
        put(&world, "o1", customer, total).await;
    }
    let records = records(&world).await;
    world.deliver("Orders", &records[..1]).await;
    world.deliver("Orders", &records[2..]).await;
    assert_eq!(customers(&world).await, [row("c", 1, 3)]);
    // What was missed comes days later.
    world.deliver("Orders", &records[1..2]).await;
    assert_eq!(customers(&world).await, [row("c", 1, 3)]);
}

#[tokio::test]
async fn an_item_that_goes_and_comes_again_counts_once() {
    let world = orders().await;
    put(&world, "o1", "a", 5).await;
    put(&world, "o2", "a", 7).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await, [row("a", 1, 7)]);
    put(&world, "o1", "a", 9).await;
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await, [row("a", 2, 16)]);
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    world.db.delete("Orders", json!({ "orderId": "o2" })).await;
    let records = records(&world).await;
    world.deliver("Orders", &records[4..]).await;
    assert_eq!(customers(&world).await, Vec::<Value>::new(), "the last one takes the row with it");
    world.deliver("Orders", &records).await;
    assert_eq!(customers(&world).await, Vec::<Value>::new(), "an old change brings nothing back");
    let ledger = world.db.scan_all("millstream-ledger").await;
    assert!(
        ledger.iter().all(|row| row["expires"].is_number()),
        "what contributes nothing expires: {ledger:?}"
    );
}

#[tokio::test]
async fn a_transaction_whose_answer_was_lost_counts_once() {
    let world = orders().await;
    put(&world, "o1", "a", 5).await;
    put(&world, "o2", "b", 7).await;
    world.db.faults().add(Rule::on("TransactWriteItems", Fault::LoseReply).first(1));
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await, [row("a", 1, 5), row("b", 1, 7)]);
}

#[tokio::test(start_paused = true)]
async fn conflicts_and_throttles_in_the_middle_of_a_batch_wait_and_try_again() {
    for fault in [
        Fault::TransactionConflict,
        Fault::Cancelled("ThrottlingError"),
        Fault::Cancelled("ProvisionedThroughputExceeded"),
        Fault::Throttle,
        Fault::InternalError,
    ] {
        let world = orders().await;
        for order in 0..250 {
            put(&world, &format!("o{order}"), &format!("c{}", order % 3), 1).await;
        }
        world.db.faults().add(Rule::on("TransactWriteItems", fault.clone()).nth(2));
        world.deliver_all("Orders").await;
        let orders: u64 =
            customers(&world).await.iter().map(|row| row["orders"].as_u64().expect("a number")).sum();
        assert_eq!(orders, 250, "{fault:?}");
    }
}

#[tokio::test]
async fn sums_have_38_digits_and_a_sign() {
    let world = orders().await;
    let large = "9999999999999999999999999999999999999";
    for (id, total) in [("o1", large), ("o2", "-0.5"), ("o3", "-1e37")] {
        let item = json!({ "orderId": { "S": id }, "customer": { "S": "a" }, "total": { "N": total } });
        world.db.put_typed("Orders", item).await;
    }
    world.deliver_all("Orders").await;
    assert_eq!(revenue(&world).await, "-1.5");
    world.db.delete("Orders", json!({ "orderId": "o3" })).await;
    world.deliver_all("Orders").await;
    assert_eq!(revenue(&world).await, "9999999999999999999999999999999999998.5");
}

#[tokio::test]
async fn a_sum_that_no_number_holds_is_a_letter_and_the_others_go_on() {
    let world = orders().await;
    let large = "99999999999999999999999999999999999999";
    for (id, customer, total) in [("o1", "a", large), ("o2", "b", "1"), ("o3", "a", "0.1")] {
        let item = json!({ "orderId": { "S": id }, "customer": { "S": customer }, "total": { "N": total } });
        world.db.put_typed("Orders", item).await;
        world.deliver_all("Orders").await;
    }
    assert_eq!(revenue(&world).await, large);
    assert_eq!(customers(&world).await[1], row("b", 1, 1));
    let letters = world.letters().await;
    let cause = letters[0].head.fault().expect("a fault").causes.join(": ");
    assert!(letters.len() == 1 && cause.contains("overflow") && cause.contains("Customers"), "{cause}");
}

#[tokio::test]
async fn changes_that_one_number_cannot_hold_together_take_two_transactions() {
    let world = orders().await;
    for (id, total) in [("o1", "1e30"), ("o2", "1e-6"), ("o3", "1e-8"), ("o4", "-1e30")] {
        let item = json!({ "orderId": { "S": id }, "customer": { "S": "a" }, "total": { "N": total } });
        world.db.put_typed("Orders", item).await;
    }
    world.db.clear_requests();
    world.deliver_all("Orders").await;
    assert_eq!(transactions(&world.db.requests()), 2);
    assert_eq!(world.letters().await, []);
    assert_eq!(revenue(&world).await, "0.00000101");
}

#[tokio::test]
async fn what_is_no_number_is_a_letter_with_its_path_and_type() {
    let world = orders().await;
    put(&world, "o1", "a", 5).await;
    world.db.put("Orders", json!({ "orderId": "o2", "customer": "a", "total": "seven" })).await;
    put(&world, "o3", "a", 7).await;
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await, [row("a", 2, 12)]);
    let letters = world.letters().await;
    let cause = letters[0].head.fault().expect("a fault").causes.join(": ");
    assert!(letters.len() == 1 && cause.contains("total") && cause.contains('S'), "{cause}");
    assert!(!cause.contains("seven"), "no values in a cause: {cause}");
}

#[tokio::test]
async fn an_attribute_that_vanishes_or_changes_its_type_leaves_what_was_right() {
    let world = orders().await;
    put(&world, "o1", "a", 5).await;
    world.db.put("Orders", json!({ "orderId": "o1", "customer": "a" })).await;
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await, [row("a", 1, 0)], "an optional number that is gone adds nothing");
    put(&world, "o1", "a", 6).await;
    world.db.put("Orders", json!({ "orderId": "o1", "customer": "a", "total": true })).await;
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await, [row("a", 1, 6)], "it counts with what it last contributed");
    assert_eq!(world.letters().await.len(), 1);
    put(&world, "o1", "b", 8).await;
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await, [row("b", 1, 8)], "and its next change heals it");
}

#[tokio::test]
async fn a_group_that_is_empty_or_missing_is_a_letter() {
    let world = orders().await;
    world.db.put("Orders", json!({ "orderId": "o1", "customer": "", "total": 1 })).await;
    world.db.put("Orders", json!({ "orderId": "o2", "total": 1 })).await;
    world.db.put("Orders", json!({ "orderId": "o3", "customer": ["a"], "total": 1 })).await;
    put(&world, "o4", "a", 1).await;
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await, [row("a", 1, 1)]);
    let causes: Vec<String> = world
        .letters()
        .await
        .iter()
        .map(|letter| letter.head.fault().expect("a fault").causes.join(": "))
        .collect();
    assert_eq!(causes.len(), 3, "{causes:?}");
    assert!(causes.iter().all(|cause| cause.contains("customer")), "{causes:?}");
}

#[tokio::test]
async fn a_totals_row_that_someone_edited_keeps_the_difference() {
    let world = orders().await;
    put(&world, "o1", "a", 5).await;
    put(&world, "o2", "a", 6).await;
    world.deliver_all("Orders").await;
    world.db.put("Customers", json!({ "customer": "a", "orders": 2, "revenue": 1_000 })).await;
    put(&world, "o1", "a", 7).await;
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await, [row("a", 2, 1_002)]);
}

#[tokio::test]
async fn a_totals_row_that_someone_deleted_begins_with_the_next_difference() {
    let world = orders().await;
    put(&world, "o1", "a", 5).await;
    put(&world, "o2", "a", 6).await;
    world.deliver_all("Orders").await;
    world.db.delete("Customers", json!({ "customer": "a" })).await;
    put(&world, "o3", "a", 7).await;
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await, [row("a", 1, 7)]);
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    world.deliver_all("Orders").await;
    let row = json!({ "customer": "a", "orders": 0, "revenue": 2 });
    assert_eq!(customers(&world).await, [row], "what was deleted by hand is what is missing, no more");
}

#[tokio::test]
async fn a_totals_row_that_holds_no_number_takes_only_its_own_items_into_the_letters() {
    let world = orders().await;
    world.db.put("Customers", json!({ "customer": "a", "orders": 1, "revenue": "a lot" })).await;
    for (id, customer) in [("o1", "a"), ("o2", "b"), ("o3", "a"), ("o4", "b")] {
        put(&world, id, customer, 1).await;
    }
    world.deliver_all("Orders").await;
    assert_eq!(customers(&world).await[1], row("b", 2, 2));
    let letters = world.letters().await;
    let mut keys: Vec<String> = letters.iter().map(|letter| format!("{:?}", letter.head.key)).collect();
    keys.sort();
    assert!(keys.len() == 2 && keys[0].contains("o1") && keys[1].contains("o3"), "{keys:?}");
}

#[tokio::test]
async fn a_table_of_another_key_leaves_everything_unfinished() {
    let world = World::new(ORDERS).await;
    world.source("Orders", "orderId").await;
    world.table("Customers", "name").await;
    put(&world, "o1", "a", 5).await;
    put(&world, "o2", "b", 5).await;
    let records = records(&world).await;
    let arn = world.db.stream_arn("Orders").await;
    let refused = world.invoke(millstream_test_support::lambda_event::event(&arn, &records)).await;
    let refused = refused.expect_err("nothing can be done under this deployment").to_string();
    assert!(refused.contains("Customers") && refused.contains("name"), "{refused}");
    assert!(world.letters().await.is_empty());
}

#[tokio::test]
async fn another_grouping_takes_back_what_the_old_one_counted() {
    let world = orders().await;
    world.table("Months", "month").await;
    for order in 0..3 {
        let item = json!({ "orderId": format!("o{order}"), "customer": "a", "month": "m", "total": 2 });
        world.db.put("Orders", item).await;
    }
    world.deliver_all("Orders").await;
    let regrouped =
        ORDERS.replace("Customers", "Months").replace("customer = \"{customer}\"", "month = \"{month}\"");
    let world = world.with_config(&regrouped);
    for order in 0..2 {
        let item = json!({ "orderId": format!("o{order}"), "customer": "a", "month": "m", "total": 3 });
        world.db.put("Orders", item).await;
    }
    world.deliver("Orders", &records(&world).await[3..]).await;
    assert_eq!(customers(&world).await, [row("a", 1, 2)], "the item that did not change since");
    assert_eq!(world.rows("Months").await, [json!({ "month": "m", "orders": 2, "revenue": 6 })]);
}

#[tokio::test]
async fn a_hot_row_is_spread_over_shards_that_add_up() {
    let sharded = ORDERS
        .replace("customer = \"{customer}\"", "customer = \"{customer}#{ms:shard}\"")
        .replace("on_empty", "shards = 4\non_empty");
    let world = orders().await.with_config(&sharded);
    for order in 0..100 {
        put(&world, &format!("o{order}"), "a", 1).await;
    }
    world.deliver_all("Orders").await;
    let rows = customers(&world).await;
    assert_eq!(rows.len(), 4);
    let orders: u64 = rows.iter().map(|row| row["orders"].as_u64().expect("a number")).sum();
    assert_eq!(orders, 100);
}
