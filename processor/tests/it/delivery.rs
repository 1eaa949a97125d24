//! Duplicates, redelivered prefixes and two processors at once: the rows end the same.

use aws_sdk_dynamodbstreams::types::Record;
use millstream_test_support::event_source_mapping::{Drained, EventSourceMapping, Settings};
use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::runtime_api::FunctionError;
use serde_json::json;

use crate::world::World;

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

async fn world_with(changes: usize) -> (World, Vec<Record>) {
    let world = World::new(ORDERS).await;
    world.source("Orders", "orderId").await;
    world.table("Accounting", "orderId").await;
    for change in 0..changes {
        let id = format!("o{}", change % 5);
        match change % 7 {
            6 => world.db.delete("Orders", json!({ "orderId": id })).await,
            _ => world.db.put("Orders", json!({ "orderId": id, "total": change })).await,
        }
    }
    let records = world.db.read_stream("Orders").await;
    (world, records)
}

#[tokio::test]
async fn the_same_batch_twice_changes_nothing() {
    let (world, records) = world_with(40).await;
    world.deliver("Orders", &records).await;
    let once = world.db.scan_all("Accounting").await;
    world.deliver("Orders", &records).await;
    assert_eq!(world.db.scan_all("Accounting").await, once);
    assert_eq!(world.rows("Accounting").await, world.db.scan_all("Orders").await);
}

#[tokio::test]
async fn every_prefix_delivered_again_ends_the_same() {
    let (world, records) = world_with(40).await;
    for end in (1..records.len()).step_by(7) {
        world.deliver("Orders", &records[..end]).await;
    }
    world.deliver("Orders", &records).await;
    world.deliver("Orders", &records[..records.len() / 2]).await;
    assert_eq!(world.rows("Accounting").await, world.db.scan_all("Orders").await);
}

#[tokio::test]
async fn a_shuffled_batch_ends_the_same() {
    let (world, mut records) = world_with(40).await;
    records.reverse();
    world.deliver("Orders", &records).await;
    assert_eq!(world.rows("Accounting").await, world.db.scan_all("Orders").await);
}

#[tokio::test(start_paused = true)]
async fn two_processors_at_once_on_the_same_changes_end_the_same() {
    let (world, records) = world_with(60).await;
    world.db.faults().add(Rule::any(Fault::LoseReply).chance(20, 5));
    let halves: Vec<&[Record]> = records.chunks(9).collect();
    let one = async {
        for batch in &halves {
            world.deliver("Orders", batch).await;
        }
    };
    let other = async {
        for batch in &halves {
            world.deliver("Orders", batch).await;
        }
    };
    tokio::join!(one, other);
    assert_eq!(world.rows("Accounting").await, world.db.scan_all("Orders").await);
}

#[tokio::test(start_paused = true)]
async fn an_event_source_mapping_with_partial_reports_loses_nothing() {
    let (world, _) = world_with(60).await;
    world.db.faults().add(Rule::on("TransactWriteItems", Fault::AccessDenied).every(9));
    world.db.faults().add(Rule::any(Fault::Throttle).chance(30, 11));
    let settings = Settings { batch_size: 13, parallelization_factor: 3, ..Settings::default() };
    let arn = world.db.stream_arn("Orders").await;
    let client = aws_sdk_dynamodbstreams::Client::new(&world.db.backstage());
    let mut mapping = EventSourceMapping::new(client, &arn, settings);
    let world = &world;
    let drained = mapping
        .drain(|event| async move {
            world.invoke(event).await.map_err(|error| FunctionError::new("Invocation", error.to_string()))
        })
        .await;
    assert_eq!(drained, Drained::End);
    assert!(mapping.failures().is_empty());
    assert_eq!(world.rows("Accounting").await, world.db.scan_all("Orders").await);
    assert!(world.letters().await.is_empty());
}
