//! An in-process SNS for `Publish` and `PublishBatch`, spoken to by the real AWS SDK's client.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::{Map, Value};

use crate::connector::{ACCOUNT, Call, REGION, Reply, Service, sdk_config};
use crate::faults::{Fault, FaultPlan, Logged};
use crate::served::Served;

const CONTENT_TYPE: &str = "text/xml";
/// What one message, or one batch, may weigh unless the topic opts in to more.
const LIMIT: usize = 256 * 1024;

/// Topics that remember what was published to them.
///
/// A topic has to be created first; one whose name ends in `.fifo` refuses entries without a group, and drops a
/// deduplication id that it knows, as SNS does for five minutes.
#[derive(Clone, Debug)]
pub struct Topics {
    desk: Desk,
    faults: FaultPlan,
}

/// One published message.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The entry's id within its batch; empty after a single `Publish`.
    pub entry_id: String,
    /// The message's own id.
    pub message_id: String,
    /// The body.
    pub message: String,
    /// The string values of its attributes, by name.
    pub attributes: BTreeMap<String, String>,
    /// The subject, if any.
    pub subject: Option<String>,
    /// The `MessageGroupId`, if any.
    pub group: Option<String>,
    /// The `MessageDeduplicationId`, if any.
    pub deduplication_id: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Desk {
    topics: Arc<Mutex<HashMap<String, Vec<Published>>>>,
}

impl Default for Topics {
    fn default() -> Self {
        Self::with_faults(FaultPlan::default())
    }
}

impl Topics {
    /// No topics yet, no faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// No topics yet, on a plan that other doubles may share.
    pub fn with_faults(faults: FaultPlan) -> Self {
        Self { desk: Desk::default(), faults }
    }

    /// Creates a topic and gives its ARN.
    pub fn create(&self, name: &str) -> String {
        let arn = format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}");
        self.desk.lock().entry(arn.clone()).or_default();
        arn
    }

    /// A client configuration of the code under test.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(Arc::new(self.desk.clone()), Some(self.faults.clone()))
    }

    /// An SNS client of the code under test.
    pub fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.sdk_config())
    }

    /// Serves the topics and their faults on a socket, for processes under test.
    pub async fn serve(&self) -> Served {
        Served::start(Arc::new(self.desk.clone()), self.faults.clone()).await
    }

    /// What goes wrong on the connector.
    pub fn faults(&self) -> &FaultPlan {
        &self.faults
    }

    /// Every request of the code under test, in order.
    pub fn requests(&self) -> Vec<Logged> {
        self.faults.requests()
    }

    /// What was published to a topic, in order.
    pub fn published(&self, arn: &str) -> Vec<Published> {
        self.desk.lock().get(arn).unwrap_or_else(|| panic!("no topic {arn}")).clone()
    }

    /// Forgets what was published.
    pub fn clear(&self) {
        self.desk.lock().values_mut().for_each(Vec::clear);
    }
}

/// Why an entry, or a whole request, is refused.
struct Refusal {
    code: &'static str,
    message: String,
    sender_fault: bool,
}

impl Service for Desk {
    fn read(&self, request: &HttpRequest) -> Call {
        let bytes = request.body().bytes().expect("the SDK sends its form in memory");
        let form: Map<String, Value> = form_urlencoded::parse(bytes)
            .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
            .collect();
        let body = Value::from(form);
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let (operation, topic) = (text("Action"), text("TopicArn"));
        Call { operation, tables: vec![topic], body }
    }

    fn answer(&self, call: &Call) -> Reply {
        self.publish(call, None)
    }

    fn answer_partly(&self, call: &Call, fault: &Fault) -> Reply {
        self.publish(call, Some(fault))
    }

    fn refuse(&self, _call: &Call, fault: &Fault) -> Reply {
        let (status, code) = match fault {
            Fault::Throttle => (429, "Throttled"),
            Fault::Throttling => (400, "Throttling"),
            Fault::InternalError => (500, "InternalError"),
            Fault::Unavailable => (503, "ServiceUnavailable"),
            Fault::AccessDenied => (403, "AuthorizationError"),
            Fault::TableMissing => (404, "NotFound"),
            Fault::Validation => (400, "InvalidParameter"),
            Fault::Answer(status, body) => {
                return Reply { status: *status, content_type: CONTENT_TYPE, body: (*body).to_owned() };
            }
            Fault::LimitExceeded
            | Fault::TransactionConflict
            | Fault::Cancelled(_)
            | Fault::ExpiredIterator
            | Fault::TrimmedData
            | Fault::LoseReply
            | Fault::Reset
            | Fault::Timeout
            | Fault::Crash
            | Fault::CrashAfter
            | Fault::Delay(_)
            | Fault::FailEntries { .. } => panic!("{fault:?} is not an answer of SNS"),
        };
        error(status, code, &format!("scripted: {fault:?}"))
    }
}

