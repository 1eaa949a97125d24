//! The embedded DynamoDB and its faults, seen through the real SDK clients.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use aws_sdk_dynamodb::client::Waiters as _;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use aws_sdk_dynamodbstreams::types::{OperationType, ShardIteratorType, StreamStatus};
use millstream_test_support::embedded::{Embedded, StreamViewType, read_stream};
use millstream_test_support::faults::{Fault, Rule};
use serde_json::json;

async fn orders() -> Embedded {
    let embedded = Embedded::new();
    embedded.create_table("Orders", "id", None, Some(StreamViewType::NewAndOldImages)).await;
    embedded
}

async fn put(
    client: &aws_sdk_dynamodb::Client,
    id: &str,
) -> Result<(), aws_sdk_dynamodb::error::SdkError<aws_sdk_dynamodb::operation::put_item::PutItemError>> {
    let id = AttributeValue::S(id.to_owned());
    client.put_item().table_name("Orders").item("id", id).send().await.map(|_| ())
}

fn numbers(records: &[aws_sdk_dynamodbstreams::types::Record]) -> Vec<String> {
    let number = |it: &aws_sdk_dynamodbstreams::types::Record| it.dynamodb().unwrap().sequence_number.clone();
    records.iter().filter_map(number).collect()
}

#[tokio::test]
async fn writes_show_in_the_stream_except_those_that_change_nothing() {
    let embedded = orders().await;
    embedded.put("Orders", json!({"id": "1", "total": 5})).await;
    embedded.put("Orders", json!({"id": "1", "total": 5.0})).await;
    embedded.put("Orders", json!({"id": "1", "total": 6})).await;
    embedded.delete("Orders", json!({"id": "1"})).await;
    let records = embedded.read_stream("Orders").await;
    let names: Vec<_> = records.iter().map(|it| it.event_name.clone().unwrap()).collect();
    assert_eq!(names, [OperationType::Insert, OperationType::Modify, OperationType::Remove]);
    assert_eq!(records[0].aws_region(), Some("eu-west-1"));
    let change = records[1].dynamodb().unwrap();
    assert_eq!(change.sequence_number().unwrap().len(), 21);
    assert!(change.old_image().is_some() && change.new_image().is_some());
}

