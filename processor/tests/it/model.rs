//! The main promise, as a property: whatever the changes, duplicates, order, faults and crashes, what is derived ends
//! equal to a pure function of the source.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_test_support::faults::{Fault, Rule, RuleId};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::worker::{Worker, fault, key_of};
use crate::world::World;

const CONFIG: &str = r#"
[pipeline]
retry_max = "500ms"
retry_elapsed = "2s"

[source.items]
table = "Items"

[source.item-events]
queue = "https://sqs.eu-west-1.amazonaws.com/000000000000/item-events"

[projection.mirror]
kind = "replica"
from = "items"
where = "new.state != 'hidden'"
table = "Mirror"
key = { place = "{home}#{id}" }
set = { label = "{label}" }

[projection.inline]
kind = "replica"
from = "items"
table = "Inline"
key = { id = "{id}" }
set = { label = "{label}", home = "{home}" }
tombstones = "inline"

[projection.labels]
kind = "copy"
from = "items"
table = "Rows"
match = { index = "by-item", key = { itemId = "{id}" } }
set = { label = "{label}" }

[projection.told]
kind = "emit"
from = "items"
where = "new.state != 'hidden'"
changed = ["label", "state"]
topic = "arn:aws:sns:eu-west-1:000000000000:items"
include = ["label", "state"]

[projection.heard]
kind = "replica"
from = "item-events"
table = "Heard"
key = { id = "{id}" }
set = { label = "{label}" }
"#;

const ITEMS: usize = 3;

/// One thing that happens: to the source, to the deliveries, or to the services.
#[derive(Debug, Clone)]
enum Step {
    Put {
        item: usize,
        home: bool,
        label: u8,
        hidden: bool,
    },
    Remove {
        item: usize,
    },
    /// The worker takes the next records from its checkpoint on.
    Work {
        records: usize,
    },
    /// The worker's batch, with the order between different items changed.
    Shuffled {
        records: usize,
        first: usize,
    },
    /// A second worker has the same records at the same time.
    Both {
        records: usize,
    },
    /// Records from anywhere in the past come again; nobody minds the report.
    Stale {
        from: usize,
        records: usize,
    },
    /// The queue delivers some of the events so far, backwards.
    Queue {
        from: usize,
        events: usize,
    },
    /// A kind of fault for the next so many requests.
    Fault {
        kind: usize,
        requests: usize,
    },
    /// Every request that speaks of an item is throttled, until the next such step.
    Jam {
        item: usize,
    },
    /// The process dies at a request from now on, before it or after it is applied.
    Crash {
        request: usize,
        after: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let item = 0..ITEMS;
    let jammed = 0..ITEMS;
    prop_oneof![
        6 => (item.clone(), any::<bool>(), 0..4u8, prop::bool::weighted(0.25))
            .prop_map(|(item, home, label, hidden)| Step::Put { item, home, label, hidden }),
        2 => item.prop_map(|item| Step::Remove { item }),
        4 => (1..8usize).prop_map(|records| Step::Work { records }),
        1 => (1..8usize, 0..ITEMS).prop_map(|(records, first)| Step::Shuffled { records, first }),
        1 => (1..8usize).prop_map(|records| Step::Both { records }),
        2 => (0..20usize, 1..8usize).prop_map(|(from, records)| Step::Stale { from, records }),
        2 => (0..10usize, 1..8usize).prop_map(|(from, events)| Step::Queue { from, events }),
        2 => (0..7usize, 1..5usize).prop_map(|(kind, requests)| Step::Fault { kind, requests }),
        2 => jammed.prop_map(|item| Step::Jam { item }),
        1 => (1..6usize, any::<bool>()).prop_map(|(request, after)| Step::Crash { request, after }),
    ]
}

/// The deployment, and how far its worker is.
struct Run {
    worker: Worker,
    topic: String,
    jam: Option<RuleId>,
}

impl Run {
    async fn new() -> Self {
        let world = World::new(CONFIG).await;
        world.source("Items", "id").await;
        world.table("Mirror", "place").await;
        world.table("Inline", "id").await;
        world.table("Heard", "id").await;
        let index = ("by-item", "itemId", None);
        world.db.create_table_with_index("Rows", "row", None, None, index).await;
        for item in 0..ITEMS {
            for row in 0..2 {
                world
                    .db
                    .put("Rows", json!({ "row": format!("{item}-{row}"), "itemId": id(item), "own": row }))
                    .await;
            }
        }
        let topic = world.topics.create("items");
        Self { worker: Worker::new(world, "Items"), topic, jam: None }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Put { item, home, label, hidden } => {
                let (home, state) = (if home { "x" } else { "y" }, if hidden { "hidden" } else { "shown" });
                let item =
                    json!({ "id": id(item), "home": home, "label": format!("L{label}"), "state": state });
                self.worker.world.db.put("Items", item).await;
            }
            Step::Remove { item } => self.worker.world.db.delete("Items", json!({ "id": id(item) })).await,
            Step::Work { records } => {
                let batch = self.worker.next(records).await;
                self.worker.work(batch).await;
            }
            Step::Shuffled { records, first } => {
                let mut batch = self.worker.next(records).await;
                // Stable: the changes of one item keep their order.
                batch.sort_by_key(|record| key_of(record, "id") != id(first));
                self.worker.work_unordered(batch).await;
            }
            Step::Both { records } => {
                let batch = self.worker.next(records).await;
                tokio::join!(self.worker.deliver(&batch), self.worker.deliver(&batch));
                self.worker.work(batch).await;
            }
            Step::Stale { from, records } => {
                let past = self.worker.past(from, records).await;
                self.worker.deliver(&past).await;
            }
            Step::Queue { from, events } => self.queue(from, events).await,
            Step::Fault { kind, requests } => {
                let rule = match fault(kind) {
                    // Topics know no transactions.
                    conflict @ Fault::TransactionConflict => Rule::on("TransactWriteItems", conflict),
                    other => Rule::any(other),
                };
                self.worker.world.db.faults().add(rule.first(requests));
            }
            Step::Jam { item } => {
                let faults = self.worker.world.db.faults();
                self.jam = match self.jam.take() {
                    Some(jam) => {
                        faults.remove(jam);
                        None
                    }
                    None => Some(faults.add(Rule::any(Fault::Throttle).containing(&id(item)))),
                };
            }
            Step::Crash { request, after } => {
                let fault = if after { Fault::CrashAfter } else { Fault::Crash };
                self.worker.world.db.faults().add(Rule::any(fault).nth(request));
            }
        }
    }

