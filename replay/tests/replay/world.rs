//! One small deployment: an embedded DynamoDB, topics, a store of letters, and a desk for any config.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodbstreams::types::StreamViewType;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use millstream_processor::clock::Clock;
use millstream_processor::host::lambda::LambdaHost;
use millstream_processor::ledger::Ledger;
use millstream_processor::letters::{AuditEntry, Letter, LetterFilter, LetterHead, LetterState};
use millstream_processor::pipeline::Pipeline;
use millstream_processor::projections::config::Config;
use millstream_processor::retry::RetryPolicy;
use millstream_processor::setup;
use millstream_processor::sink::dynamodb::DynamoDbSink;
use millstream_processor::sink::sns::SnsSink;
use millstream_processor::wiring::{self, Aws};
use millstream_replay::apply::{Applied, Brake, Pace, Progress, Selection, apply};
use millstream_replay::desk::Desk;
use millstream_replay::plan::{LetterPlan, plan};
use millstream_test_support::embedded::{Embedded, START};
use millstream_test_support::faults::FaultPlan;
use millstream_test_support::lambda_event;
use millstream_test_support::sns::Topics;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The totals are copied; an order without one is poison.
pub(crate) const ORDERS: &str = r#"
[source.orders]
table = "Orders"
[projection.accounting]
kind = "replica"
from = "orders"
table = "Accounting"
key = { orderId = "{orderId}" }
set = { total = "{total}" }
"#;

/// The same, with the cause mended.
pub(crate) fn mended() -> String {
    ORDERS.replace("{total}", "{total?}")
}

/// Events of orders; an order without a status is poison.
pub(crate) const EVENTS: &str = r#"
[source.orders]
table = "Orders"
[projection.order-changed]
kind = "emit"
from = "orders"
where = "new.status != 'DRAFT'"
topic = "arn:aws:sns:eu-west-1:000000000000:orders"
include = ["status", "n"]
"#;

/// The same, with the cause mended.
pub(crate) fn mended_events() -> String {
    EVENTS.replace("where = \"new.status != 'DRAFT'\"\n", "")
}

/// A wall clock that stands still until it is set.
struct StandingClock(AtomicU64);

impl Clock for StandingClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A deployment under test.
pub(crate) struct World {
    pub(crate) db: Embedded,
    pub(crate) topics: Topics,
    directory: Option<TempDir>,
    clock: Arc<StandingClock>,
}

impl World {
    /// A deployment whose letters are in a table.
    pub(crate) async fn table() -> Self {
        Self::new(None).await
    }

    /// A deployment for each store of letters.
    pub(crate) async fn each() -> [Self; 2] {
        [Self::table().await, Self::new(Some(TempDir::new().unwrap())).await]
    }

    async fn new(directory: Option<TempDir>) -> Self {
        let plan = FaultPlan::default();
        let (db, topics) = (Embedded::with_faults(plan.clone()), Topics::with_faults(plan));
        let clock = Arc::new(StandingClock(AtomicU64::new(START + 60)));
        let world = Self { db, topics, directory, clock };
        world.topics.create("orders");
        let backstage = Aws::from_config(world.db.backstage());
        setup::create_tables(&world.config(ORDERS), &backstage).await.unwrap();
        let view = Some(StreamViewType::NewAndOldImages);
        world.db.create_table("Orders", "orderId", None, view).await;
        world.db.create_table("Accounting", "orderId", None, None).await;
        world
    }

