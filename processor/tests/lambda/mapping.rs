//! A stream, an event source mapping that keeps AWS's documented rules, and the process behind it.

use millstream_test_support::event_source_mapping::{Drained, EventSourceMapping, Settings};
use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::runtime_api::Function;
use serde_json::{Value, json};

use crate::deployment::{Deployment, invoke, sequence};

async fn drain(mapping: &mut EventSourceMapping, function: &Function) -> Drained {
    mapping.drain(async |event: Value| invoke(function, &event).await).await
}

/// Creates, changes, deletes and creates again: 200 changes of 23 items, the same for the same seed.
async fn random_changes(deployment: &Deployment, seed: u64) {
    let mut state = seed;
    let mut draw = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for change in 0..200 {
        let id = format!("o{}", draw(23));
        match draw(4) {
            0 => deployment.db.delete("Orders", json!({ "orderId": id })).await,
            _ => deployment.order(&id, change).await,
        }
    }
}

#[tokio::test]
async fn rows_equal_the_source_after_random_changes_under_throttles_errors_and_lost_replies() {
    let deployment = Deployment::orders().await;
    random_changes(&deployment, 7).await;
    let faults = deployment.db.faults();
    let scripted = [
        faults.add(Rule::any(Fault::Throttle).chance(10, 1)),
        faults.add(Rule::any(Fault::InternalError).chance(10, 2)),
        faults.add(Rule::any(Fault::LoseReply).chance(10, 3)),
        faults.add(Rule::on("TransactWriteItems", Fault::TransactionConflict).chance(10, 4)),
    ];
    let settings = Settings { batch_size: 17, parallelization_factor: 3, ..Settings::default() };
    let mut mapping = deployment.mapping("Orders", settings).await;
    let function = deployment.start().await;
    assert_eq!(drain(&mut mapping, &function).await, Drained::End);
    assert!(scripted.iter().all(|rule| faults.fired(*rule) > 0), "each fault was met");
    assert_eq!(deployment.rows("Accounting").await, deployment.rows("Orders").await);
    assert!(deployment.letters().await.is_empty());
    assert!(mapping.failures().is_empty());
}

#[tokio::test]
async fn what_cannot_be_written_now_comes_again_from_there_on_until_it_can() {
    let deployment = Deployment::orders().await;
    for n in 0..6 {
        deployment.order(&format!("o{n}"), n).await;
    }
    let broken = Rule::any(Fault::Throttle).table("Accounting").containing("\"o2\"");
    deployment.db.faults().add(broken);
    let settings = Settings { invocation_limit: 3, ..Settings::default() };
    let mut mapping = deployment.mapping("Orders", settings).await;
    let function = deployment.start().await;
    assert_eq!(drain(&mut mapping, &function).await, Drained::Blocked);

    let records = deployment.db.read_stream("Orders").await;
    let all: Vec<&str> = records.iter().map(sequence).collect();
    let deliveries = mapping.deliveries();
    let came: Vec<&[String]> = deliveries.iter().map(|it| it.sequence_numbers.as_slice()).collect();
    assert_eq!(came, [&all[..], &all[2..], &all[2..]]);
    for delivery in &deliveries {
        let expected = json!({ "batchItemFailures": [{ "itemIdentifier": all[2] }] });
        assert_eq!(delivery.answer.as_ref(), Ok(&expected));
    }
    let written: Vec<Value> = deployment.rows("Accounting").await;
    assert_eq!(written.len(), 5, "the others are written: {written:?}");
    assert!(written.iter().all(|row| row["orderId"] != "o2"));

    deployment.db.faults().clear();
    assert_eq!(drain(&mut mapping, &function).await, Drained::End);
    assert_eq!(mapping.deliveries().len(), 4);
    assert_eq!(deployment.rows("Accounting").await, deployment.rows("Orders").await);
    assert!(deployment.letters().await.is_empty());
}

#[tokio::test]
async fn a_poison_record_becomes_a_letter_and_the_shard_goes_on() {
    let deployment = Deployment::orders().await;
    deployment.order("o1", 1).await;
    deployment.db.put("Orders", json!({ "orderId": "poison" })).await;
    deployment.order("o2", 2).await;
    let mut mapping = deployment.mapping("Orders", Settings::default()).await;
    let function = deployment.start().await;
    assert_eq!(drain(&mut mapping, &function).await, Drained::End);
    assert_eq!(mapping.deliveries().len(), 1, "nothing came again");
    let expected = [json!({ "orderId": "o1", "total": 1 }), json!({ "orderId": "o2", "total": 2 })];
    assert_eq!(deployment.rows("Accounting").await, expected);

    let letters = deployment.letters().await;
    assert_eq!(letters.len(), 1);
    let record: Value = serde_json::from_slice(&letters[0].record).expect("a record is JSON");
    let (event, _) = deployment.event("Orders").await;
    assert_eq!(record, event["Records"][1], "the record as it came");
}

#[tokio::test]
async fn a_wrong_deployment_is_retried_and_bisected_and_never_fills_the_letters() {
    let deployment = Deployment::orders().await;
    for n in 0..4 {
        deployment.order(&format!("o{n}"), n).await;
    }
    deployment.db.faults().add(Rule::any(Fault::AccessDenied).table("Accounting"));
    let settings = Settings { maximum_retry_attempts: Some(2), bisect: true, ..Settings::default() };
    let mut mapping = deployment.mapping("Orders", settings).await;
    let function = deployment.start().await;
    assert_eq!(drain(&mut mapping, &function).await, Drained::End);

    let deliveries = mapping.deliveries();
    let sizes: Vec<usize> = deliveries.iter().map(|it| it.sequence_numbers.len()).collect();
    assert_eq!(sizes, [4, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1], "each record has its three attempts");
    for delivery in &deliveries {
        let error = delivery.answer.as_ref().expect_err("nothing could be done").message.clone();
        assert!(error.contains("Accounting") && error.contains("AccessDenied"), "{error}");
    }
    let failures = mapping.failures();
    let records = deployment.db.read_stream("Orders").await;
    assert_eq!(failures.len(), records.len());
    for (document, record) in failures.iter().zip(&records) {
        let batch = &document["DDBStreamBatchInfo"];
        assert_eq!(
            (&batch["batchSize"], &batch["startSequenceNumber"]),
            (&json!(1), &json!(sequence(record)))
        );
        assert_eq!(document["requestContext"]["condition"], "RetryAttemptsExhausted");
        assert_eq!(document["responseContext"]["functionError"], "Unhandled");
    }
    assert!(deployment.letters().await.is_empty());
    assert!(deployment.rows("Accounting").await.is_empty());
}
