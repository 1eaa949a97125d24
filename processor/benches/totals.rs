//! 10,000 changes of 2,000 items over 20 totals rows, 5 ms a request: the fold beside the usual way, which is one
//! transaction a change, of a marker against duplicates and an ADD.
//!
//! Prints transactions, write capacity and time, and compares the totals. `cargo bench -p millstream-processor --bench totals`

#![expect(clippy::expect_used, reason = "a bench that cannot run has to stop")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use bytes::Bytes;
use futures_util::StreamExt;
use millstream_processor::clock::SystemClock;
use millstream_processor::host::lambda::LambdaHost;
use millstream_processor::projections::config::Config;
use millstream_processor::setup;
use millstream_processor::wiring::{self, Aws};
use millstream_test_support::embedded::Embedded;
use millstream_test_support::faults::{Fault, Rule};
use serde_json::{Value, json};

const CHANGES: usize = 10_000;
const ITEMS: usize = 2_000;
const GROUPS: usize = 20;
const BATCH: usize = 1_000;
const SEED: u64 = 7;
/// One change in so many gives the item another group; one in so many removes it.
const MOVE: usize = 10;
const REMOVAL: usize = 50;
const LATENCY: Duration = Duration::from_millis(5);
const TARGET: &str = "CustomerStats";
const MARKERS: &str = "Markers";

const CONFIG: &str = r#"
[source.orders]
table = "Orders"

[projection.by-customer]
kind = "aggregate"
from = "orders"
table = "CustomerStats"
group = { customer = "{customer}" }
count = "orders"
sum = { revenue = "{total}" }
"#;

/// What an item says.
#[derive(Clone, Copy)]
struct Order {
    group: usize,
    total: usize,
}

struct Change {
    item: usize,
    before: Option<Order>,
    after: Option<Order>,
}

/// The same changes for the same seed.
fn changes() -> Vec<Change> {
    let mut state = SEED;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut items: HashMap<usize, Order> = HashMap::new();
    let mut changes = Vec::with_capacity(CHANGES);
    for total in 0..CHANGES {
        let item = draw(ITEMS);
        let before = items.remove(&item);
        let group = match before {
            Some(order) if draw(MOVE) > 0 => order.group,
            _ => draw(GROUPS),
        };
        let removed = before.is_some() && draw(REMOVAL) == 0;
        let after = (!removed).then_some(Order { group, total });
        items.extend(after.map(|order| (item, order)));
        changes.push(Change { item, before, after });
    }
    changes
}

fn event(changes: &[Change], first: usize) -> Bytes {
    let id = |item: usize| json!({ "S": format!("order-{item:04}") });
    let image = |item: usize, order: Order| {
        json!({
            "orderId": id(item), "customer": { "S": customer(order.group) }, "total": { "N": order.total.to_string() },
        })
    };
    let record = |(number, change): (usize, &Change)| {
        let name = match (change.before, change.after) {
            (None, _) => "INSERT",
            (Some(_), Some(_)) => "MODIFY",
            (Some(_), None) => "REMOVE",
        };
        let mut record = json!({
            "eventID": number.to_string(), "eventName": name, "eventSource": "aws:dynamodb",
            "eventSourceARN": "arn:aws:dynamodb:eu-west-1:000000000000:table/Orders/stream/2026-11-20T09:14:07.512",
            "dynamodb": {
                "Keys": { "orderId": id(change.item) },
                "SequenceNumber": format!("4421584500000000017450{number:08}"),
            },
        });
        for (name, order) in [("OldImage", change.before), ("NewImage", change.after)] {
            if let Some(order) = order {
                record["dynamodb"][name] = image(change.item, order);
            }
        }
        record
    };
    let records: Vec<Value> = (first..).zip(changes).map(record).collect();
    Bytes::from(json!({ "Records": records }).to_string())
}

fn customer(group: usize) -> String {
    format!("customer-{group:02}")
}

/// What a run cost.
struct Cost {
    requests: usize,
    capacity: usize,
    time: Duration,
}

/// A store with its tables that takes its time for everything.
async fn store(config: &Config) -> Embedded {
    let store = Embedded::new();
    store.create_table(TARGET, "customer", None, None).await;
    store.create_table(MARKERS, "id", None, None).await;
    setup::create_tables(config, &Aws::from_config(store.backstage())).await.expect("our own tables");
    store.faults().add(Rule::any(Fault::Delay(LATENCY)));
    store
}

