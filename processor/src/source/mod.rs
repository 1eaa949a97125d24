//! Where changes come from. Wire strings become closed types here, once; nothing behind this module sees a wire type.

use bytes::Bytes;
use millstream_projections::{Change, SourceName};

/// What an event source mapping leaves behind when it gives up.
pub mod failure;
/// Events that AWS Lambda hands over: of a stream, a queue or a topic.
pub mod lambda_event;
/// One message that tells of a change, with or without the envelope of SNS.
pub mod message;
/// One message of SQS's API.
pub mod queue_message;
/// From a letter's record back to a delivery.
pub mod replay;
/// One record of the Streams API.
pub mod stream_record;

/// Records of queues and topics as Lambda writes them.
mod message_json;
/// The `Records` of a Lambda event, cut apart.
mod records;
/// A record of the Streams API in the form of Lambda's events.
mod render;
/// Which of the known shapes a Lambda event has.
mod shape;
/// Which source an ARN belongs to.
mod sources;
/// Stream records as Lambda writes them.
mod stream_json;

pub use records::LambdaEvent;
pub use sources::{SourceKey, Sources};

/// Some deliveries of one source, in the order in which they came.
#[derive(Debug)]
pub struct Batch {
    /// The source.
    pub source: SourceName,
    /// What was delivered.
    pub deliveries: Vec<Delivery>,
}

/// One record as a source delivered it.
#[derive(Debug)]
pub struct Delivery {
    /// How the host names it in its report.
    pub id: DeliveryId,
    /// What it says, or why nobody can tell.
    pub change: Result<Change, Undecodable>,
    /// The record as it came, for a letter.
    pub raw: Raw,
}

/// How the host names one delivery when it reports what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryId {
    /// A stream record, by its sequence number exactly as it came.
    Sequence(String),
    /// A queue's message.
    Message {
        /// The `messageId`.
        id: String,
        /// The `MessageGroupId` of a FIFO queue.
        group: Option<String>,
    },
    /// A notification of a topic, which can only be reported whole.
    Notification(String),
}

/// Why a record says nothing that can be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record cannot be decoded: {cause}")]
pub struct Undecodable {
    /// What is wrong with it.
    pub cause: String,
}

impl Undecodable {
    /// What is wrong, in words of our own.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into() }
    }
}

/// A record as it came, before any transformation. Cheap to carry; the JSON is cut out only when a letter needs it.
#[derive(Debug, Clone)]
pub enum Raw {
    /// The JSON of the record itself.
    Json(Bytes),
    /// The record at an index of `Records` of a Lambda event.
    Nth {
        /// The whole event.
        event: LambdaEvent,
        /// Which record.
        index: usize,
    },
    /// A record of the Streams API, rendered in the Lambda event's form when it is needed.
    Record(std::sync::Arc<aws_sdk_dynamodbstreams::types::Record>, std::sync::Arc<str>),
    /// A message of SQS's API, rendered in the Lambda event's form when it is needed.
    Message(queue_message::QueueMessage),
}

impl Raw {
    /// The record as JSON, as it came. What came by another API takes the form of Lambda's events.
    pub fn json(&self) -> Bytes {
        match self {
            Self::Json(json) => json.clone(),
            // The index comes from this very event. Should it not be found, more is better than nothing.
            Self::Nth { event, index } => event.record(*index).unwrap_or_else(|| event.json().clone()),
            Self::Record(record, stream_arn) => render::record(record, stream_arn),
            Self::Message(message) => message.json(),
        }
    }
}
