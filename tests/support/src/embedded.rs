//! An in-process DynamoDB with streams, spoken to by the real AWS SDK's clients.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_dynamodbstreams::types::Record;
use dynoxide::Database;
use dynoxide::storage_backend::{Clock, ManualClock};
use serde_json::{Map, Value, json};

pub use crate::stream_reader::read_stream;
pub use aws_sdk_dynamodbstreams::types::StreamViewType;

use crate::connector::sdk_config;
use crate::engine::Engine;
use crate::faults::{FaultPlan, Logged};
use crate::lineage::Lineage;
use crate::served::Served;

/// Where the manual clock starts: 2025-06-15T15:06:40Z.
pub const START: u64 = 1_750_000_000;

/// A DynamoDB in the process: dynoxide behind the HTTP connector of real SDK clients.
///
/// The clients go through the fault plan and its log. The helpers (`put`, `read_stream` and so on) do neither:
/// they are the hand of the test, not the code under test. dynoxide's differences from AWS in what a stream shows
/// are mended on the way (`lineage.rs`). What stays different: an index is never behind, `ConsistentRead` does
/// nothing, no conflict or throttle occurs unless it is scripted, and TTL deletes only on [`Embedded::sweep_ttl`].
#[derive(Clone, Debug)]
pub struct Embedded {
    engine: Engine,
    clock: ManualClock,
    faults: FaultPlan,
}

impl Default for Embedded {
    fn default() -> Self {
        Self::new()
    }
}

impl Embedded {
    /// An empty database, its clock at [`START`].
    pub fn new() -> Self {
        Self::with_faults(FaultPlan::default())
    }

    /// An empty database on a plan that other doubles may share, so that one crash cuts them all.
    pub fn with_faults(faults: FaultPlan) -> Self {
        let clock = ManualClock::new(START);
        let database = Database::memory_with_clock(clock.arc()).expect("SQLite opens in memory");
        Self { engine: Engine { database, lineage: Lineage::new(clock.clone()) }, clock, faults }
    }

