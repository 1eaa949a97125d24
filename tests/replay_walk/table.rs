//! The walk with the letters in a table.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::terminal::{Demo, Walk, number, page};

/// Runs the page beside a demo that makes so many changes.
fn walk(changes: &str) -> Walk {
    let page = page("REPLAY.md");
    let demo = Demo::start(&page, &["--changes", changes], "");
    assert_eq!(demo.exports.len(), 2, "the page says so: {:?}", demo.exports);
    let walk = Walk::run(&page, demo);
    // An empty list is told on the side.
    assert_eq!(walk.complaints, "no letters\n");
    walk
}

/// The orders that accounting has without a total.
async fn mended_rows(demo: &Demo) -> usize {
    let rows = demo.client().scan().table_name("AccountingOrders").consistent_read(true);
    let rows = rows.send().await.expect("the demo is still up").items.unwrap_or_default();
    rows.iter().filter(|row| is_order(row) && !row.contains_key("total")).count()
}

fn is_order(row: &HashMap<String, AttributeValue>) -> bool {
    row.contains_key("orderId") && row.contains_key("customer")
}

#[tokio::test]
async fn the_walk_ends_with_every_order_in_accounting() {
    // Every change is an order without a total, and none is changed again.
    let walk = walk("20");
    let [list, show, before, after, apply, kept, gauges] = &walk.outputs[..] else {
        panic!("other blocks than before: {:#?}", walk.outputs)
    };
    assert!(list.contains("20 letters in 1 group") && list.contains("orders-for-accounting"), "{list}");
    for part in
        ["Fault: rejected", "has no attribute `total`", "Attempts", "+ customer", "Now: still rejected"]
    {
        assert!(show.contains(part), "{part}: {show}");
    }
    assert!(before.ends_with("20 letters: 20 still rejected\n"), "{before}");
    let mended = "20 letters: 20 would write; 20 failed under another config\n";
    assert!(after.ends_with(mended), "{after}");
    assert_eq!(apply, "20 replayed, 0 superseded of 20 letters\n");
    assert!(kept.contains("20 letters in 1 group"), "{kept}");
    assert_eq!(kept.lines().filter(|line| line.ends_with("replayed: 1 written")).count(), 20, "{kept}");
    let none = "millstream_letters{projection=\"orders-for-accounting\",state=\"open\"} 0\n";
    assert!(gauges.contains(none), "{gauges}");
    assert_eq!(mended_rows(&walk.demo).await, 20);
}

#[tokio::test]
async fn what_was_changed_since_is_closed_without_a_write() {
    let walk = walk("200");
    let plan = walk.outputs[3].lines().last().expect("a plan");
    let (would, superseded) = (number(plan, "would write"), number(plan, "superseded"));
    assert!(would + superseded == 20 && would > 0 && superseded > 0, "{plan}");
    assert_eq!(walk.outputs[4], format!("{would} replayed, {superseded} superseded of 20 letters\n"));
    // Nothing old is over something newer, which has a total.
    assert_eq!(mended_rows(&walk.demo).await, would);
}
