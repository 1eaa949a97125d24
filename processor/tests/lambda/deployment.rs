//! One deployment whose function is the real `bootstrap` process, with its services on loopback sockets.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodbstreams::types::{Record, StreamViewType};
use millstream_processor::clock::SystemClock;
use millstream_processor::letters::{Letter, LetterFilter};
use millstream_processor::projections::config::Config;
use millstream_processor::setup;
use millstream_processor::wiring::{self, Aws};
use millstream_test_support::embedded::Embedded;
use millstream_test_support::event_source_mapping::{EventSourceMapping, Settings};
use millstream_test_support::lambda_event;
use millstream_test_support::runtime_api::{Function, FunctionError, RuntimeApi};
use millstream_test_support::served::Served;
use millstream_test_support::sns::Topics;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The binary that is deployed.
pub(crate) const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_bootstrap");
/// A deadline that no test comes near.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// Waits that fit a test: what may pass is tried again at once, and not for long.
pub(crate) const HASTY: &str = r#"
[pipeline]
retry_initial = "1ms"
retry_max = "10ms"
retry_elapsed = "300ms"
"#;
/// One replica, and what it needs.
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

/// A deployment under test.
pub(crate) struct Deployment {
    pub(crate) db: Embedded,
    pub(crate) topics: Topics,
    pub(crate) config: Config,
    /// Where the function finds its config file and what else it is given.
    pub(crate) env: Vec<(String, String)>,
    _files: TempDir,
    _sockets: [Served; 2],
}

impl Deployment {
    /// Services on sockets, our own tables, and a config file; no other tables and no function yet.
    pub(crate) async fn new(toml: &str) -> Self {
        let (db, topics) = (Embedded::new(), Topics::new());
        // The function judges the age of records by the clock of this machine.
        db.set_now(SystemTime::now());
        let sockets = [db.serve().await, topics.serve().await];
        let config = Config::parse("test.toml", toml, &|_| None).unwrap_or_else(|error| panic!("{error}"));
        let backstage = Aws::from_config(db.backstage());
        setup::create_tables(&config, &backstage).await.expect("our own tables");
        let files = TempDir::new().expect("the temporary folder is writable");
        let path = files.path().join("millstream.toml");
        std::fs::write(&path, toml).expect("the temporary folder is writable");
        let env = env(&path, sockets[0].endpoint(), sockets[1].endpoint());
        Self { db, topics, config, env, _files: files, _sockets: sockets }
    }

    /// The deployment of [`ORDERS`] with its tables.
    pub(crate) async fn orders() -> Self {
        let deployment = Self::new(&format!("{HASTY}{ORDERS}")).await;
        deployment.source("Orders", "orderId").await;
        deployment.table("Accounting", "orderId").await;
        deployment
    }

    /// Adds a table with a stream of both images.
    pub(crate) async fn source(&self, table: &str, key: &str) {
        self.db.create_table(table, key, None, Some(StreamViewType::NewAndOldImages)).await;
    }

    /// Adds a table without a stream.
    pub(crate) async fn table(&self, table: &str, key: &str) {
        self.db.create_table(table, key, None, None).await;
    }

    /// Puts an order.
    pub(crate) async fn order(&self, id: &str, total: u64) {
        self.db.put("Orders", json!({ "orderId": id, "total": total })).await;
    }

    /// Starts the function.
    pub(crate) async fn start(&self) -> Function {
        RuntimeApi::start().await.spawn(Path::new(BOOTSTRAP), &borrowed(&self.env))
    }

    /// The mapping from a table's stream to a function.
    pub(crate) async fn mapping(&self, table: &str, settings: Settings) -> EventSourceMapping {
        let clock = self.db.clone();
        let client = aws_sdk_dynamodbstreams::Client::new(&self.db.backstage());
        let arn = self.db.stream_arn(table).await;
        EventSourceMapping::new(client, &arn, settings).with_clock(move || clock.now())
    }

    /// The event with everything that a table's stream holds, and its records.
    pub(crate) async fn event(&self, table: &str) -> (Value, Vec<Record>) {
        let records = self.db.read_stream(table).await;
        (lambda_event::event(&self.db.stream_arn(table).await, &records), records)
    }

    /// The rows of a table without the attributes that are Millstream's own.
    pub(crate) async fn rows(&self, table: &str) -> Vec<Value> {
        let mut rows = self.db.scan_all(table).await;
        for row in &mut rows {
            row.as_object_mut().expect("a row").retain(|name, _| !name.starts_with("ms:"));
        }
        // They came in the order of their text, to which the guards belonged.
        rows.sort_by_key(Value::to_string);
        rows
    }

    /// Every letter with its record.
    pub(crate) async fn letters(&self) -> Vec<Letter> {
        use futures_util::TryStreamExt;
        let aws = Aws::from_config(self.db.backstage());
        let store = wiring::letters(&self.config, &aws, std::sync::Arc::new(SystemClock));
        let heads: Vec<_> =
            store.list(&LetterFilter::default()).try_collect().await.expect("letters can be listed");
        let mut letters = Vec::new();
        for head in heads {
            letters.push(store.load(&head.id).await.expect("a letter can be read").expect("it is there"));
        }
        letters
    }
}

/// The environment of a function beside what Lambda sets.
pub(crate) fn env(config: &Path, dynamodb: &str, sns: &str) -> Vec<(String, String)> {
    let config = config.to_str().expect("the temporary folder has a plain name");
    let pairs = [
        ("MILLSTREAM_CONFIG", config),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
        ("AWS_ENDPOINT_URL_SNS", sns),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// An environment as the test support takes it.
pub(crate) fn borrowed(env: &[(String, String)]) -> Vec<(&str, &str)> {
    env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Runs a function on one event with a deadline that it does not come near.
pub(crate) async fn invoke(function: &Function, event: &Value) -> Result<Value, FunctionError> {
    function.invoke(event, MINUTE).await
}

/// The identifiers that an answer names.
pub(crate) fn failures(answer: &Value) -> Vec<&str> {
    let failures = answer["batchItemFailures"].as_array().expect("always a list");
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().expect("a text")).collect()
}

/// A record's sequence number.
pub(crate) fn sequence(record: &Record) -> &str {
    record.dynamodb().and_then(|change| change.sequence_number()).expect("a record has a sequence number")
}
