//! Each rule that AWS documents of the event source mapping of a stream, on scripted functions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millstream_test_support::embedded::{Embedded, StreamViewType};
use millstream_test_support::event_source_mapping::{Drained, EventSourceMapping, Settings};
use millstream_test_support::runtime_api::FunctionError;
use serde_json::{Value, json};

/// A table with items `0`, `1` and so on, and a mapping of its stream.
async fn mapping(items: usize, settings: Settings) -> (Embedded, EventSourceMapping) {
    let embedded = Embedded::new();
    embedded.create_table("Orders", "id", None, Some(StreamViewType::NewAndOldImages)).await;
    for n in 0..items {
        embedded.put("Orders", json!({"id": n.to_string()})).await;
    }
    let arn = embedded.stream_arn("Orders").await;
    let clock = embedded.clone();
    let mapping = EventSourceMapping::new(embedded.streams(), &arn, settings);
    (embedded, mapping.with_clock(move || clock.now()))
}

fn settings() -> Settings {
    Settings { maximum_retry_attempts: Some(2), ..Settings::default() }
}

fn ids(event: &Value) -> Vec<String> {
    let records = event["Records"].as_array().into_iter().flatten();
    records.map(|it| it["dynamodb"]["Keys"]["id"]["S"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Reports the records with these ids as failed.
fn report(event: &Value, bad: &[&str]) -> Value {
    let records = event["Records"].as_array().into_iter().flatten();
    let bad = records
        .filter(|it| bad.contains(&it["dynamodb"]["Keys"]["id"]["S"].as_str().unwrap_or_default()))
        .map(|it| json!({"itemIdentifier": it["dynamodb"]["SequenceNumber"]}))
        .collect::<Vec<_>>();
    json!({ "batchItemFailures": bad })
}

fn sizes(mapping: &EventSourceMapping) -> Vec<usize> {
    mapping.deliveries().iter().map(|it| it.sequence_numbers.len()).collect()
}

/// Drains three items through a function with a fixed answer and gives the sizes of the deliveries.
async fn sizes_of(answer: Value, settings: Settings) -> (Vec<usize>, usize) {
    let (_embedded, mut mapping) = mapping(3, settings).await;
    assert_eq!(mapping.drain(async |_| Ok(answer.clone())).await, Drained::End);
    (sizes(&mapping), mapping.failures().len())
}

#[tokio::test]
async fn the_event_has_lambdas_shape() {
    let (embedded, mut mapping) = mapping(0, settings()).await;
    embedded.put_typed("Orders", json!({"id": {"S": "1"}, "b": {"B": "AQID"}, "n": {"N": "1"}})).await;
    let arn = embedded.stream_arn("Orders").await;
    let check = async |event: Value| {
        let record = &event["Records"][0];
        let change = &record["dynamodb"];
        assert_eq!(record["eventName"], "INSERT");
        assert_eq!(record["eventSourceARN"], json!(arn));
        assert_eq!(record["eventSource"], "aws:dynamodb");
        assert_eq!(record["awsRegion"], "eu-west-1");
        assert_eq!(record["eventVersion"], "1.1");
        assert_eq!(change["ApproximateCreationDateTime"], json!(1_750_000_000.0));
        assert_eq!(change["NewImage"]["b"], json!({"B": "AQID"}));
        assert_eq!(change["OldImage"], Value::Null);
        assert_eq!(change["StreamViewType"], "NEW_AND_OLD_IMAGES");
        assert!(change["SizeBytes"].as_u64() > Some(0) && record["eventID"].is_string());
        Ok(Value::Null)
    };
    assert_eq!(mapping.drain(check).await, Drained::End);
    assert_eq!(mapping.deliveries().len(), 1);
}

#[tokio::test]
async fn batches_are_of_the_size_that_was_set_and_come_once() {
    let (embedded, mut mapping) = mapping(7, Settings { batch_size: 3, ..settings() }).await;
    assert_eq!(mapping.drain(async |_| Ok(Value::Null)).await, Drained::End);
    assert_eq!(sizes(&mapping), [3, 3, 1]);
    embedded.put("Orders", json!({"id": "new"})).await;
    assert_eq!(mapping.drain(async |_| Ok(Value::Null)).await, Drained::End);
    assert_eq!(sizes(&mapping), [3, 3, 1, 1]);
}

#[tokio::test]
async fn empty_and_null_answers_mean_that_all_is_done() {
    for answer in
        [json!(null), json!({}), json!({"batchItemFailures": []}), json!({"batchItemFailures": null})]
    {
        assert_eq!(sizes_of(answer, settings()).await, (vec![3], 0));
    }
}

#[tokio::test]
async fn a_wrong_identifier_fails_the_whole_batch() {
    for failure in [
        json!({"itemIdentifier": ""}),
        json!({"itemIdentifier": null}),
        json!({"itemIdentifier": "100000000000000000000"}),
        json!({"id": "1"}),
    ] {
        let answer = json!({ "batchItemFailures": [failure] });
        assert_eq!(sizes_of(answer, settings()).await, (vec![3, 3, 3], 1));
    }
}

#[tokio::test]
async fn partial_responses_are_ignored_unless_they_are_switched_on() {
    let off = Settings { report_batch_item_failures: false, ..settings() };
    assert_eq!(sizes_of(json!({"batchItemFailures": [{"itemIdentifier": ""}]}), off).await, (vec![3], 0));
}

#[tokio::test]
async fn the_lowest_identifier_is_the_checkpoint_and_later_successes_come_again() {
    let (_embedded, mut mapping) = mapping(5, settings()).await;
    let first = AtomicUsize::new(0);
    let function = async |event: Value| match first.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(report(&event, &["3", "1"])),
        _ => {
            assert_eq!(ids(&event), ["1", "2", "3", "4"]);
            Ok(Value::Null)
        }
    };
    assert_eq!(mapping.drain(function).await, Drained::End);
    assert_eq!(sizes(&mapping), [5, 4]);
}

#[tokio::test]
async fn without_bisect_the_rest_of_the_batch_is_dropped_good_records_with_it() {
    let (embedded, mut mapping) = mapping(4, settings()).await;
    assert_eq!(mapping.drain(async |event| Ok(report(&event, &["1"]))).await, Drained::End);
    assert_eq!(sizes(&mapping), [4, 3, 3]);
    let failures = mapping.failures();
    let records = embedded.read_stream("Orders").await;
    let number = |n: usize| records[n].dynamodb().and_then(|it| it.sequence_number()).map(str::to_owned);
    assert_eq!(
        failures[0]["DDBStreamBatchInfo"],
        json!({
            "shardId": mapping.deliveries()[0].shard,
            "startSequenceNumber": number(1),
            "endSequenceNumber": number(3),
            "approximateArrivalOfFirstRecord": "2025-06-15T15:06:40Z",
            "approximateArrivalOfLastRecord": "2025-06-15T15:06:40Z",
            "batchSize": 3,
            "streamArn": embedded.stream_arn("Orders").await,
        })
    );
    assert_eq!(failures[0]["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(failures[0]["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(failures[0]["responseContext"]["functionError"], Value::Null);
    assert_eq!(failures[0]["version"], "1.0");
}

#[tokio::test]
async fn with_bisect_only_the_bad_record_is_dropped() {
    for partial in [true, false] {
        let (_embedded, mut mapping) = mapping(8, Settings { bisect: true, ..settings() }).await;
        let function = async |event: Value| match ids(&event).contains(&"5".to_owned()) {
            true if partial => Ok(report(&event, &["5"])),
            true => Err(FunctionError::new("Error", "boom")),
            false => Ok(Value::Null),
        };
        assert_eq!(mapping.drain(function).await, Drained::End);
        let failures = mapping.failures();
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0]["DDBStreamBatchInfo"]["batchSize"], 1);
        let error = if partial { Value::Null } else { json!("Unhandled") };
        assert_eq!(failures[0]["responseContext"]["functionError"], error);
        // An error halves; a partial response splits at the sequence number that it names, then halves.
        let expected: &[usize] = if partial { &[8, 3, 1, 1, 1, 2] } else { &[8, 4, 4, 2, 1, 1, 1, 1, 2] };
        assert_eq!(sizes(&mapping), expected);
    }
}

#[tokio::test]
async fn a_throttle_counts_as_no_attempt() {
    let (_embedded, mut mapping) =
        mapping(1, Settings { maximum_retry_attempts: Some(0), ..settings() }).await;
    let calls = AtomicUsize::new(0);
    let function = async |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0..5 => Err(FunctionError::throttled()),
        _ => Ok(Value::Null),
    };
    assert_eq!(mapping.drain(function).await, Drained::End);
    assert_eq!((mapping.deliveries().len(), mapping.failures().len()), (6, 0));
}

#[tokio::test]
async fn with_the_defaults_one_bad_record_blocks_its_shard() {
    let (_embedded, mut mapping) = mapping(3, Settings { invocation_limit: 50, ..Settings::default() }).await;
    assert_eq!(mapping.drain(async |event| Ok(report(&event, &["1"]))).await, Drained::Blocked);
    assert_eq!((mapping.deliveries().len(), mapping.failures().len()), (50, 0));
    assert_eq!(mapping.drain(async |_| Ok(Value::Null)).await, Drained::End);
    assert_eq!(mapping.deliveries().last().map(|it| it.sequence_numbers.len()), Some(2));
}

#[tokio::test]
async fn records_that_are_too_old_are_discarded() {
    let age = Settings { maximum_record_age: Some(Duration::from_secs(60)), ..Settings::default() };
    let (embedded, mut mapping) = mapping(2, age).await;
    let clock = embedded.clone();
    let function = async |_| {
        clock.advance(Duration::from_secs(25));
        Err(FunctionError::throttled())
    };
    assert_eq!(mapping.drain(function).await, Drained::End);
    assert_eq!(sizes(&mapping), [2, 2, 2], "after 0, 25 and 50 seconds");
    let failures = mapping.failures();
    assert_eq!(failures[0]["requestContext"]["condition"], "RecordAgeExceeded");
    assert_eq!(failures[0].get("responseContext"), None);
    assert_eq!(failures[0]["timestamp"], "2025-06-15T15:07:55Z");
    embedded.put("Orders", json!({"id": "young"})).await;
    assert_eq!(mapping.drain(async |_| Ok(Value::Null)).await, Drained::End);
    assert_eq!(sizes(&mapping), [2, 2, 2, 1]);
}

#[tokio::test]
async fn lanes_run_at_once_and_keep_the_order_of_an_item() {
    let (embedded, mut mapping) =
        mapping(0, Settings { parallelization_factor: 4, batch_size: 2, ..settings() }).await;
    for n in 0..60 {
        embedded.put("Orders", json!({"id": (n % 10).to_string(), "n": n})).await;
    }
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let seen = std::sync::Mutex::new(Vec::new());
    let function = async |event: Value| {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let numbers = event["Records"].as_array().into_iter().flatten();
        let numbers = numbers.map(|it| it["dynamodb"]["NewImage"]["n"]["N"].as_str().map(str::to_owned));
        seen.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .extend(ids(&event).into_iter().zip(numbers));
        running.fetch_sub(1, Ordering::SeqCst);
        Ok(Value::Null)
    };
    assert_eq!(mapping.drain(function).await, Drained::End);
    assert!(most.load(Ordering::SeqCst) > 1, "lanes run at once");
    let seen = seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    for id in 0..10 {
        let of_item = seen.iter().filter(|it| it.0 == id.to_string()).filter_map(|it| it.1.clone());
        let expected: Vec<String> = (0..6).map(|round| (round * 10 + id).to_string()).collect();
        assert_eq!(of_item.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_parent_shard_is_done_before_its_children_begin() {
    let (embedded, mut mapping) = mapping(3, settings()).await;
    embedded.split_shards("Orders");
    for n in 3..9 {
        embedded.put("Orders", json!({"id": n.to_string()})).await;
    }
    let calls = AtomicUsize::new(0);
    let function = async |event: Value| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(report(&event, &["0"])),
        _ => Ok(Value::Null),
    };
    assert_eq!(mapping.drain(function).await, Drained::End);
    let deliveries = mapping.deliveries();
    assert_eq!(deliveries[0].shard, deliveries[1].shard);
    let total: usize = deliveries[1..].iter().map(|it| it.sequence_numbers.len()).sum();
    assert_eq!(total, 9);
    assert!(deliveries[2..].iter().all(|it| it.shard != deliveries[0].shard));
}