impl Desk {
    fn publish(&self, call: &Call, fault: Option<&Fault>) -> Reply {
        let arn = &call.tables[0];
        let mut topics = self.lock();
        let Some(topic) = topics.get_mut(arn) else {
            return error(404, "NotFound", "Topic does not exist");
        };
        let fifo = arn.ends_with(".fifo");
        match call.operation.as_str() {
            "Publish" => match accept(topic, entry(&call.body, ""), fifo, None) {
                Ok(id) => ok("Publish", &format!("<MessageId>{id}</MessageId>")),
                Err(refusal) => error(400, refusal.code, &refusal.message),
            },
            "PublishBatch" => publish_batch(topic, &call.body, fifo, fault),
            other => error(400, "InvalidAction", &format!("the double lacks {other}")),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Published>>> {
        self.topics.lock().expect("no test panics while it holds the topics")
    }
}

fn publish_batch(topic: &mut Vec<Published>, body: &Value, fifo: bool, fault: Option<&Fault>) -> Reply {
    let prefix = |n: usize| format!("PublishBatchRequestEntries.member.{n}.");
    let count = (1..).take_while(|n| body[format!("{}Id", prefix(*n))].is_string()).count();
    let entries: Vec<Published> = (1..=count).map(|n| entry(body, &prefix(n))).collect();
    if let Some((code, message)) = refuse_batch(&entries) {
        return error(400, code, message);
    }
    let (mut sent, mut failed) = (String::new(), String::new());
    for entry in entries {
        let id = escape(&entry.entry_id);
        match accept(topic, entry, fifo, fault) {
            Ok(message) => {
                sent += &format!("<member><Id>{id}</Id><MessageId>{message}</MessageId></member>");
            }
            Err(Refusal { code, message, sender_fault }) => {
                failed += &format!(
                    "<member><Id>{id}</Id><Code>{code}</Code><Message>{}</Message>\
                     <SenderFault>{sender_fault}</SenderFault></member>",
                    escape(&message)
                );
            }
        }
    }
    ok("PublishBatch", &format!("<Successful>{sent}</Successful><Failed>{failed}</Failed>"))
}

/// What SNS refuses a whole batch for.
fn refuse_batch(entries: &[Published]) -> Option<(&'static str, &'static str)> {
    let mut ids: Vec<&str> = entries.iter().map(|it| it.entry_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    match entries.len() {
        0 => Some(("EmptyBatchRequest", "The batch request doesn't contain any entries.")),
        11.. => Some((
            "TooManyEntriesInBatchRequest",
            "The batch request contains more entries than permissible.",
        )),
        n if ids.len() < n => {
            Some(("BatchEntryIdsNotDistinct", "Two or more batch entries have the same Id."))
        }
        _ if entries.iter().map(Published::size).sum::<usize>() > LIMIT => Some((
            "BatchRequestTooLong",
            "The length of all the batch messages put together is more than the limit.",
        )),
        _ => None,
    }
}

fn accept(
    topic: &mut Vec<Published>,
    mut entry: Published,
    fifo: bool,
    fault: Option<&Fault>,
) -> Result<String, Refusal> {
    let invalid =
        |message: &str| Refusal { code: "InvalidParameter", message: message.into(), sender_fault: true };
    if let Some(Fault::FailEntries { containing, code, sender_fault }) = fault
        && (entry.message.contains(containing) || entry.entry_id.contains(containing))
    {
        return Err(Refusal { code, message: "scripted".into(), sender_fault: *sender_fault });
    }
    if entry.size() > LIMIT {
        return Err(invalid("Invalid parameter: Message too long"));
    }
    if fifo && entry.group.is_none() {
        return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
    }
    if fifo && entry.deduplication_id.is_none() {
        return Err(invalid(
            "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId",
        ));
    }
    let known = topic.iter().find(|it| fifo && it.deduplication_id == entry.deduplication_id);
    if let Some(known) = known {
        return Ok(known.message_id.clone());
    }
    entry.message_id = format!("00000000-0000-0000-0000-{:012}", topic.len() + 1);
    let id = entry.message_id.clone();
    topic.push(entry);
    Ok(id)
}

impl Published {
    fn size(&self) -> usize {
        self.message.len()
            + self.attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

fn entry(body: &Value, prefix: &str) -> Published {
    let text = |name: &str| body[format!("{prefix}{name}")].as_str().map(str::to_owned);
    let attribute = |n: usize| format!("MessageAttributes.entry.{n}.");
    let attributes = (1..)
        .map_while(|n| {
            let name = text(&format!("{}Name", attribute(n)))?;
            Some((name, text(&format!("{}Value.StringValue", attribute(n))).unwrap_or_default()))
        })
        .collect();
    Published {
        entry_id: text("Id").unwrap_or_default(),
        message_id: String::new(),
        message: text("Message").unwrap_or_default(),
        attributes,
        subject: text("Subject"),
        group: text("MessageGroupId"),
        deduplication_id: text("MessageDeduplicationId"),
    }
}

fn ok(operation: &str, result: &str) -> Reply {
    let body = format!(
        "<{operation}Response xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><{operation}Result>{result}\
         </{operation}Result><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></{operation}Response>"
    );
    Reply { status: 200, content_type: CONTENT_TYPE, body }
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    let kind = if status < 500 { "Sender" } else { "Receiver" };
    let body = format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>{kind}</Type>\
         <Code>{code}</Code><Message>{}</Message></Error><RequestId>0</RequestId></ErrorResponse>",
        escape(message)
    );
    Reply { status, content_type: CONTENT_TYPE, body }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
