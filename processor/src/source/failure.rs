//! What an event source mapping leaves behind when it gives up on a batch: a pointer into the stream, or the event itself.
//!
//! The documents come from an on-failure destination (SQS, SNS, S3) or from EventBridge Pipes. Only S3 has the records
//! in them; elsewhere they have to be read from the stream while it still has them.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Documents that are kept for good.
pub mod archive;
/// Documents from a bucket of S3.
#[cfg(feature = "s3")]
pub mod bucket;
/// Documents from an SQS queue.
pub mod queue;
/// The records that a pointer points at.
pub mod range;

pub use archive::Archive;
#[cfg(feature = "s3")]
pub use bucket::FailureBucket;
pub use queue::FailureQueue;
pub use range::{Found, RangeReader, StreamRanges};

/// One document, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why the mapping gave up.
    pub condition: Condition,
    /// How often it had tried, as far as it knows.
    pub attempts: Option<u64>,
    /// The function or the target that failed.
    pub function: Option<String>,
    /// How the function itself failed; none after a partial response.
    pub function_error: Option<String>,
    /// When the document was written, in RFC 3339.
    pub at: Option<String>,
    /// Where the records are.
    pub pointer: Pointer,
    /// The event itself, where the destination keeps it.
    pub payload: Option<Bytes>,
}

/// Why a mapping gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// As often as it was told to.
    RetryAttemptsExhausted,
    /// The records grew older than it was told to wait.
    RecordAgeExceeded,
    /// Something that this version has no word for.
    Other(String),
}

/// Some records of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The stream.
    pub stream: String,
    /// The shard.
    pub shard: String,
    /// The first record.
    pub from: String,
    /// The last one.
    pub to: String,
    /// How many records the batch had.
    pub records: Option<u64>,
    /// When the first of them happened, in RFC 3339.
    pub first_at: Option<String>,
}

/// Why a text is no document of a failed batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForeignDocument {
    /// It is no JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// It is JSON, but not this.
    #[error("it is no on-failure document of a DynamoDB stream: {0}")]
    Shape(String),
}

impl Condition {
    /// Both spellings of an age are one condition: the documentation has one, the service sends the other.
    fn from_text(text: &str) -> Self {
        match text {
            "RetryAttemptsExhausted" => Self::RetryAttemptsExhausted,
            "RecordAgeExceeded" | "MaxRecordAgeExceeded" => Self::RecordAgeExceeded,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The condition in AWS's own word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
            Self::Other(other) => other,
        }
    }
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(default, rename = "DDBStreamBatchInfo")]
    batch: Option<BatchInfo>,
    #[serde(default, rename = "requestContext")]
    request: Option<Context>,
    // Pipes has one context in the place of two.
    #[serde(default)]
    context: Option<Context>,
    #[serde(default, rename = "responseContext")]
    response: Option<ResponseContext>,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    // The envelope of SNS.
    #[serde(default, rename = "Message")]
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    function_arn: Option<String>,
    partner_resource_arn: Option<String>,
    condition: Option<String>,
    approximate_invoke_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    function_error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo {
    shard_id: String,
    start_sequence_number: String,
    end_sequence_number: String,
    approximate_arrival_of_first_record: Option<String>,
    batch_size: Option<u64>,
    stream_arn: String,
}

/// Reads one document, with or without the envelope of SNS.
pub fn parse(text: &str) -> Result<Failure, ForeignDocument> {
    let document: Document<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        // A document of another kind may have our names with other types.
        serde_json::error::Category::Data => ForeignDocument::Shape(error.to_string()),
        _ => ForeignDocument::NotJson(error.to_string()),
    })?;
    let Some(batch) = document.batch else {
        return match document.message {
            Some(message) => parse(&message),
            None => Err(ForeignDocument::Shape("it has no `DDBStreamBatchInfo`".to_owned())),
        };
    };
    let context = document.request.or(document.context).unwrap_or_default();
    let Some(condition) = context.condition else {
        return Err(ForeignDocument::Shape("it has no `condition`".to_owned()));
    };
    Ok(Failure {
        condition: Condition::from_text(&condition),
        attempts: context.approximate_invoke_count,
        function: context.function_arn.or(context.partner_resource_arn),
        function_error: document.response.and_then(|response| response.function_error),
        at: document.timestamp,
        pointer: Pointer {
            stream: batch.stream_arn,
            shard: batch.shard_id,
            from: batch.start_sequence_number,
            to: batch.end_sequence_number,
            records: batch.batch_size,
            first_at: batch.approximate_arrival_of_first_record,
        },
        payload: document.payload.and_then(payload),
    })
}

/// The event inside a document of S3, which may be an object or a text with an object in it.
fn payload(json: &RawValue) -> Option<Bytes> {
    match serde_json::from_str::<Option<String>>(json.get()) {
        Ok(text) => text.map(Bytes::from),
        Err(_) => Some(Bytes::copy_from_slice(json.get().as_bytes())),
    }
}

impl Failure {
    /// What happened, for the letters that come of it.
    pub fn causes(&self) -> Vec<String> {
        let times = self.attempts.map_or_else(String::new, |times| format!(" after {times} attempts"));
        let whom = self.function.as_deref().unwrap_or("the function");
        let gave_up =
            format!("the event source mapping gave up on {whom}{times}: {}", self.condition.as_str());
        let error = self.function_error.as_ref().map(|error| format!("the function failed: {error}"));
        std::iter::once(gave_up).chain(error).collect()
    }
}

impl Pointer {
    /// When the first record happened, in seconds since 1970.
    pub fn first_seconds(&self) -> Option<u64> {
        use aws_smithy_types::DateTime;
        use aws_smithy_types::date_time::Format;
        let time = DateTime::from_str(self.first_at.as_deref()?, Format::DateTimeWithOffset).ok()?;
        u64::try_from(time.secs()).ok()
    }
}

#[cfg(test)]
mod tests;
