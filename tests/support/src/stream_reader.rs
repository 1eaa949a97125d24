//! Reads what a stream holds just now, through the streams API.

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::{Record, Shard, ShardIteratorType};

/// Every record of a stream from the oldest on, in the order of the sequence numbers.
pub async fn read_stream(client: &Client, arn: &str) -> Vec<Record> {
    let mut records = Vec::new();
    for shard in list_shards(client, arn).await {
        let id = shard.shard_id().expect("a shard has an id");
        records.extend(read_shard(client, arn, id, None).await.0);
    }
    records.sort_by_key(|it| padded(sequence_number(it)));
    records
}

/// Every shard of a stream, in the order of the listing.
pub(crate) async fn list_shards(client: &Client, arn: &str) -> Vec<Shard> {
    let (mut shards, mut start) = (Vec::new(), None);
    loop {
        let request = client.describe_stream().stream_arn(arn).set_exclusive_start_shard_id(start);
        let page = request.send().await.expect("the stream exists").stream_description;
        let page = page.expect("a stream is described");
        shards.extend(page.shards.unwrap_or_default());
        start = page.last_evaluated_shard_id.filter(|it| !it.is_empty());
        if start.is_none() {
            return shards;
        }
    }
}

/// The records of a shard after a sequence number, as far as there are any now, and whether it is at its end.
pub(crate) async fn read_shard(
    client: &Client,
    arn: &str,
    shard: &str,
    after: Option<&str>,
) -> (Vec<Record>, bool) {
    let kind = match after {
        Some(_) => ShardIteratorType::AfterSequenceNumber,
        None => ShardIteratorType::TrimHorizon,
    };
    let request = client.get_shard_iterator().stream_arn(arn).shard_id(shard).shard_iterator_type(kind);
    let iterator = request.set_sequence_number(after.map(str::to_owned)).send().await;
    let mut next = iterator.expect("the shard can be read").shard_iterator;
    let (mut records, mut empty) = (Vec::new(), 0);
    while let Some(iterator) = next {
        let page = client.get_records().shard_iterator(&iterator).send().await.expect("the shard is read");
        let found = page.records.unwrap_or_default();
        empty = if found.is_empty() { empty + 1 } else { 0 };
        records.extend(found);
        // An open shard never ends. There is no more for now where its iterator stands still; where each page
        // has an iterator of its own, the second empty page has to do.
        let still = page.next_shard_iterator.as_deref() == Some(&iterator);
        if page.next_shard_iterator.is_some() && (still || empty == 2) {
            return (records, false);
        }
        next = page.next_shard_iterator;
    }
    (records, true)
}

/// The sequence number of a record.
pub(crate) fn sequence_number(record: &Record) -> &str {
    record.dynamodb().and_then(|it| it.sequence_number()).expect("a record has a sequence number")
}

/// A sequence number so that text order is number order: it overflows every integer type.
pub(crate) fn padded(number: &str) -> String {
    format!("{number:0>40}")
}