    /// A client configuration of the code under test: dummy credentials, no retries, this database.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(Arc::new(self.engine.clone()), Some(self.faults.clone()))
    }

    /// A DynamoDB client of the code under test.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk_config())
    }

    /// A streams client of the code under test.
    pub fn streams(&self) -> aws_sdk_dynamodbstreams::Client {
        aws_sdk_dynamodbstreams::Client::new(&self.sdk_config())
    }

    /// A client configuration of the test itself: no faults, no log.
    pub fn backstage(&self) -> SdkConfig {
        sdk_config(Arc::new(self.engine.clone()), None)
    }

    /// Serves the database, its streams and its faults on a socket, for processes under test.
    pub async fn serve(&self) -> Served {
        Served::start(Arc::new(self.engine.clone()), self.faults.clone()).await
    }

    /// dynoxide itself. Streams are not to be switched on or off here: the connector would not know.
    pub fn database(&self) -> &Database {
        &self.engine.database
    }

    /// What goes wrong on the connector.
    pub fn faults(&self) -> &FaultPlan {
        &self.faults
    }

    /// Every request of the code under test, in order.
    pub fn requests(&self) -> Vec<Logged> {
        self.faults.requests()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.faults.clear_requests();
    }

    /// The time that the database thinks it is.
    pub fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(self.clock.now_unix_secs_f64())
    }

    /// Sets the database's clock.
    pub fn set_now(&self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).expect("the clock is after 1970");
        self.clock.set(since.as_secs());
        self.clock.tick(Duration::from_nanos(since.subsec_nanos().into()));
    }

    /// Moves the database's clock on.
    pub fn advance(&self, by: Duration) {
        self.clock.tick(by);
    }

    /// Performs one operation in DynamoDB's JSON, around the faults and the log. Panics if it is refused.
    pub async fn perform(&self, operation: &str, body: Value) -> Value {
        let (engine, operation) = (self.engine.clone(), operation.to_owned());
        tokio::task::spawn_blocking(move || match engine.perform(&operation, &body) {
            Ok(response) => response,
            Err(refused) => panic!("{operation} {body}: {}", refused.body),
        })
        .await
        .expect("the helper's operation is accepted")
    }

    /// Creates a table. A key is a name, with its type after a colon if it is not text: `"at:N"`.
    pub async fn create_table(
        &self,
        name: &str,
        hash: &str,
        range: Option<&str>,
        stream: Option<StreamViewType>,
    ) {
        let table = table(name, hash, range, stream);
        self.perform("CreateTable", table).await;
    }

    /// Creates a table with one index over all attributes: its name, its hash key, its range key if any.
    pub async fn create_table_with_index(
        &self,
        name: &str,
        hash: &str,
        range: Option<&str>,
        stream: Option<StreamViewType>,
        index: (&str, &str, Option<&str>),
    ) {
        let mut table = table(name, hash, range, stream);
        let keys: Vec<&str> = std::iter::once(index.1).chain(index.2).collect();
        let attributes = table["AttributeDefinitions"].as_array_mut().expect("it was just made");
        for attribute in definitions(&keys) {
            if !attributes.contains(&attribute) {
                attributes.push(attribute);
            }
        }
        table["GlobalSecondaryIndexes"] = json!([{
            "IndexName": index.0, "KeySchema": key_schema(&keys), "Projection": { "ProjectionType": "ALL" },
        }]);
        self.perform("CreateTable", table).await;
    }

    /// Puts an item given as plain JSON.
    pub async fn put(&self, table: &str, item: Value) {
        self.put_typed(table, typed(&item)).await;
    }

    /// Puts an item given in DynamoDB's JSON, for sets and binary values.
    pub async fn put_typed(&self, table: &str, item: Value) {
        self.perform("PutItem", json!({ "TableName": table, "Item": item })).await;
    }

    /// Deletes the item with this key, given as plain JSON.
    pub async fn delete(&self, table: &str, key: Value) {
        self.perform("DeleteItem", json!({ "TableName": table, "Key": typed(&key) })).await;
    }

    /// The item with this key, both as plain JSON.
    pub async fn get(&self, table: &str, key: Value) -> Option<Value> {
        self.get_typed(table, typed(&key)).await.map(|item| plain(&item))
    }

    /// The item with this key, both in DynamoDB's JSON.
    pub async fn get_typed(&self, table: &str, key: Value) -> Option<Value> {
        let mut response = self.perform("GetItem", json!({ "TableName": table, "Key": key })).await;
        Some(response["Item"].take()).filter(Value::is_object)
    }

    /// Every item as plain JSON, sorted by its text so that two tables can be compared.
    pub async fn scan_all(&self, table: &str) -> Vec<Value> {
        let mut items: Vec<Value> = self.scan_typed(table).await.iter().map(plain).collect();
        items.sort_by_key(Value::to_string);
        items
    }

    /// Every item in DynamoDB's JSON, sorted by its text.
    pub async fn scan_typed(&self, table: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut request = json!({ "TableName": table });
        loop {
            let mut page = self.perform("Scan", request.clone()).await;
            items.extend(page["Items"].as_array().expect("a scan has items").iter().cloned());
            if page["LastEvaluatedKey"].is_null() {
                break;
            }
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"].take();
        }
        items.sort_by_key(Value::to_string);
        items
    }

    /// Deletes what has expired by the database's clock, as the TTL service does; gives the number of items.
    pub async fn sweep_ttl(&self) -> usize {
        let database = self.engine.database.clone();
        tokio::task::spawn_blocking(move || database.sweep_ttl()).await.unwrap().unwrap()
    }

    /// Lets items expire by this attribute.
    pub async fn enable_ttl(&self, table: &str, attribute: &str) {
        let spec = json!({ "Enabled": true, "AttributeName": attribute });
        self.perform("UpdateTimeToLive", json!({ "TableName": table, "TimeToLiveSpecification": spec }))
            .await;
    }

    /// The ARN of the table's current stream.
    pub async fn stream_arn(&self, table: &str) -> String {
        let described = self.perform("DescribeTable", json!({ "TableName": table })).await;
        let arn = described["Table"]["LatestStreamArn"].as_str();
        arn.unwrap_or_else(|| panic!("{table} has no stream")).to_owned()
    }

    /// Switches the table's stream off. It stays readable under its ARN.
    pub async fn disable_stream(&self, table: &str) {
        let spec = json!({ "StreamEnabled": false });
        self.perform("UpdateTable", json!({ "TableName": table, "StreamSpecification": spec })).await;
    }

    /// Switches a new stream on, with a new ARN.
    pub async fn enable_stream(&self, table: &str, view: StreamViewType) {
        let spec = json!({ "StreamEnabled": true, "StreamViewType": view.as_str() });
        self.perform("UpdateTable", json!({ "TableName": table, "StreamSpecification": spec })).await;
    }

    /// Closes each open shard of the current stream and opens one child of it, as AWS does about every 4 hours.
    pub fn roll_shards(&self, table: &str) {
        self.engine.lineage.roll(&self.engine.database, table, 1);
    }

    /// Closes each open shard of the current stream and opens two children that share its keys.
    pub fn split_shards(&self, table: &str) {
        self.engine.lineage.roll(&self.engine.database, table, 2);
    }

    /// Makes every record so far older than 24 hours: reading them is `TrimmedDataAccessException`.
    pub fn trim_stream(&self, table: &str) {
        self.engine.lineage.trim(&self.engine.database, table);
    }

    /// Every record of the table's current stream, oldest first.
    pub async fn read_stream(&self, table: &str) -> Vec<Record> {
        let client = aws_sdk_dynamodbstreams::Client::new(&self.backstage());
        read_stream(&client, &self.stream_arn(table).await).await
    }
}