    async fn queue(&self, from: usize, events: usize) {
        let mut event = self.worker.world.queue_event(&self.topic, "item-events");
        let messages = event["Records"].as_array_mut().expect("records");
        *messages = messages.drain(..).skip(from).take(events).rev().collect();
        if !messages.is_empty() {
            self.worker.invoke(event).await;
        }
    }

    /// Faults pass, and everything that is not done is delivered until it is.
    async fn finish(&mut self) {
        self.worker.finish().await;
        self.queue(0, usize::MAX).await;
    }
}

fn id(item: usize) -> String {
    format!("i{item}")
}

/// What all derived tables have to hold, computed from the source items alone.
fn expected(items: &[Value]) -> BTreeMap<&'static str, Vec<Value>> {
    let by_id: BTreeMap<&str, &Value> =
        items.iter().map(|item| (item["id"].as_str().expect("a text"), item)).collect();
    let shown = || by_id.iter().filter(|(_, item)| item["state"] != "hidden");
    let mirror = shown().map(|(id, item)| {
        let place = format!("{}#{id}", item["home"].as_str().expect("a text"));
        json!({ "place": place, "label": item["label"] })
    });
    let inline =
        by_id.iter().map(|(id, item)| json!({ "id": id, "label": item["label"], "home": item["home"] }));
    let heard = shown().map(|(id, item)| json!({ "id": id, "label": item["label"] }));
    let rows = (0..ITEMS).flat_map(|item| (0..2).map(move |row| (item, row))).map(|(item, row)| {
        let mut expected = json!({ "row": format!("{item}-{row}"), "itemId": id(item), "own": row });
        if let Some(item) = by_id.get(id(item).as_str()) {
            expected["label"] = item["label"].clone();
        }
        expected
    });
    BTreeMap::from([
        ("Mirror", sorted(mirror.collect())),
        ("Inline", sorted(inline.collect())),
        ("Heard", sorted(heard.collect())),
        ("Rows", sorted(rows.collect())),
    ])
}

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(Value::to_string);
    rows
}

async fn check(steps: Vec<Step>) {
    let mut run = Run::new().await;
    for step in steps {
        run.step(step).await;
    }
    run.finish().await;
    let items = run.worker.world.db.scan_all("Items").await;
    for (table, rows) in expected(&items) {
        let mut found = run.worker.world.db.scan_all(table).await;
        // A marker of an inline tombstone is no row.
        found.retain(|row| row.get("ms:removed").is_none());
        for row in &mut found {
            row.as_object_mut().expect("a row").retain(|name, _| !name.starts_with("ms:"));
        }
        assert_eq!(sorted(found), rows, "table {table}");
    }
    assert!(run.worker.world.letters().await.is_empty(), "no record was poison");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_derived_equals_a_pure_function_of_the_source(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        // Paused time: a guard against a run that never ends costs nothing.
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(24 * 3600), check(steps)).await.expect("the run ends");
        });
    }
}