async fn millstream(config: &Config, changes: &[Change]) -> (Cost, Vec<Value>) {
    let store = store(config).await;
    let aws = Aws::from_config(store.sdk_config());
    let pipeline = wiring::pipeline(config, &aws, Arc::new(SystemClock));
    let host =
        LambdaHost { pipeline, sources: wiring::sources(config), margin: config.pipeline.deadline_margin };
    let batches = changes.chunks(BATCH).zip((0..).step_by(BATCH));
    let events: Vec<Bytes> = batches.map(|(batch, first)| event(batch, first)).collect();
    let started = Instant::now();
    for event in events {
        let response = host.handle(event, SystemTime::now() + Duration::from_secs(600)).await;
        assert!(response.expect("an answer").batch_item_failures.is_empty(), "everything is done");
    }
    (cost(&store, started.elapsed()), rows(&store).await)
}

/// One transaction a change, `at_once` of them side by side; a change of group takes one action more.
async fn usual_way(config: &Config, changes: &[Change], at_once: usize) -> (Cost, Vec<Value>) {
    let store = store(config).await;
    let client = store.dynamodb();
    let started = Instant::now();
    futures_util::stream::iter(changes.iter().enumerate())
        .for_each_concurrent(at_once, |(number, change)| {
            let actions = actions(number, change);
            let sent = client.transact_write_items().set_transact_items(Some(actions)).send();
            async move {
                sent.await.expect("written");
            }
        })
        .await;
    (cost(&store, started.elapsed()), rows(&store).await)
}

fn actions(number: usize, change: &Change) -> Vec<TransactWriteItem> {
    let marker = Put::builder()
        .table_name(MARKERS)
        .item("id", AttributeValue::S(format!("4421584500000000017450{number:08}")))
        .condition_expression("attribute_not_exists(id)")
        .build()
        .expect("a put");
    let mut differences: HashMap<usize, (i64, i64)> = HashMap::new();
    for (order, sign) in [(change.before, -1), (change.after, 1)] {
        if let Some(order) = order {
            let difference = differences.entry(order.group).or_default();
            *difference = (difference.0 + sign, difference.1 + sign * order.total as i64);
        }
    }
    let add = |(group, (orders, revenue)): (usize, (i64, i64))| {
        Update::builder()
            .table_name(TARGET)
            .key("customer", AttributeValue::S(customer(group)))
            .update_expression("ADD orders :orders, revenue :revenue")
            .expression_attribute_values(":orders", AttributeValue::N(orders.to_string()))
            .expression_attribute_values(":revenue", AttributeValue::N(revenue.to_string()))
            .build()
            .expect("an update")
    };
    let adds = differences.into_iter().map(|it| TransactWriteItem::builder().update(add(it)).build());
    std::iter::once(TransactWriteItem::builder().put(marker).build()).chain(adds).collect()
}

/// Every action of a transaction costs 2 units: no row here is larger than 1 KB.
fn cost(store: &Embedded, time: Duration) -> Cost {
    let requests = store.requests();
    let actions = requests.iter().filter_map(|request| request.body["TransactItems"].as_array());
    Cost { capacity: actions.map(|actions| 2 * actions.len()).sum(), requests: requests.len(), time }
}

/// The totals, without rows that count nothing any more.
async fn rows(store: &Embedded) -> Vec<Value> {
    let mut rows = store.scan_all(TARGET).await;
    rows.retain(|row| row["orders"] != 0);
    rows
}

fn row(name: &str, cost: &Cost) {
    let seconds = cost.time.as_secs_f64();
    println!("  {name:<28} {:>8} {:>8} {seconds:>9.2} s", cost.requests, cost.capacity);
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let config = Config::parse("bench.toml", CONFIG, &|_| None).expect("a valid config");
    let changes = changes();
    println!(
        "{CHANGES} changes of {ITEMS} items over {GROUPS} totals rows (seed {SEED}), batches of {BATCH}, {LATENCY:?} a request"
    );
    let (ours, our_rows) = millstream(&config, &changes).await;
    let (usual, usual_rows) = usual_way(&config, &changes, 1).await;
    let (eager, eager_rows) = usual_way(&config, &changes, 64).await;
    println!("  {:<28} {:>8} {:>8} {:>11}", "", "requests", "WCU", "time");
    row("Millstream", &ours);
    row("the usual way, in order", &usual);
    row("the usual way, 64 at once", &eager);
    println!(
        "  {:.0} times fewer requests, {:.1} times fewer units, {:.0} times less time (64 at once: {:.1})",
        usual.requests as f64 / ours.requests as f64,
        usual.capacity as f64 / ours.capacity as f64,
        usual.time.as_secs_f64() / ours.time.as_secs_f64(),
        eager.time.as_secs_f64() / ours.time.as_secs_f64(),
    );
    println!("  {} totals rows, equal: {}", our_rows.len(), our_rows == usual_rows && our_rows == eager_rows);
    assert!(our_rows == usual_rows && our_rows == eager_rows, "all end at the same totals");
}
