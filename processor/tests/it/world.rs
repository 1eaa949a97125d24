//! One small deployment: an embedded DynamoDB, topics, a config, and the host that a Lambda would run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodbstreams::types::{Record, StreamViewType};
use bytes::Bytes;
use millstream_processor::clock::Clock;
use millstream_processor::host::lambda::{InvocationError, LambdaHost};
use millstream_processor::letters::{Letter, LetterFilter, LetterStore};
use millstream_processor::projections::config::Config;
use millstream_processor::retry::RetryPolicy;
use millstream_processor::setup;
use millstream_processor::sink::sns::SnsSink;
use millstream_processor::wiring::{self, Aws};
use millstream_test_support::embedded::Embedded;
use millstream_test_support::faults::FaultPlan;
use millstream_test_support::lambda_event;
use millstream_test_support::sns::Topics;
use serde_json::{Value, json};

/// A deployment under test.
pub(crate) struct World {
    pub(crate) db: Embedded,
    pub(crate) topics: Topics,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) config: Config,
}

/// A wall clock that the test sets.
#[derive(Debug, Default)]
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl World {
    /// A deployment with its own tables, and no others yet.
    pub(crate) async fn new(toml: &str) -> Self {
        let plan = FaultPlan::default();
        let (db, topics) = (Embedded::with_faults(plan.clone()), Topics::with_faults(plan));
        let config = Config::parse("test.toml", toml, &|_| None).unwrap_or_else(|error| panic!("{error}"));
        let world = Self { db, topics, clock: Arc::default(), config };
        let now = world.db.now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        world.clock.set(now.as_secs());
        let backstage = Aws::from_config(world.db.backstage());
        setup::create_tables(&world.config, &backstage).await.expect("own tables");
        world
    }

    /// The same deployment under another config.
    pub(crate) fn with_config(self, toml: &str) -> Self {
        let config = Config::parse("test.toml", toml, &|_| None).unwrap_or_else(|error| panic!("{error}"));
        Self { config, ..self }
    }

    /// Adds a table with a stream of both images.
    pub(crate) async fn source(&self, table: &str, key: &str) {
        self.db.create_table(table, key, None, Some(StreamViewType::NewAndOldImages)).await;
    }

    /// Adds a table without a stream.
    pub(crate) async fn table(&self, table: &str, key: &str) {
        self.db.create_table(table, key, None, None).await;
    }

    /// The host of a function, as its first invocation finds it.
    pub(crate) fn host(&self) -> LambdaHost {
        let aws = Aws::from_config(self.db.sdk_config());
        let mut pipeline = wiring::pipeline(&self.config, &aws, self.clock.clone());
        pipeline.topics = Arc::new(SnsSink::new(self.topics.sns()));
        let retry = &pipeline.limits.retry;
        pipeline.limits.retry = RetryPolicy { chance: Arc::new(|| 0.5), ..retry.clone() };
        LambdaHost { pipeline, sources: wiring::sources(&self.config), margin: Duration::from_secs(2) }
    }

    /// Hands an event to a fresh host, with a minute until its deadline.
    pub(crate) async fn invoke(&self, event: Value) -> Result<Value, InvocationError> {
        let deadline = SystemTime::now() + Duration::from_secs(60);
        let response = self.host().handle(Bytes::from(event.to_string()), deadline).await?;
        Ok(serde_json::to_value(response).expect("a response is JSON"))
    }

    /// Delivers some records of a table's stream and expects all of them to be done.
    pub(crate) async fn deliver(&self, table: &str, records: &[Record]) {
        assert_eq!(self.report(table, records).await, None, "everything is done");
    }

    /// Delivers some records and gives the identifier that the mapping is told, if any.
    pub(crate) async fn report(&self, table: &str, records: &[Record]) -> Option<String> {
        let arn = self.db.stream_arn(table).await;
        let response = self.invoke(lambda_event::event(&arn, records)).await.expect("an answer");
        let failures = response["batchItemFailures"].as_array().expect("always a list");
        assert!(failures.len() <= 1, "a stream has one checkpoint: {response}");
        failures.first().map(|failure| failure["itemIdentifier"].as_str().expect("a text").to_owned())
    }

    /// Delivers the whole stream of a table once and expects all of it to be done.
    pub(crate) async fn deliver_all(&self, table: &str) {
        let records = self.db.read_stream(table).await;
        self.deliver(table, &records).await;
    }

    /// The rows of a table without the attributes that are Millstream's own.
    pub(crate) async fn rows(&self, table: &str) -> Vec<Value> {
        let mut rows = self.db.scan_all(table).await;
        for row in &mut rows {
            row.as_object_mut().expect("a row").retain(|name, _| !name.starts_with("ms:"));
        }
        rows.sort_by_key(Value::to_string);
        rows
    }

    /// Every letter with its record.
    pub(crate) async fn letters(&self) -> Vec<Letter> {
        use futures_util::TryStreamExt;
        let aws = Aws::from_config(self.db.backstage());
        let store: Arc<dyn LetterStore> = wiring::letters(&self.config, &aws, self.clock.clone());
        let filter = LetterFilter::default();
        let heads: Vec<_> = store.list(&filter).try_collect().await.expect("letters can be listed");
        let mut letters = Vec::new();
        for head in heads {
            letters.push(store.load(&head.id).await.expect("a letter can be read").expect("it is there"));
        }
        letters
    }

    /// The messages on a topic as an SQS event for a queue that is subscribed to it.
    pub(crate) fn queue_event(&self, topic: &str, queue: &str) -> Value {
        let arn = format!("arn:aws:sqs:eu-west-1:000000000000:{queue}");
        let records: Vec<Value> = self
            .topics
            .published(topic)
            .into_iter()
            .map(|message| {
                let envelope = json!({
                    "Type": "Notification", "MessageId": message.message_id, "TopicArn": topic,
                    "Message": message.message, "Timestamp": "2026-01-01T00:00:00.000Z",
                });
                json!({
                    "messageId": message.message_id, "receiptHandle": "r", "body": envelope.to_string(),
                    "attributes": {}, "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs",
                    "eventSourceARN": arn, "awsRegion": "eu-west-1",
                })
            })
            .collect();
        json!({ "Records": records })
    }
}

/// A record's sequence number.
pub(crate) fn sequence(record: &Record) -> &str {
    record.dynamodb().and_then(|change| change.sequence_number()).expect("a record has a sequence number")
}
