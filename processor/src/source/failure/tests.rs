//! Every form that a document has.

use serde_json::json;

use super::*;

fn batch() -> serde_json::Value {
    json!({
        "shardId": "shardId-1", "startSequenceNumber": "100", "endSequenceNumber": "200",
        "approximateArrivalOfFirstRecord": "2025-06-15T15:06:40Z",
        "approximateArrivalOfLastRecord": "2025-06-15T15:06:41Z", "batchSize": 2,
        "streamArn": "arn:aws:dynamodb:eu-west-1:000000000000:table/Orders/stream/2025-06-15T15:06:40.001",
    })
}

fn retries() -> serde_json::Value {
    json!({
        "requestContext": { "requestId": "r", "functionArn": "arn:f", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 4 },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "version": "1.0", "timestamp": "2025-06-15T16:00:00Z", "DDBStreamBatchInfo": batch(),
    })
}

#[test]
fn each_form_is_read() {
    let failure = parse(&retries().to_string()).unwrap();
    assert_eq!(failure.condition, Condition::RetryAttemptsExhausted);
    assert_eq!((failure.attempts, failure.function_error.as_deref()), (Some(4), Some("Unhandled")));
    assert_eq!((failure.pointer.from.as_str(), failure.pointer.to.as_str()), ("100", "200"));
    assert_eq!(failure.pointer.first_seconds(), Some(1_750_000_000));
    assert_eq!(failure.payload, None);

    let enveloped = json!({ "Type": "Notification", "MessageId": "m", "Message": retries().to_string() });
    assert_eq!(parse(&enveloped.to_string()).unwrap(), failure);

    let mut partial = retries();
    partial["responseContext"]["functionError"] = json!(null);
    assert_eq!(parse(&partial.to_string()).unwrap().function_error, None);

    let event = json!({ "Records": [{ "eventID": "1" }] });
    for payload in [event.clone(), json!(event.to_string())] {
        let mut s3 = retries();
        s3["payload"] = payload;
        let found = parse(&s3.to_string()).unwrap().payload.unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&found).unwrap(), event);
    }

    let pipes = json!({
        "context": { "partnerResourceArn": "arn:p", "condition": "RetryAttemptsExhausted" },
        "version": "1.0", "timestamp": "t", "DDBStreamBatchInfo": batch(),
    });
    let failure = parse(&pipes.to_string()).unwrap();
    assert_eq!((failure.function.as_deref(), failure.attempts), (Some("arn:p"), None));
}

#[test]
fn both_spellings_of_an_age_are_one_condition_and_a_new_one_keeps_its_name() {
    for (word, expected) in [
        ("RecordAgeExceeded", Condition::RecordAgeExceeded),
        ("MaxRecordAgeExceeded", Condition::RecordAgeExceeded),
        ("SomethingNew", Condition::Other("SomethingNew".to_owned())),
    ] {
        let mut document = retries();
        document["requestContext"]["condition"] = json!(word);
        document.as_object_mut().unwrap().remove("responseContext");
        assert_eq!(parse(&document.to_string()).unwrap().condition, expected);
    }
}

#[test]
fn what_is_no_document_says_why() {
    for text in [
        "",
        "hello",
        "[]",
        "{}",
        r#"{"Records":[]}"#,
        r#"{"Message":"hello"}"#,
        r#"{"DDBStreamBatchInfo":{}}"#,
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    let kinesis = json!({ "requestContext": { "condition": "x" }, "KinesisBatchInfo": {} }).to_string();
    assert!(parse(&kinesis).unwrap_err().to_string().contains("DDBStreamBatchInfo"));
}
