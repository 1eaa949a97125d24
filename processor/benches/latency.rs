//! 10,000 changes of 1,000 keys against a store that takes 5 ms a request: Millstream beside one write after another.
//!
//! Prints requests, write capacity and time of both, and compares the rows. `cargo bench -p millstream-processor --bench latency`

#![expect(clippy::expect_used, reason = "a bench that cannot run has to stop")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use millstream_processor::clock::SystemClock;
use millstream_processor::host::lambda::LambdaHost;
use millstream_processor::projections::config::Config;
use millstream_processor::setup;
use millstream_processor::wiring::{self, Aws};
use millstream_test_support::embedded::Embedded;
use millstream_test_support::faults::{Fault, Logged, Rule};
use serde_json::{Value, json};

const CHANGES: usize = 10_000;
const KEYS: usize = 1_000;
const BATCH: usize = 1_000;
/// How uneven the keys are: the first has a fifth of all changes.
const ZIPF: f64 = 1.1;
const SEED: u64 = 7;
/// One change in so many is a removal, which is a transaction.
const REMOVAL: usize = 50;
const LATENCY: Duration = Duration::from_millis(5);
const TARGET: &str = "Accounting";

const CONFIG: &str = r#"
[source.orders]
table = "Orders"

[projection.accounting]
kind = "replica"
from = "orders"
table = "Accounting"
key = { orderId = "{orderId}" }
set = { total = "{total}", customer = "{customer}" }
"#;

/// What an item is after a change; nothing if it was removed.
struct Change {
    key: usize,
    before: Option<usize>,
    after: Option<usize>,
}

/// The same changes for the same seed; the total of an item is the number of the change that set it.
fn changes() -> Vec<Change> {
    let weights: Vec<f64> = (1..=KEYS).map(|rank| (rank as f64).powf(-ZIPF)).collect();
    let sum: f64 = weights.iter().sum();
    let mut state = SEED;
    let mut items: HashMap<usize, usize> = HashMap::new();
    let change = |number: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut left = (state >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        let key = drawn.unwrap_or(KEYS - 1);
        let before = items.remove(&key);
        let removed = before.is_some() && number.is_multiple_of(REMOVAL);
        let after = (!removed).then_some(number);
        items.extend(after.map(|total| (key, total)));
        Change { key, before, after }
    };
    (0..CHANGES).map(change).collect()
}

fn order(key: usize) -> String {
    format!("order-{key:04}")
}

fn event(changes: &[Change], first: usize) -> Bytes {
    let image = |key: usize, total: usize| {
        json!({
            "orderId": { "S": order(key) }, "total": { "N": total.to_string() },
            "customer": { "S": format!("customer-{}", key % 97) }, "status": { "S": "PAID" },
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
                "Keys": { "orderId": { "S": order(change.key) } },
                "SequenceNumber": format!("4421584500000000017450{number:08}"),
            },
        });
        for (name, total) in [("OldImage", change.before), ("NewImage", change.after)] {
            if let Some(total) = total {
                record["dynamodb"][name] = image(change.key, total);
            }
        }
        record
    };
    let records: Vec<Value> = (first..).zip(changes).map(record).collect();
    Bytes::from(json!({ "Records": records }).to_string())
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
    store.create_table(TARGET, "orderId", None, None).await;
    let backstage = Aws::from_config(store.backstage());
    setup::create_tables(config, &backstage).await.expect("our own tables");
    store.faults().add(Rule::any(Fault::Delay(LATENCY)));
    store
}

async fn millstream(config: &Config, changes: &[Change]) -> (Cost, Vec<Value>, usize) {
    let store = store(config).await;
    let aws = Aws::from_config(store.sdk_config());
    let pipeline = wiring::pipeline(config, &aws, Arc::new(SystemClock));
    let host =
        LambdaHost { pipeline, sources: wiring::sources(config), margin: config.pipeline.deadline_margin };
    let batches = changes.chunks(BATCH).zip((0..).step_by(BATCH));
    let events: Vec<Bytes> = batches.map(|(batch, first)| event(batch, first)).collect();
    let (mut time, mut cost) = (Duration::ZERO, Cost { requests: 0, capacity: 0, time: Duration::ZERO });
    let mut most = 0;
    for event in events {
        let started = Instant::now();
        let response = host.handle(event, SystemTime::now() + Duration::from_secs(600)).await;
        time += started.elapsed();
        assert!(response.expect("an answer").batch_item_failures.is_empty(), "everything is done");
        let requests = store.requests();
        most = most.max(most_of_one_target(&requests));
        cost.requests += requests.len();
        cost.capacity += requests.iter().map(capacity).sum::<usize>();
        store.clear_requests();
    }
    cost.time = time;
    (cost, rows(&store).await, most)
}