/// Plain JSON as DynamoDB's: text `S`, numbers `N`, and so on. Only members of the top object become attributes.
pub fn typed(item: &Value) -> Value {
    let members = item.as_object().expect("an item is a JSON object");
    members.iter().map(|(name, value)| (name.clone(), attribute(value))).collect::<Map<_, _>>().into()
}

/// DynamoDB's JSON as plain JSON. A number that no `i64`, `u64` or `f64` holds exactly stays text.
pub fn plain(item: &Value) -> Value {
    let members = item.as_object().expect("an item is a JSON object");
    members.iter().map(|(name, value)| (name.clone(), unwrap_attribute(value))).collect::<Map<_, _>>().into()
}

fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "NULL": true }),
        Value::Bool(it) => json!({ "BOOL": it }),
        Value::Number(it) => json!({ "N": it.to_string() }),
        Value::String(it) => json!({ "S": it }),
        Value::Array(all) => json!({ "L": all.iter().map(attribute).collect::<Vec<_>>() }),
        Value::Object(_) => json!({ "M": typed(value) }),
    }
}

fn unwrap_attribute(value: &Value) -> Value {
    let (kind, inner) = value.as_object().and_then(|it| it.iter().next()).expect("an attribute has a type");
    match (kind.as_str(), inner) {
        ("NULL", _) => Value::Null,
        ("N", Value::String(text)) => number(text),
        ("NS", Value::Array(all)) => all.iter().filter_map(Value::as_str).map(number).collect(),
        ("L", Value::Array(all)) => all.iter().map(unwrap_attribute).collect(),
        ("M", map) => plain(map),
        (_, other) => other.clone(),
    }
}

fn number(text: &str) -> Value {
    let exact = |it: &Value| {
        let shown = it.to_string();
        shown == text
    };
    serde_json::from_str(text).ok().filter(exact).unwrap_or_else(|| text.into())
}

fn table(name: &str, hash: &str, range: Option<&str>, stream: Option<StreamViewType>) -> Value {
    let keys: Vec<&str> = std::iter::once(hash).chain(range).collect();
    let mut table = json!({
        "TableName": name,
        "KeySchema": key_schema(&keys),
        "AttributeDefinitions": definitions(&keys),
        "BillingMode": "PAY_PER_REQUEST",
    });
    if let Some(view) = stream {
        table["StreamSpecification"] = json!({ "StreamEnabled": true, "StreamViewType": view.as_str() });
    }
    table
}

fn key_schema(keys: &[&str]) -> Value {
    let kinds = ["HASH", "RANGE"];
    let name = |key: &str| key.split(':').next().unwrap_or_default().to_owned();
    keys.iter().zip(kinds).map(|(key, kind)| json!({ "AttributeName": name(key), "KeyType": kind })).collect()
}

fn definitions(keys: &[&str]) -> Vec<Value> {
    let split = |key: &&str| {
        let (name, kind) = key.split_once(':').unwrap_or((key, "S"));
        json!({ "AttributeName": name, "AttributeType": kind })
    };
    keys.iter().map(split).collect()
}
