//! Letters of totals and lookups: what their plan shows, and that a replay counts once.

use millstream_replay::plan::Verdict;
use millstream_replay::show::Difference;
use millstream_test_support::faults::{Fault, Rule};
use serde_json::{Value, json};

use crate::world::{World, apply_all, plans};

/// Totals over all orders, and orders by their invoices; `total` is the path of what is summed up.
fn folds(total: &str) -> String {
    format!(
        r#"
[source.orders]
table = "Orders"
[projection.by-shop]
kind = "aggregate"
from = "orders"
table = "Shops"
group = {{ shop = "SHOP" }}
count = "orders"
sum = {{ revenue = "{{{total}}}" }}
[projection.by-invoice]
kind = "index"
from = "orders"
table = "Invoices"
key = {{ invoice = "{{invoice?}}" }}
"#
    )
}

async fn world() -> World {
    let world = World::table().await;
    world.db.create_table("Shops", "shop", None, None).await;
    world.db.create_table("Invoices", "invoice", None, None).await;
    world
}

async fn rows(world: &World, table: &str) -> Vec<Value> {
    let mut rows = world.db.scan_all(table).await;
    for row in &mut rows {
        row.as_object_mut().unwrap().retain(|name, _| !name.starts_with("ms:"));
    }
    rows
}

async fn invoice(world: &World, order: &str, invoice: &str) {
    world.db.put("Orders", json!({ "orderId": order, "total": 1, "invoice": invoice })).await;
}

#[tokio::test]
async fn a_plan_shows_the_totals_as_they_would_be_and_a_replay_adds_them_once() {
    let world = world().await;
    world.order("o1", Some(5)).await;
    world.order("o2", None).await;
    world.deliver(&folds("total")).await;
    assert_eq!(rows(&world, "Shops").await, [json!({ "shop": "SHOP", "orders": 1, "revenue": 5 })]);
    assert_eq!(plans(&world.desk(&folds("total"))).await[0].verdict, Verdict::StillRejected);

    let desk = world.desk(&folds("total?"));
    let planned = plans(&desk).await;
    assert_eq!(planned[0].verdict, Verdict::WouldWrite);
    let shown = planned[0].to_string();
    assert!(shown.contains("fold Shops (shop = \"SHOP\")") && shown.contains("orders: 1 -> 2"), "{shown}");
    assert!(!shown.contains("revenue"), "what stays is not shown: {shown}");
    let applied = apply_all(&desk).await;
    assert!(applied.is_clean() && applied.replayed == 1, "{applied:?}");
    world.deliver(&folds("total?")).await;
    assert_eq!(rows(&world, "Shops").await, [json!({ "shop": "SHOP", "orders": 2, "revenue": 5 })]);
}

#[tokio::test]
async fn a_letter_that_a_newer_change_has_overtaken_is_superseded() {
    let world = world().await;
    world.order("o1", None).await;
    world.order("o1", Some(7)).await;
    world.deliver(&folds("total")).await;
    let desk = world.desk(&folds("total?"));
    let planned = plans(&desk).await;
    assert_eq!(planned[0].verdict, Verdict::Superseded);
    assert_eq!(planned[0].effects[0].note, Some("the ledger has a newer version"));
    assert_eq!(apply_all(&desk).await.superseded, 1);
    assert_eq!(rows(&world, "Shops").await, [json!({ "shop": "SHOP", "orders": 1, "revenue": 7 })]);
}

#[tokio::test]
async fn a_clash_waits_until_the_other_gives_the_row_up() {
    let world = world().await;
    let config = folds("total");
    invoice(&world, "o1", "A").await;
    invoice(&world, "o2", "B").await;
    world.deliver(&config).await;
    invoice(&world, "o2", "A").await;
    world.deliver(&config).await;
    assert_eq!(rows(&world, "Invoices").await, [json!({ "invoice": "A", "orderId": "o1" })]);
    let desk = world.desk(&config);
    let planned = plans(&desk).await;
    assert_eq!(planned[0].verdict, Verdict::StillRejected);
    assert_eq!(planned[0].effects[0].note, Some("the row belongs to another item"));
    assert_eq!(apply_all(&desk).await.failed, 1);

    invoice(&world, "o1", "C").await;
    world.deliver_from(&config, 3).await;
    let planned = plans(&desk).await;
    assert_eq!(planned[0].verdict, Verdict::WouldWrite);
    assert!(planned[0].to_string().contains("fold Invoices (invoice = \"A\")"), "{}", planned[0]);
    assert_eq!(apply_all(&desk).await.replayed, 1);
    let expected = [json!({ "invoice": "A", "orderId": "o2" }), json!({ "invoice": "C", "orderId": "o1" })];
    assert_eq!(rows(&world, "Invoices").await, expected);
}