    pub(crate) fn config(&self, toml: &str) -> Config {
        let store = self.directory.as_ref().map_or_else(String::new, |directory| {
            format!("[letters]\nstore = {{ directory = {:?} }}\n", directory.path().join("letters"))
        });
        let toml = format!("{toml}{store}");
        Config::parse("test.toml", &toml, &|_| None).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A desk under a config, as an operator of that name has it.
    pub(crate) fn desk(&self, toml: &str) -> Desk {
        self.desk_of(toml, "kim")
    }

    pub(crate) fn desk_of(&self, toml: &str, by: &str) -> Desk {
        let (config, clock) = (self.config(toml), self.clock.clone());
        let aws = Aws::from_config(self.db.sdk_config());
        let mut pipeline = wiring::pipeline(&config, &aws, clock.clone());
        pipeline.topics = Arc::new(SnsSink::new(self.topics.sns()));
        let retry = RetryPolicy { chance: Arc::new(|| 0.5), ..pipeline.limits.retry.clone() };
        pipeline.limits.retry = retry;
        let ledger = Ledger::of(&config.state);
        Desk {
            pipeline,
            rows: Arc::new(DynamoDbSink::new(aws.dynamodb(), ledger, clock)),
            sources: config.sources.iter().map(|source| source.name.clone()).collect(),
            tombstones: config.state.tombstones,
            by: by.to_owned(),
        }
    }

    /// Puts an order without a total if `total` is none.
    pub(crate) async fn order(&self, id: &str, total: Option<u64>) {
        let mut item = json!({ "orderId": id, "n": self.db.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() });
        if let Some(total) = total {
            item["total"] = json!(total);
        }
        self.db.put("Orders", item).await;
    }

    /// Time goes by, for the database and for whoever is at a desk; what expires meanwhile is removed.
    pub(crate) async fn later(&self, by: Duration) {
        self.db.advance(by);
        self.clock.0.fetch_add(by.as_secs(), Ordering::Relaxed);
        self.db.sweep_ttl().await;
    }

    /// The stream from a record on, delivered to a function of that config; all of it has to be done.
    pub(crate) async fn deliver_from(&self, toml: &str, first: usize) {
        self.deliver_to(self.desk(toml).pipeline, toml, first).await;
    }

    /// The same, to a function with another pipeline.
    pub(crate) async fn deliver_to(&self, pipeline: Pipeline, toml: &str, first: usize) {
        let records = self.db.read_stream("Orders").await;
        let event = lambda_event::event(&self.db.stream_arn("Orders").await, &records[first..]);
        let config = self.config(toml);
        let host = LambdaHost { pipeline, sources: wiring::sources(&config), margin: Duration::from_secs(2) };
        let deadline = SystemTime::now() + Duration::from_secs(600);
        let answer = host.handle(Bytes::from(event.to_string()), deadline).await.unwrap();
        assert!(answer.batch_item_failures.is_empty(), "{answer:?}");
    }

    pub(crate) async fn deliver(&self, toml: &str) {
        self.deliver_from(toml, 0).await;
    }

    /// The rows of the read model, without what is Millstream's own.
    pub(crate) async fn rows(&self) -> Vec<Value> {
        let mut rows = self.db.scan_all("Accounting").await;
        for row in &mut rows {
            row.as_object_mut().unwrap().retain(|name, _| !name.starts_with("ms:"));
        }
        rows.sort_by_key(Value::to_string);
        rows
    }

    /// The letters in some states, around the faults.
    pub(crate) async fn letters(&self, states: &[LetterState]) -> Vec<Letter> {
        let filter = LetterFilter { states: states.to_vec(), ..LetterFilter::default() };
        let store = self.store();
        let heads: Vec<LetterHead> = store.list(&filter).try_collect().await.unwrap();
        let mut letters = Vec::new();
        for head in heads {
            letters.push(store.load(&head.id).await.unwrap().unwrap());
        }
        letters
    }

    /// Where the letters are files.
    pub(crate) fn letter_files(&self) -> Option<std::path::PathBuf> {
        self.directory.as_ref().map(|directory| directory.path().join("letters"))
    }

    pub(crate) async fn trail(&self) -> Vec<AuditEntry> {
        self.store().trail().try_collect().await.unwrap()
    }

    fn store(&self) -> Arc<dyn millstream_processor::letters::LetterStore> {
        let aws = Aws::from_config(self.db.backstage());
        wiring::letters(&self.config(ORDERS), &aws, self.clock.clone())
    }

    /// The `n` of every event that was published, in order.
    pub(crate) fn published(&self) -> Vec<u64> {
        let topic = "arn:aws:sns:eu-west-1:000000000000:orders";
        let number = |message: &str| {
            let event: Value = serde_json::from_str(message).unwrap();
            event["data"]["new"]["n"]["N"].as_str().unwrap().parse().unwrap()
        };
        self.topics.published(topic).iter().map(|message| number(&message.message)).collect()
    }
}

pub(crate) fn all() -> Selection {
    Selection::Filter(LetterFilter::default())
}

pub(crate) async fn apply_all(desk: &Desk) -> Applied {
    apply(desk, all(), Pace::default(), &Brake::default(), &|_: Progress<'_>| ()).await.unwrap()
}

pub(crate) async fn plans(desk: &Desk) -> Vec<LetterPlan> {
    let filter = LetterFilter::default();
    plan(desk, &filter, false).map(Result::unwrap).collect().await
}
