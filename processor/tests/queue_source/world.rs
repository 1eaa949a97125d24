//! A queue, the service that reads it, and where its changes go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use millstream_processor::clock::Clock;
use millstream_processor::host::worker::Worker;
use millstream_processor::letters::{Letter, LetterFilter, LetterStore};
use millstream_processor::outcome::Fault;
use millstream_processor::pipeline::Pipeline;
use millstream_processor::poller::Until;
use millstream_processor::poller::queue::{QueueHealth, QueueReader};
use millstream_processor::projections::config::Config;
use millstream_processor::projections::{KeyDigest, SourceName, Value};
use millstream_processor::retry::RetryPolicy;
use millstream_processor::setup;
use millstream_processor::sink::sns::SnsSink;
use millstream_processor::wiring::{self, Aws};
use millstream_test_support::embedded::Embedded;
use millstream_test_support::faults::RuleId;
use millstream_test_support::sns::Topics;
use millstream_test_support::sqs::Queues;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a message of the queue stays out of sight.
pub(crate) const VISIBILITY: Duration = Duration::from_secs(30);
/// No test takes so long, in its own time.
const GUARD: Duration = Duration::from_secs(86_400);

/// Faults that may pass are tried three times at most.
pub(crate) const HASTY: &str =
    "[pipeline]\nretry_initial = '10ms'\nretry_max = '20ms'\nretry_elapsed = '30ms'\n";

/// Rows of what the messages tell.
pub(crate) const ROWS: &str = r#"
[projection.rows]
kind = "replica"
from = "mail"
table = "Rows"
key = { id = "{id}" }
set = { n = "{n}" }
"#;

/// Events of what the messages tell, in the order of their keys.
pub(crate) const EVENTS: &str = r#"
[projection.events]
kind = "emit"
from = "mail"
topic = "arn:aws:sns:eu-west-1:000000000000:told"
include = ["n"]
"#;

/// A deployment whose one source is a queue.
pub(crate) struct World {
    pub(crate) db: Embedded,
    pub(crate) topics: Topics,
    pub(crate) queues: Queues,
    pub(crate) url: String,
    pub(crate) topic: String,
    pub(crate) config: Config,
    /// Where the queue is.
    sqs: aws_sdk_sqs::Client,
    clock: Arc<ManualClock>,
}

/// A reader at work.
pub(crate) struct Reading {
    pub(crate) health: watch::Receiver<QueueHealth>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), Fault>>,
}

