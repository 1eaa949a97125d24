//! What each request has to be allowed, as AWS's Service Authorization Reference says it for the calls that are made here.

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::Value;

use super::{Authority, Right, lock};
use crate::connector::{ACCOUNT, REGION};

/// A request as IAM sees it.
pub(super) struct Request {
    /// The service, as in `dynamodb:PutItem`.
    pub(super) service: Service,
    /// The operation, as in its protocol.
    pub(super) operation: String,
    body: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    DynamoDb,
    Sns,
    Sqs,
    S3,
}

impl Request {
    pub(super) fn read(request: &HttpRequest) -> Self {
        let bytes = request.body().bytes().unwrap_or_default();
        if let Some(target) = request.headers().get("x-amz-target") {
            let (service, operation) =
                target.split_once('.').expect("a target is a service and an operation");
            let service = match service {
                "DynamoDB_20120810" | "DynamoDBStreams_20120810" => Service::DynamoDb,
                "AmazonSQS" => Service::Sqs,
                other => panic!("no test speaks to {other}"),
            };
            let body = serde_json::from_slice(bytes).expect("the SDK sends valid JSON");
            return Self { service, operation: operation.to_owned(), body };
        }
        let form: serde_json::Map<String, Value> = form_urlencoded::parse(bytes)
            .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
            .collect();
        if let Some(operation) = form.get("Action").and_then(Value::as_str) {
            let operation = operation.to_owned();
            return Self { service: Service::Sns, operation, body: form.into() };
        }
        Self::of_s3(request)
    }

    /// S3 has its bucket and key in the path.
    fn of_s3(request: &HttpRequest) -> Self {
        let uri = request.uri();
        let path = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        let path = path.split_once('/').map_or("", |(_, path)| path);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let operation = match (request.method(), key.is_empty()) {
            ("GET", true) if query.contains("list-type=2") => "ListBucket",
            ("GET", false) => "GetObject",
            ("PUT", false) => "PutObject",
            other => panic!("no test asks S3 for {other:?} of {uri}"),
        };
        let object = if key.is_empty() { bucket.to_owned() } else { format!("{bucket}/{key}") };
        Self { service: Service::S3, operation: operation.to_owned(), body: Value::from(object) }
    }

    /// Everything that has to be allowed, or the request is denied as a whole.
    pub(super) fn rights(&self, authority: &Authority) -> Vec<Right> {
        match self.service {
            Service::DynamoDb => self.of_dynamodb(authority),
            // A batch is allowed by what its entries are.
            Service::Sns => {
                let action = self.operation.trim_end_matches("Batch");
                vec![Right::new(format!("sns:{action}"), self.text("TopicArn"))]
            }
            Service::Sqs => {
                let action = self.operation.trim_end_matches("Batch");
                vec![Right::new(format!("sqs:{action}"), queue(self.text("QueueUrl")))]
            }
            Service::S3 => {
                let arn = format!("arn:aws:s3:::{}", self.body.as_str().unwrap_or_default());
                vec![Right::new(format!("s3:{}", self.operation), arn)]
            }
        }
    }

    fn of_dynamodb(&self, authority: &Authority) -> Vec<Right> {
        let right = |action: &str, resource: String| Right::new(format!("dynamodb:{action}"), resource);
        match self.operation.as_str() {
            "TransactWriteItems" => {
                let items = self.body["TransactItems"].as_array().expect("a transaction has items");
                let actions = items.iter().map(|item| {
                    let (kind, action) = item.as_object().and_then(|it| it.iter().next()).expect("an action");
                    let name = match kind.as_str() {
                        "Put" => "PutItem",
                        "Update" => "UpdateItem",
                        "Delete" => "DeleteItem",
                        "ConditionCheck" => "ConditionCheckItem",
                        other => panic!("no action of a transaction is called {other}"),
                    };
                    right(name, table(action["TableName"].as_str().unwrap_or_default()))
                });
                actions.collect()
            }
            "BatchGetItem" => {
                let tables = self.body["RequestItems"].as_object().expect("a batch has tables");
                tables.keys().map(|name| right("BatchGetItem", table(name))).collect()
            }
            "Query" => {
                let mut resource = table(self.text("TableName"));
                if let Some(index) = self.body["IndexName"].as_str() {
                    resource = format!("{resource}/index/{index}");
                }
                vec![right("Query", resource)]
            }
            // The streams of one table, as AWS's guide narrows it down.
            "ListStreams" => vec![right("ListStreams", format!("{}/stream/", table(self.text("TableName"))))],
            operation @ ("DescribeStream" | "GetShardIterator") => {
                vec![right(operation, self.text("StreamArn").to_owned())]
            }
            "GetRecords" => {
                let iterators = lock(&authority.0.iterators);
                let stream = iterators.get(self.text("ShardIterator")).cloned();
                vec![right("GetRecords", stream.expect("an iterator comes from an answer"))]
            }
            operation => vec![right(operation, table(self.text("TableName")))],
        }
    }

    /// Remembers which stream an iterator in an answer is of.
    pub(super) fn learn(&self, authority: &Authority, answer: &[u8]) {
        let (stream, member) = match self.operation.as_str() {
            "GetShardIterator" => (Some(self.text("StreamArn").to_owned()), "ShardIterator"),
            "GetRecords" => {
                let iterators = lock(&authority.0.iterators);
                (iterators.get(self.text("ShardIterator")).cloned(), "NextShardIterator")
            }
            _ => return,
        };
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        if let (Some(stream), Some(iterator)) = (stream, answer[member].as_str()) {
            lock(&authority.0.iterators).insert(iterator.to_owned(), stream);
        }
    }

    fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }
}

fn table(name: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}")
}

fn queue(url: &str) -> String {
    let name = url.rsplit('/').next().unwrap_or_default();
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}
