//! An event source mapping that gives up on a batch: its function failed each time, and what is left of the batch is an
//! on-failure document, which points into the stream and holds nothing of the records.

use aws_sdk_dynamodbstreams::primitives::DateTimeFormat;
use aws_sdk_dynamodbstreams::types::Record;
use millstream_processor::clock::{Clock, SystemClock};
use millstream_processor::projections::event::rfc3339;
use millstream_processor::sink::fault::fault;
use serde_json::{Value, json};

use super::DemoError;
use super::deal::Parcel;

/// The source whose batch is given up: every order has a row, so that what is missing shows.
const SOURCE: &str = "orders";
/// How often the function was invoked, as a mapping with three retries does.
const INVOCATIONS: u32 = 4;

/// Takes the orders away: nobody delivers them.
pub(crate) fn orders(sources: &mut [Vec<Parcel>]) -> Vec<Parcel> {
    let is_orders =
        |parcels: &&mut Vec<Parcel>| parcels.first().is_some_and(|parcel| parcel.source().as_str() == SOURCE);
    sources.iter_mut().find(is_orders).map(std::mem::take).unwrap_or_default()
}

/// Sends the document of a batch to a queue, as a destination for failures does.
pub(crate) async fn give_up(
    streams: &aws_sdk_dynamodbstreams::Client,
    sqs: &aws_sdk_sqs::Client,
    queue: &str,
    batch: &[Parcel],
) -> Result<(), DemoError> {
    let records: Vec<(&Record, &str)> = batch.iter().filter_map(Parcel::record).collect();
    let (Some((first, stream)), Some((last, _))) = (records.first(), records.last()) else {
        return Err(DemoError::new("there is no order to give up on: make more changes"));
    };
    let described = streams.describe_stream().stream_arn(*stream).send().await;
    let described = described.map_err(|error| fault(format!("DescribeStream {stream}"), &error))?;
    // The DynamoDB inside has one shard a stream.
    let shards = described.stream_description.and_then(|stream| stream.shards).unwrap_or_default();
    let shard = shards.first().and_then(|shard| shard.shard_id()).unwrap_or_default();
    let document = document(stream, shard, (first, last), records.len());
    let sent = sqs.send_message().queue_url(queue).message_body(document.to_string()).send().await;
    sent.map(drop).map_err(|error| fault(format!("SendMessage to {queue}"), &error).into())
}

/// The document, member by member as Lambda writes it.
fn document(stream: &str, shard: &str, (first, last): (&Record, &Record), records: usize) -> Value {
    let number = |record: &Record| record.dynamodb().and_then(|it| it.sequence_number()).map(str::to_owned);
    let arrival = |record: &Record| {
        let at = record.dynamodb()?.approximate_creation_date_time()?;
        at.fmt(DateTimeFormat::DateTime).ok()
    };
    json!({
        "requestContext": {
            "requestId": "00000000-0000-4000-8000-000000000000",
            "functionArn": "arn:aws:lambda:eu-west-1:000000000000:function:millstream",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": INVOCATIONS,
        },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "version": "1.0",
        "timestamp": rfc3339(SystemClock.unix_seconds()),
        "DDBStreamBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": number(first),
            "endSequenceNumber": number(last),
            "approximateArrivalOfFirstRecord": arrival(first),
            "approximateArrivalOfLastRecord": arrival(last),
            "batchSize": records,
            "streamArn": stream,
        },
    })
}