#[tokio::test]
async fn a_failed_condition_returns_the_item_and_a_cancelled_transaction_its_reasons() {
    let embedded = orders().await;
    embedded.put("Orders", json!({"id": "1", "total": 5})).await;
    let client = embedded.dynamodb();
    let refused = client
        .put_item()
        .table_name("Orders")
        .item("id", AttributeValue::S("1".into()))
        .condition_expression("attribute_not_exists(id)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(refused.is_conditional_check_failed_exception());
    let check = ConditionCheck::builder()
        .table_name("Orders")
        .key("id", AttributeValue::S("1".into()))
        .condition_expression("attribute_not_exists(id)")
        .build()
        .unwrap();
    let item = TransactWriteItem::builder().condition_check(check).build();
    let error = client.transact_write_items().transact_items(item.clone()).send().await.unwrap_err();
    assert_eq!(reasons(error), ["ConditionalCheckFailed"]);

    embedded.faults().add(Rule::on("TransactWriteItems", Fault::TransactionConflict));
    let error = client.transact_write_items().transact_items(item).send().await.unwrap_err();
    assert_eq!(reasons(error), ["TransactionConflict"]);
}

fn reasons(
    error: SdkError<aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError>,
) -> Vec<String> {
    use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError as E;
    match error.into_service_error() {
        E::TransactionCanceledException(it) => {
            it.cancellation_reasons().iter().filter_map(|it| it.code.clone()).collect()
        }
        other => vec![format!("{other:?}")],
    }
}

#[tokio::test]
async fn a_stream_switched_on_again_is_a_new_one_and_the_old_one_stays_readable() {
    let embedded = orders().await;
    let old = embedded.stream_arn("Orders").await;
    assert_eq!(old, "arn:aws:dynamodb:eu-west-1:000000000000:table/Orders/stream/2025-06-15T15:06:40.000");
    embedded.put("Orders", json!({"id": "1"})).await;
    embedded.disable_stream("Orders").await;
    embedded.put("Orders", json!({"id": "2"})).await;
    embedded.enable_stream("Orders", StreamViewType::NewAndOldImages).await;
    embedded.put("Orders", json!({"id": "3"})).await;

    let new = embedded.stream_arn("Orders").await;
    assert!(new > old, "{new} is later than {old}");
    let streams = embedded.streams();
    let described = streams.describe_stream().stream_arn(&old).send().await.unwrap();
    let described = described.stream_description.unwrap();
    assert_eq!(described.stream_status, Some(StreamStatus::Disabled));
    assert!(described.shards()[0].sequence_number_range().unwrap().ending_sequence_number().is_some());
    let (before, after) = (read_stream(&streams, &old).await, read_stream(&streams, &new).await);
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_eq!(after[0].dynamodb().unwrap().keys().unwrap()["id"].as_s().unwrap(), "3");
}

#[tokio::test]
async fn shards_roll_over_split_and_are_trimmed() {
    let embedded = orders().await;
    let arn = embedded.stream_arn("Orders").await;
    let streams = embedded.streams();
    for id in 0..20 {
        embedded.put("Orders", json!({"id": id.to_string()})).await;
    }
    embedded.split_shards("Orders");
    for id in 20..40 {
        embedded.put("Orders", json!({"id": id.to_string()})).await;
    }
    let records = embedded.read_stream("Orders").await;
    let mut distinct = numbers(&records);
    distinct.dedup();
    assert_eq!(distinct.len(), 40, "no record is lost or doubled by a split");

    let described = streams.describe_stream().stream_arn(&arn).send().await.unwrap();
    let shards = described.stream_description().unwrap().shards().to_vec();
    assert_eq!(shards.len(), 3);
    assert!(shards[1..].iter().all(|it| it.parent_shard_id == shards[0].shard_id));
    let from_start = |shard: &str| {
        let request = streams.get_shard_iterator().stream_arn(&arn).shard_id(shard);
        request.shard_iterator_type(ShardIteratorType::TrimHorizon).send()
    };
    let parent = from_start(shards[0].shard_id().unwrap()).await.unwrap().shard_iterator.unwrap();
    let page = streams.get_records().shard_iterator(&parent).limit(20).send().await.unwrap();
    assert_eq!(page.records().len(), 20);
    let child = from_start(shards[1].shard_id().unwrap()).await.unwrap().shard_iterator.unwrap();
    embedded.trim_stream("Orders");
    for old in [parent, child] {
        let refused = streams.get_records().shard_iterator(old).send().await.unwrap_err();
        assert_eq!(refused.code(), Some("TrimmedDataAccessException"));
    }
    assert_eq!(embedded.read_stream("Orders").await.len(), 0);
}

#[tokio::test]
async fn a_ttl_delete_carries_the_service_identity() {
    let embedded = orders().await;
    embedded.enable_ttl("Orders", "expires").await;
    embedded.put("Orders", json!({"id": "1", "expires": 1_750_000_010})).await;
    embedded.advance(Duration::from_secs(60));
    assert_eq!(embedded.sweep_ttl().await, 1);
    let records = embedded.read_stream("Orders").await;
    let identity = records[1].user_identity().unwrap();
    assert_eq!(identity.r#type(), Some("Service"));
    assert_eq!(identity.principal_id(), Some("dynamodb.amazonaws.com"));
}

#[tokio::test]
async fn every_fault_reaches_the_client_as_what_it_is() {
    let embedded = orders().await;
    let client = embedded.dynamodb();
    let codes = [
        (Fault::Throttle, "ProvisionedThroughputExceededException"),
        (Fault::Throttling, "ThrottlingException"),
        (Fault::InternalError, "InternalServerError"),
        (Fault::Unavailable, "ServiceUnavailableException"),
        (Fault::TransactionConflict, "TransactionConflictException"),
        (Fault::AccessDenied, "AccessDeniedException"),
        (Fault::TableMissing, "ResourceNotFoundException"),
        (Fault::Validation, "ValidationException"),
    ];
    for (fault, code) in codes {
        embedded.faults().add(Rule::on("PutItem", fault).table("Orders").containing("\"x\"").first(1));
        put(&client, "other").await.unwrap();
        assert_eq!(put(&client, "x").await.unwrap_err().code(), Some(code));
        put(&client, "x").await.unwrap();
    }
    embedded.faults().add(Rule::on("PutItem", Fault::LoseReply).first(1));
    assert!(matches!(put(&client, "lost").await, Err(SdkError::DispatchFailure(it)) if it.is_io()));
    assert!(embedded.get("Orders", json!({"id": "lost"})).await.is_some());
    embedded.faults().add(Rule::on("PutItem", Fault::Reset).first(1));
    assert!(matches!(put(&client, "reset").await, Err(SdkError::DispatchFailure(it)) if it.is_io()));
    assert!(embedded.get("Orders", json!({"id": "reset"})).await.is_none());
    embedded.faults().add(Rule::on("PutItem", Fault::Timeout).first(1));
    assert!(matches!(put(&client, "timeout").await, Err(SdkError::DispatchFailure(it)) if it.is_timeout()));
    assert_eq!(embedded.faults().count("PutItem"), embedded.requests().len());
    assert_eq!(embedded.requests()[0].tables, ["Orders"]);
}

#[tokio::test]
async fn a_crash_cuts_one_request_and_all_after_it() {
    for (fault, stored) in [(Fault::Crash, false), (Fault::CrashAfter, true)] {
        let embedded = orders().await;
        let client = embedded.dynamodb();
        embedded.faults().add(Rule::any(fault).nth(2));
        let work = async {
            put(&client, "1").await.unwrap();
            let both = tokio::join!(put(&client, "2"), put(&client, "3"));
            panic!("nothing completes after a crash: {both:?}");
        };
        tokio::select! { () = work => {}, () = embedded.faults().crashed() => {} }
        assert_eq!(embedded.get("Orders", json!({"id": "1"})).await, Some(json!({"id": "1"})));
        assert_eq!(embedded.get("Orders", json!({"id": "2"})).await.is_some(), stored);
        assert!(embedded.get("Orders", json!({"id": "3"})).await.is_none());
        embedded.faults().revive();
        put(&client, "4").await.unwrap();
        assert_eq!(embedded.faults().count("PutItem"), 3, "a dead process sends nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_virtual_and_chance_is_repeatable() {
    let embedded = orders().await;
    let client = embedded.dynamodb();
    let delay = embedded.faults().add(Rule::any(Fault::Delay(Duration::from_secs(3_600))));
    let before = tokio::time::Instant::now();
    put(&client, "1").await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 3_600);
    embedded.faults().remove(delay);
    let mut runs = Vec::new();
    for _ in 0..2 {
        let rule = embedded.faults().add(Rule::any(Fault::InternalError).chance(30, 7));
        let mut failed = Vec::new();
        for n in 0..50 {
            failed.push(put(&client, &n.to_string()).await.is_err());
        }
        assert!((5..30).contains(&embedded.faults().fired(rule)));
        embedded.faults().remove(rule);
        runs.push(failed);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn a_table_made_again_does_not_show_the_old_ones_records() {
    let embedded = orders().await;
    embedded.put("Orders", json!({"id": "1"})).await;
    let client = embedded.dynamodb();
    client.delete_table().table_name("Orders").send().await.unwrap();
    embedded.advance(Duration::from_secs(1));
    embedded.create_table("Orders", "id", Some("at:N"), Some(StreamViewType::NewAndOldImages)).await;
    client.wait_until_table_exists().table_name("Orders").wait(Duration::from_secs(5)).await.unwrap();
    embedded.put("Orders", json!({"id": "2", "at": 1})).await;
    assert_eq!(embedded.read_stream("Orders").await.len(), 1);
    assert_eq!(embedded.scan_all("Orders").await, [json!({"id": "2", "at": 1})]);
}

#[tokio::test]
async fn an_index_is_queried() {
    let embedded = Embedded::new();
    embedded.create_table_with_index("Stats", "id", None, None, ("by-company", "companyId", None)).await;
    embedded.put("Stats", json!({"id": "1", "companyId": "c"})).await;
    let found = embedded
        .dynamodb()
        .query()
        .table_name("Stats")
        .index_name("by-company")
        .key_condition_expression("companyId = :c")
        .expression_attribute_values(":c", AttributeValue::S("c".into()))
        .send()
        .await
        .unwrap();
    assert_eq!(found.count(), 1);
}

#[tokio::test]
async fn a_socket_serves_the_same_database_under_the_same_faults() {
    let embedded = orders().await;
    let served = embedded.serve().await;
    let client = aws_sdk_dynamodb::Client::new(&served.sdk_config());
    put(&client, "1").await.unwrap();
    embedded.faults().add(Rule::on("PutItem", Fault::Throttle).first(1));
    let throttled = put(&client, "2").await.unwrap_err();
    assert_eq!(throttled.code(), Some("ProvisionedThroughputExceededException"));
    embedded.faults().add(Rule::on("PutItem", Fault::LoseReply).first(1));
    assert!(matches!(put(&client, "3").await, Err(SdkError::DispatchFailure(_))));
    let stored = embedded.scan_all("Orders").await;
    assert_eq!(stored, [json!({"id": "1"}), json!({"id": "3"})]);
}
