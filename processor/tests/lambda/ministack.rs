//! The whole chain over the services of ministack: DynamoDB stream, `emit`, SNS, SQS, the rows of the other service; and its Lambda.

use std::path::Path;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, StreamViewType,
};
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millstream_processor::projections::config::Config;
use millstream_processor::setup;
use millstream_processor::wiring::Aws;
use millstream_test_support::embedded::read_stream;
use millstream_test_support::emulators::Ministack;
use millstream_test_support::lambda_event;
use millstream_test_support::runtime_api::{Function, RuntimeApi};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::deployment::{BOOTSTRAP, borrowed, env, invoke};

/// Both services' projections in one file, as one function may well have them.
fn config(topic: &str, queue: &str) -> String {
    format!(
        r#"
[source.companies]
table = "CompanyProfile"

[source.company-events]
queue = "{queue}"

[projection.company-changed]
kind = "emit"
from = "companies"
changed = ["name"]
topic = "{topic}"
include = ["name"]

[projection.names]
kind = "replica"
from = "company-events"
table = "CompanyNames"
key = {{ companyId = "{{companyId}}" }}
set = {{ name = "{{name}}" }}
"#
    )
}

struct Services {
    dynamodb: aws_sdk_dynamodb::Client,
    streams: aws_sdk_dynamodbstreams::Client,
    sqs: aws_sdk_sqs::Client,
    queue: String,
    queue_arn: String,
}

impl Services {
    /// The tables of both services, a topic, a queue that is subscribed to it; gives the topic too.
    async fn set_up(sdk: &SdkConfig) -> (Self, String) {
        let dynamodb = aws_sdk_dynamodb::Client::new(sdk);
        create_table(&dynamodb, "CompanyProfile", true).await;
        create_table(&dynamodb, "CompanyNames", false).await;
        let (sns, sqs) = (aws_sdk_sns::Client::new(sdk), aws_sdk_sqs::Client::new(sdk));
        let topic = sns.create_topic().name("company-changed").send().await.expect("a topic");
        let topic = topic.topic_arn.expect("a topic has an ARN");
        let queue = sqs.create_queue().queue_name("company-events").send().await.expect("a queue");
        let queue = queue.queue_url.expect("a queue has a URL");
        let arn = QueueAttributeName::QueueArn;
        let attributes =
            sqs.get_queue_attributes().queue_url(&queue).attribute_names(arn.clone()).send().await;
        let attributes = attributes.expect("attributes").attributes.expect("attributes");
        let queue_arn = attributes[&arn].clone();
        sns.subscribe()
            .topic_arn(&topic)
            .protocol("sqs")
            .endpoint(&queue_arn)
            .send()
            .await
            .expect("subscribed");
        let streams = aws_sdk_dynamodbstreams::Client::new(sdk);
        (Self { dynamodb, streams, sqs, queue, queue_arn }, topic)
    }

    async fn put(&self, company: &str, name: &str, staff: u64) {
        self.dynamodb
            .put_item()
            .table_name("CompanyProfile")
            .item("companyId", AttributeValue::S(company.to_owned()))
            .item("name", AttributeValue::S(name.to_owned()))
            .item("staff", AttributeValue::N(staff.to_string()))
            .send()
            .await
            .expect("put");
    }

    async fn delete(&self, company: &str) {
        let key = AttributeValue::S(company.to_owned());
        self.dynamodb
            .delete_item()
            .table_name("CompanyProfile")
            .key("companyId", key)
            .send()
            .await
            .expect("deleted");
    }

    async fn stream_arn(&self) -> String {
        let table =
            self.dynamodb.describe_table().table_name("CompanyProfile").send().await.expect("a table");
        table.table.and_then(|table| table.latest_stream_arn).expect("a stream")
    }

    /// The event with everything that the stream holds.
    async fn stream_event(&self) -> Value {
        let arn = self.stream_arn().await;
        lambda_event::event(&arn, &read_stream(&self.streams, &arn).await)
    }

    /// The event that Lambda's mapping makes of everything that waits in the queue, which is emptied.
    async fn queue_event(&self) -> Value {
        let mut records = Vec::new();
        loop {
            let page =
                self.sqs.receive_message().queue_url(&self.queue).max_number_of_messages(10).send().await;
            let messages = page.expect("messages").messages.unwrap_or_default();
            if messages.is_empty() {
                return json!({ "Records": records });
            }
            for message in messages {
                let handle = message.receipt_handle().expect("a message has a handle");
                self.sqs
                    .delete_message()
                    .queue_url(&self.queue)
                    .receipt_handle(handle)
                    .send()
                    .await
                    .expect("deleted");
                records.push(self.queue_record(&message));
            }
        }
    }

    fn queue_record(&self, message: &Message) -> Value {
        json!({
            "messageId": message.message_id(), "receiptHandle": message.receipt_handle(), "body": message.body(),
            "attributes": {}, "messageAttributes": {}, "md5OfBody": message.md5_of_body(),
            "eventSource": "aws:sqs", "eventSourceARN": self.queue_arn, "awsRegion": "eu-west-1",
        })
    }

    /// Company and name of each row of the other service.
    async fn names(&self) -> Vec<(String, String)> {
        let scan = self.dynamodb.scan().table_name("CompanyNames").consistent_read(true).send().await;
        let text = |value: &AttributeValue| value.as_s().expect("a text").clone();
        let items = scan.expect("a scan").items.unwrap_or_default();
        let mut names: Vec<_> =
            items.iter().map(|item| (text(&item["companyId"]), text(&item["name"]))).collect();
        names.sort();
        names
    }
}

