//! One batch of a mapping: how an answer is judged, what is tried again, and what is told of what was dropped.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodbstreams::primitives::{DateTime, DateTimeFormat};
use aws_sdk_dynamodbstreams::types::Record;
use serde_json::{Value, json};

use crate::event_source_mapping::{FUNCTION_ARN, Settings};
use crate::lambda_event;
use crate::runtime_api::FunctionError;
use crate::stream_reader::{padded, sequence_number};

/// What Lambda hands to a function at once.
const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024;

/// Records that are delivered together, and what became of them before.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    /// Failed attempts that count towards the retry limit.
    attempts: usize,
    /// Times that the function was asked.
    pub(crate) invocations: usize,
    /// The `functionError` of the last attempt: set by an error, null after a partial response.
    function_error: Value,
}

/// What an answer says of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// Everything before this index is done.
    FailedFrom(usize),
    Failed,
    /// The function did not run.
    Throttled,
}

/// Cuts records into batches by number and by the size of their JSON.
pub(crate) fn batches(records: Vec<Record>, batch_size: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut size = 0;
    for record in records {
        let weight = lambda_event::record("", &record).to_string().len();
        match batches.last_mut() {
            Some(batch) if batch.records.len() < batch_size && size + weight <= PAYLOAD_LIMIT => {
                batch.records.push(record);
                size += weight;
            }
            _ => {
                batches.push(Batch {
                    records: vec![record],
                    attempts: 0,
                    invocations: 0,
                    function_error: Value::Null,
                });
                size = weight;
            }
        }
    }
    batches
}

impl Verdict {
    pub(crate) fn of(answer: &Result<Value, FunctionError>, batch: &Batch, partial: bool) -> Self {
        let response = match answer {
            Err(error) if *error == FunctionError::throttled() => return Self::Throttled,
            Err(_) => return Self::Failed,
            Ok(response) if partial => response,
            Ok(_) => return Self::Done,
        };
        let failures = match response {
            Value::Null => return Self::Done,
            Value::Object(members) => members.get("batchItemFailures"),
            _ => return Self::Failed,
        };
        match failures {
            None | Some(Value::Null) => Self::Done,
            Some(Value::Array(failures)) => Self::of_failures(failures, batch),
            Some(_) => Self::Failed,
        }
    }

    /// The lowest identifier is the checkpoint; one that is empty, unknown or missing fails the whole batch.
    fn of_failures(failures: &[Value], batch: &Batch) -> Self {
        let numbers: Vec<String> = batch.records.iter().map(|it| padded(sequence_number(it))).collect();
        let mut lowest: Option<usize> = None;
        for failure in failures {
            let index = failure["itemIdentifier"]
                .as_str()
                .filter(|it| !it.is_empty())
                .and_then(|it| numbers.iter().position(|number| *number == padded(it)));
            let Some(index) = index else { return Self::Failed };
            lowest = Some(lowest.map_or(index, |it| it.min(index)));
        }
        lowest.map_or(Self::Done, Self::FailedFrom)
    }
}

/// What is dropped for good after an answer, and what is delivered again, in order.
///
/// A split counts as no attempt: that is why, with bisect on, only the record that fails is dropped in the end.
pub(crate) fn condemn(
    mut batch: Batch,
    verdict: Verdict,
    settings: &Settings,
) -> (Option<Batch>, Vec<Batch>) {
    match verdict {
        Verdict::Done => return (None, Vec::new()),
        Verdict::Throttled => return (None, vec![batch]),
        Verdict::Failed => batch.function_error = "Unhandled".into(),
        Verdict::FailedFrom(index) => {
            batch.function_error = Value::Null;
            batch.records.drain(..index);
            if settings.bisect && index > 0 {
                return (None, vec![batch]);
            }
        }
    }
    if settings.bisect && batch.records.len() > 1 {
        let mut later = batch.clone();
        later.records.drain(..batch.records.len() / 2);
        batch.records.truncate(batch.records.len() / 2);
        return (None, vec![batch, later]);
    }
    batch.attempts += 1;
    if settings.maximum_retry_attempts.is_some_and(|it| batch.attempts > it) {
        return (Some(batch), Vec::new());
    }
    (None, vec![batch])
}

impl Batch {
    /// Parts the records at the front that are too old from the rest.
    pub(crate) fn expire(self, age: Option<Duration>, now: SystemTime) -> (Option<Self>, Option<Self>) {
        let too_old = |record: &Record| {
            let created = record.dynamodb().and_then(|it| it.approximate_creation_date_time());
            let created = created.and_then(|it| SystemTime::try_from(*it).ok());
            created.zip(age).is_some_and(|(created, age)| created + age < now)
        };
        let old = self.records.iter().take_while(|it| too_old(it)).count();
        let part = |records: &[Record]| {
            (!records.is_empty()).then(|| Self { records: records.to_vec(), ..self.clone() })
        };
        (part(&self.records[..old]), part(&self.records[old..]))
    }

    /// The document of the on-failure destination: a pointer to the records, not the records.
    pub(crate) fn on_failure(&self, condition: &str, shard: &str, arn: &str, now: SystemTime) -> Value {
        let (first, last) = (&self.records[0], &self.records[self.records.len() - 1]);
        let mut document = json!({
            "requestContext": {
                "requestId": format!("00000000-0000-4000-9000-{}", &padded(sequence_number(first))[28..]),
                "functionArn": FUNCTION_ARN,
                "condition": condition,
                "approximateInvokeCount": self.invocations,
            },
            "version": "1.0",
            "timestamp": iso(&DateTime::from(now)),
            "DDBStreamBatchInfo": {
                "shardId": shard,
                "startSequenceNumber": sequence_number(first),
                "endSequenceNumber": sequence_number(last),
                "approximateArrivalOfFirstRecord": arrival(first),
                "approximateArrivalOfLastRecord": arrival(last),
                "batchSize": self.records.len(),
                "streamArn": arn,
            },
        });
        if condition != "RecordAgeExceeded" {
            document["responseContext"] = json!({
                "statusCode": 200, "executedVersion": "$LATEST", "functionError": self.function_error,
            });
        }
        document
    }
}

fn arrival(record: &Record) -> Option<String> {
    record.dynamodb().and_then(|it| it.approximate_creation_date_time()).map(iso)
}

fn iso(time: &DateTime) -> String {
    time.fmt(DateTimeFormat::DateTime).expect("the clock is within the calendar")
}