#[tokio::test]
async fn a_letter_that_outlived_the_memory_of_removals_is_too_old() {
    let world = world().await;
    world.order("o1", None).await;
    world.deliver(&folds("total")).await;
    world.later(std::time::Duration::from_secs(13 * 86_400)).await;
    let mut desk = world.desk(&folds("total?"));
    desk.tombstones = std::time::Duration::from_secs(12 * 86_400);
    assert_eq!(plans(&desk).await[0].verdict, Verdict::TooOld);
    assert_eq!(apply_all(&desk).await.failed, 1);
    assert_eq!(rows(&world, "Shops").await, Vec::<Value>::new());
}

/// Review: plan says what the sink will do with a row that nobody guards, under a unique index.
#[tokio::test]
async fn a_plan_knows_that_a_unique_index_refuses_a_row_that_it_did_not_write() {
    let world = world().await;
    let config = folds("total");
    world.db.put("Invoices", json!({ "invoice": "A", "orderId": "by hand" })).await;
    invoice(&world, "o1", "A").await;
    world.deliver(&config).await;
    let desk = world.desk(&config);
    let planned = plans(&desk).await[0].verdict;
    assert_eq!(apply_all(&desk).await.failed, 1);
    assert_eq!(planned, Verdict::StillRejected);
}

/// Review: a ledger row without a version shows itself that no removal was forgotten.
#[tokio::test]
async fn a_letter_of_an_item_that_the_ledger_still_knows_is_not_too_old() {
    let world = world().await;
    let config = folds("total?").replace(
        "key = { invoice = \"{invoice?}\" }",
        "each = \"{tags?}\"\nkey = { invoice = \"{ms:each}\" }",
    );
    let tags = |from: usize, to: usize| (from..to).map(|tag| format!("t{tag:03}")).collect::<Vec<_>>();
    world.db.put("Orders", json!({ "orderId": "o2", "total": 1, "tags": tags(240, 241) })).await;
    world.db.put("Orders", json!({ "orderId": "o1", "total": 1, "tags": tags(0, 250) })).await;
    world.deliver(&config).await;
    assert!(rows(&world, "Invoices").await.len() > 1, "some of its rows are there");
    world.later(std::time::Duration::from_secs(13 * 86_400)).await;
    let mut desk = world.desk(&config);
    desk.tombstones = std::time::Duration::from_secs(12 * 86_400);
    assert_ne!(plans(&desk).await[0].verdict, Verdict::TooOld);
}

#[tokio::test]
async fn a_plan_shows_that_a_row_goes_when_it_counts_nothing_any_more() {
    let world = world().await;
    let config = folds("total").replace("count =", "on_empty = \"delete\"\ncount =");
    world.order("o1", Some(5)).await;
    world.order("o2", Some(7)).await;
    world.deliver(&config).await;
    let rule = Rule::on("TransactWriteItems", Fault::Validation).containing("Shops");
    for (order, gone) in [("o1", false), ("o2", true)] {
        world.db.delete("Orders", json!({ "orderId": order })).await;
        world.db.faults().add(rule.clone());
        world.deliver(&config).await;
        world.db.faults().clear();
        let desk = world.desk(&config);
        let planned = plans(&desk).await;
        assert_eq!(planned[0].verdict, Verdict::WouldWrite);
        let differences: Vec<_> = planned[0].effects[0].attributes.iter().map(|it| it.difference).collect();
        assert_eq!(differences.iter().all(|it| *it == Difference::Removed), gone, "{}", planned[0]);
        assert_eq!(apply_all(&desk).await.replayed, 1);
        assert_eq!(rows(&world, "Shops").await.is_empty(), gone);
    }
}