async fn one_after_another(config: &Config, changes: &[Change]) -> (Cost, Vec<Value>) {
    let store = store(config).await;
    let client = store.dynamodb();
    let started = Instant::now();
    for change in changes {
        let key = AttributeValue::S(order(change.key));
        match change.after {
            Some(total) => {
                let customer = AttributeValue::S(format!("customer-{}", change.key % 97));
                let put = client.put_item().table_name(TARGET).item("orderId", key);
                let put = put.item("total", AttributeValue::N(total.to_string())).item("customer", customer);
                put.send().await.expect("written");
            }
            None => {
                client.delete_item().table_name(TARGET).key("orderId", key).send().await.expect("deleted");
            }
        }
    }
    let time = started.elapsed();
    let requests = store.requests();
    let capacity = requests.iter().map(capacity).sum();
    (Cost { requests: requests.len(), capacity, time }, rows(&store).await)
}

/// The rows without what is Millstream's own.
async fn rows(store: &Embedded) -> Vec<Value> {
    let mut rows = store.scan_all(TARGET).await;
    for row in &mut rows {
        row.as_object_mut().expect("a row").retain(|name, _| !name.starts_with("ms:"));
    }
    rows.sort_by_key(Value::to_string);
    rows
}

/// The write capacity units of a request: 1 a KB and write; in a transaction 2, also for what is only checked.
fn capacity(request: &Logged) -> usize {
    let units = |body: &Value| body["Item"].to_string().len().div_ceil(1_024).max(1);
    match request.operation.as_str() {
        "TransactWriteItems" => {
            let actions = request.body["TransactItems"].as_array().into_iter().flatten();
            actions.filter_map(|action| action.as_object()?.values().next()).map(|it| 2 * units(it)).sum()
        }
        "PutItem" | "UpdateItem" | "DeleteItem" => units(&request.body),
        _ => 0,
    }
}

/// How often the row that was written most often was written.
fn most_of_one_target(requests: &[Logged]) -> usize {
    let mut writes: BTreeMap<String, usize> = BTreeMap::new();
    for request in requests {
        let alone = std::slice::from_ref(&request.body);
        let actions = request.body["TransactItems"].as_array().map_or(alone, Vec::as_slice);
        for action in actions {
            let action = action
                .as_object()
                .and_then(|it| it.values().find(|it| it.is_object() && it["TableName"].is_string()));
            let body = action.unwrap_or(&request.body);
            let key =
                [&body["Item"]["orderId"], &body["Key"]["orderId"]].into_iter().find(|key| key.is_object());
            if let Some(key) = key.filter(|_| body["TableName"] == TARGET) {
                *writes.entry(key.to_string()).or_default() += 1;
            }
        }
    }
    writes.into_values().max().unwrap_or(0)
}

fn row(name: &str, cost: &Cost) {
    let seconds = cost.time.as_secs_f64();
    println!(
        "  {name:<24} {:>8} {:>8} {seconds:>9.2} s {:>9.0}",
        cost.requests,
        cost.capacity,
        CHANGES as f64 / seconds
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let config = Config::parse("bench.toml", CONFIG, &|_| None).expect("a valid config");
    let changes = changes();
    println!(
        "{CHANGES} changes of {KEYS} keys (Zipf {ZIPF}, seed {SEED}), batches of {BATCH}, {LATENCY:?} a request"
    );
    let (ours, our_rows, most) = millstream(&config, &changes).await;
    let (theirs, their_rows) = one_after_another(&config, &changes).await;
    println!("  {:<24} {:>8} {:>8} {:>11} {:>9}", "", "requests", "WCU", "time", "changes/s");
    row("Millstream", &ours);
    row("one write after another", &theirs);
    println!("  {:.1} times less time", theirs.time.as_secs_f64() / ours.time.as_secs_f64());
    println!(
        "  at most {most} write of one row in one batch; {} rows, equal: {}",
        our_rows.len(),
        our_rows == their_rows
    );
    assert!(our_rows == their_rows, "both end at the same rows");
}