async fn create_table(client: &aws_sdk_dynamodb::Client, name: &str, streams: bool) {
    let key = KeySchemaElement::builder().attribute_name("companyId").key_type(KeyType::Hash).build();
    let attribute = AttributeDefinition::builder()
        .attribute_name("companyId")
        .attribute_type(ScalarAttributeType::S)
        .build();
    let stream = StreamSpecification::builder().stream_enabled(streams);
    let stream = if streams { stream.stream_view_type(StreamViewType::NewAndOldImages) } else { stream };
    client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key.expect("a key"))
        .attribute_definitions(attribute.expect("an attribute"))
        .set_stream_specification(streams.then(|| stream.build().expect("a stream")))
        .send()
        .await
        .expect("a table");
}

async fn start(folder: &TempDir, toml: &str, endpoint: &str) -> Function {
    let path = folder.path().join("millstream.toml");
    std::fs::write(&path, toml).expect("the temporary folder is writable");
    let env = env(&path, endpoint, endpoint);
    RuntimeApi::start().await.spawn(Path::new(BOOTSTRAP), &borrowed(&env))
}

/// ministack with the services, our own tables, and the config that names them.
async fn deploy() -> (Ministack, Services, String) {
    let ministack = Ministack::start().await;
    let sdk = ministack.sdk_config();
    let (services, topic) = Services::set_up(&sdk).await;
    let toml = config(&topic, &services.queue);
    let parsed = Config::parse("test.toml", &toml, &|_| None).unwrap_or_else(|error| panic!("{error}"));
    setup::create_tables(&parsed, &Aws::from_config(sdk)).await.expect("our own tables");
    (ministack, services, toml)
}

#[tokio::test]
async fn a_change_travels_from_one_services_table_to_the_others_over_sns_and_sqs() {
    let (ministack, services, toml) = deploy().await;
    let folder = TempDir::new().expect("the temporary folder is writable");
    let function = start(&folder, &toml, &ministack.endpoint()).await;

    services.put("c1", "Mill", 1).await;
    services.put("c2", "Brook", 1).await;
    services.put("c1", "Mill", 2).await;
    services.put("c1", "Windmill", 2).await;
    services.put("c3", "Weir", 1).await;
    services.delete("c3").await;
    let done = Ok(json!({ "batchItemFailures": [] }));
    assert_eq!(invoke(&function, &services.stream_event().await).await, done);

    let event = services.queue_event().await;
    let messages = event["Records"].as_array().expect("records").len();
    assert_eq!(messages, 5, "a change of the staff alone is no event: {event}");
    assert_eq!(invoke(&function, &event).await, done);
    let names =
        [("c1", "Windmill"), ("c2", "Brook")].map(|(company, name)| (company.to_owned(), name.to_owned()));
    assert_eq!(services.names().await, names);

    // Everything once more: the events go out again, and are stale to the other service.
    assert_eq!(invoke(&function, &services.stream_event().await).await, done);
    assert_eq!(invoke(&function, &services.queue_event().await).await, done);
    assert_eq!(services.names().await, names);
}

#[tokio::test]
async fn the_lambda_of_ministack_runs_the_deployed_zip_behind_its_own_mapping() {
    let (ministack, services, toml) = deploy().await;
    let endpoint = ministack.endpoint();
    let function = json!({
        "FunctionName": "millstream", "Runtime": "provided.al2023", "Handler": "bootstrap",
        "Role": "arn:aws:iam::000000000000:role/millstream", "Timeout": 30, "MemorySize": 256,
        "Code": { "ZipFile": STANDARD.encode(zip(&toml)) },
        "Environment": { "Variables": { "AWS_ENDPOINT_URL": endpoint } },
    });
    post(&endpoint, "/2015-03-31/functions", &function).await;
    services.put("c1", "Mill", 1).await;
    let mapping = json!({
        "FunctionName": "millstream", "EventSourceArn": services.stream_arn().await,
        "StartingPosition": "TRIM_HORIZON", "FunctionResponseTypes": ["ReportBatchItemFailures"],
    });
    post(&endpoint, "/2015-03-31/event-source-mappings", &mapping).await;
    // The queue holds the request until the event is there.
    let waiting =
        services.sqs.receive_message().queue_url(&services.queue).wait_time_seconds(20).send().await;
    let messages = waiting.expect("an answer").messages.unwrap_or_default();
    let body = messages.first().and_then(Message::body).expect("the function published an event");
    assert!(body.contains("company-changed.insert") && body.contains("Mill"), "{body}");
}

/// The zip that is deployed: the binary, and its config beside it.
fn zip(toml: &str) -> Vec<u8> {
    const SCRIPT: &str = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as deployed:
    deployed.write(sys.argv[2], 'bootstrap')
    deployed.writestr('millstream.toml', sys.argv[3])
";
    let folder = TempDir::new().expect("the temporary folder is writable");
    let path = folder.path().join("function.zip");
    let mut python = std::process::Command::new("python3");
    let made = python.arg("-c").arg(SCRIPT).arg(&path).arg(BOOTSTRAP).arg(toml).output();
    let made = made.expect("this test needs `python3`, as the emulators do: install Python 3");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(&path).expect("the zip was made")
}

/// Asks ministack's Lambda, for which there is no client here. The signature tells it the region and is not checked.
async fn post(endpoint: &str, path: &str, body: &Value) {
    let address = endpoint.trim_start_matches("http://");
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=AKIDTEST/20260101/eu-west-1/lambda/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("ministack listens");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let status = answer.split(' ').nth(1).unwrap_or_default();
    assert!(status.starts_with('2'), "{path}: {answer}");
}