#[derive(Debug)]
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl World {
    pub(crate) async fn new(queue: &str, projections: &str) -> Self {
        let queues = Queues::new();
        let url = queues.create(queue, VISIBILITY);
        let sqs = queues.sqs();
        Self::with_queue(queues, sqs, url, projections).await
    }

    /// A deployment whose queue is another server's.
    pub(crate) async fn elsewhere(sqs: aws_sdk_sqs::Client, url: String, projections: &str) -> Self {
        Self::with_queue(Queues::new(), sqs, url, projections).await
    }

    async fn with_queue(queues: Queues, sqs: aws_sdk_sqs::Client, url: String, projections: &str) -> Self {
        let (db, topics) = (Embedded::new(), Topics::new());
        let toml = format!("[source.mail]\nqueue = \"{url}\"\n{projections}");
        let config = Config::parse("test.toml", &toml, &|_| None).unwrap_or_else(|error| panic!("{error}"));
        setup::create_tables(&config, &Aws::from_config(db.backstage())).await.unwrap();
        db.create_table("Rows", "id", None, None).await;
        let clock = Arc::new(ManualClock(AtomicU64::new(1_750_000_000)));
        Self { topic: topics.create("told"), db, topics, queues, url, config, sqs, clock }
    }

    /// Sends the `n`-th change of an item, in the item's own group where the queue keeps an order.
    pub(crate) fn send(&self, id: &str, n: u64) {
        let group = self.url.ends_with(".fifo").then_some(id);
        self.queues.send(&self.url, &event(id, n), group);
    }

    /// Sets the wall clock.
    pub(crate) fn set_clock(&self, seconds: u64) {
        self.clock.0.store(seconds, Ordering::SeqCst);
    }

    fn pipeline(&self) -> Pipeline {
        let aws = Aws::from_config(self.db.sdk_config());
        let mut pipeline = wiring::pipeline(&self.config, &aws, self.clock.clone());
        pipeline.topics = Arc::new(SnsSink::new(self.topics.sns()));
        let retry = &pipeline.limits.retry;
        pipeline.limits.retry = RetryPolicy { chance: Arc::new(|| 0.5), ..retry.clone() };
        pipeline
    }

    pub(crate) async fn open(&self) -> Result<QueueReader, Fault> {
        let source = SourceName::new("mail").unwrap();
        QueueReader::open(source, self.sqs.clone(), self.url.as_str().into(), self.pipeline()).await
    }

    /// Reads until the test says stop.
    pub(crate) async fn read(&self) -> Reading {
        let reader = Arc::new(self.open().await.unwrap());
        let (stop, told) = watch::channel(false);
        let health = reader.health();
        Reading { health, stop, task: tokio::spawn(reader.run(Until::Told, told)) }
    }

    /// Reads until nothing is left.
    pub(crate) async fn drain(&self) {
        let queues = vec![Arc::new(self.open().await.unwrap())];
        let worker = Worker { streams: None, queues };
        let drained = worker.run(Until::Drained, std::future::pending());
        tokio::time::timeout(GUARD, drained).await.unwrap().unwrap();
    }

    /// Waits until the queue holds nothing any more.
    pub(crate) async fn emptied(&self) {
        tokio::time::timeout(GUARD, self.queues.emptied(&self.url)).await.unwrap();
    }

    /// Waits until a condition holds, which is looked at ten times a second of the test's own time.
    pub(crate) async fn until(&self, is_so: impl Fn() -> bool) {
        let looks = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(GUARD, looks).await.unwrap();
    }

    /// `id` and `n` of each row.
    pub(crate) async fn rows(&self) -> Vec<(String, u64)> {
        let rows = self.db.scan_all("Rows").await;
        let row = |row: &serde_json::Value| {
            (row["id"].as_str().unwrap().to_owned(), row["n"].as_f64().unwrap() as u64)
        };
        let mut rows: Vec<_> = rows.iter().map(row).collect();
        rows.sort();
        rows
    }

    /// `id` and `n` of each event that was published, in order.
    pub(crate) fn events(&self) -> Vec<(String, u64)> {
        let event = |message: &str| {
            let event: serde_json::Value = serde_json::from_str(message).unwrap();
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            (text(&event["data"]["keys"]["id"]["S"]), text(&event["data"]["new"]["n"]["N"]).parse().unwrap())
        };
        self.topics.published(&self.topic).iter().map(|published| event(&published.message)).collect()
    }

    pub(crate) async fn letters(&self) -> Vec<Letter> {
        let aws = Aws::from_config(self.db.backstage());
        let store: Arc<dyn LetterStore> = wiring::letters(&self.config, &aws, self.clock.clone());
        let heads: Vec<_> = store.list(&LetterFilter::default()).try_collect().await.unwrap();
        let mut letters = Vec::new();
        for head in heads {
            letters.push(store.load(&head.id).await.unwrap().unwrap());
        }
        letters
    }

    /// Mends what a rule broke, and counts the letters that were stored meanwhile.
    pub(crate) async fn letters_without_faults(&self, rule: RuleId) -> usize {
        self.db.faults().remove(rule);
        self.letters().await.len()
    }

    /// How often each message was received that is still there.
    pub(crate) fn receives(&self) -> Vec<u32> {
        self.queues.held(&self.url).iter().map(|held| held.receives).collect()
    }
}

impl Reading {
    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(GUARD, self.task).await.unwrap().unwrap().unwrap();
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    /// Waits until it ends by itself.
    pub(crate) async fn failed(self) -> Fault {
        tokio::time::timeout(GUARD, self.task).await.unwrap().unwrap().unwrap_err()
    }

    /// Whether something has to be mended, and what.
    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        self.health.borrow().trouble.clone()
    }
}

/// The event of the `n`-th change of an item, as an `emit` publishes it.
pub(crate) fn event(id: &str, n: u64) -> String {
    let keys = std::collections::HashMap::from([("id".to_owned(), Value::S(id.to_owned()))]);
    json!({
        "specversion": "1.0", "id": format!("{id}/{n}"), "source": "/millstream/elsewhere", "type": "changed.modify",
        "subject": KeyDigest::of(&keys.into()).as_str(), "msversion": format!("2025-06-15T15:06:40.001/{n:040}"),
        "data": {
            "kind": "MODIFY", "expired": false, "keys": { "id": { "S": id } },
            "new": { "id": { "S": id }, "n": { "N": n.to_string() } },
            "old": { "id": { "S": id }, "n": { "N": (n - 1).to_string() } },
        },
    })
    .to_string()
}

/// The same in the envelope that SNS puts around it without raw delivery.
pub(crate) fn enveloped(event: &str) -> String {
    json!({
        "Type": "Notification", "MessageId": "n-1", "TopicArn": "arn:aws:sns:eu-west-1:000000000000:changed",
        "Message": event, "Timestamp": "2026-01-01T00:00:00.000Z", "SignatureVersion": "1",
    })
    .to_string()
}

/// So many rows.
pub(crate) fn numbered(count: u64, n: u64) -> Vec<(String, u64)> {
    (0..count).map(|item| (format!("item-{item:04}"), n)).collect()
}
