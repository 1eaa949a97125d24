//! The SNS double, seen through the real SDK client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use aws_sdk_sns::error::ProvideErrorMetadata as _;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use millstream_test_support::faults::{Fault, Rule};
use millstream_test_support::sns::Topics;

fn entry(id: &str, message: &str) -> PublishBatchRequestEntry {
    let text = MessageAttributeValue::builder().data_type("String").string_value("v<&>1").build().unwrap();
    PublishBatchRequestEntry::builder()
        .id(id)
        .message(message)
        .message_attributes("version", text)
        .message_group_id("g")
        .message_deduplication_id(message)
        .build()
        .unwrap()
}

#[tokio::test]
async fn entries_fail_one_by_one_under_http_200() {
    let topics = Topics::new();
    let arn = topics.create("orders.fifo");
    let fault = Fault::FailEntries { containing: "bad".into(), code: "InternalError", sender_fault: false };
    topics.faults().add(Rule::on("PublishBatch", fault).first(1));
    let send = || {
        let entries = [entry("a", "good & <1>"), entry("b", "bad"), entry("c", "good 2")];
        topics.sns().publish_batch().topic_arn(&arn).set_publish_batch_request_entries(Some(entries.into()))
    };
    let sent = send().send().await.unwrap();
    assert_eq!(sent.successful().iter().map(|it| it.id().unwrap()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(
        (sent.failed()[0].id(), sent.failed()[0].code(), sent.failed()[0].sender_fault()),
        ("b", "InternalError", false)
    );
    send().send().await.unwrap();
    let published = topics.published(&arn);
    let bodies: Vec<_> = published.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(bodies, ["good & <1>", "good 2", "bad"], "a known deduplication id is dropped");
    assert_eq!(published[0].attributes["version"], "v<&>1");
    assert_eq!(published[0].group.as_deref(), Some("g"));
}

#[tokio::test]
async fn whole_requests_fail() {
    let topics = Topics::new();
    let arn = topics.create("orders");
    let publish = |arn: &str| topics.sns().publish().topic_arn(arn).message("m").send();
    let codes = [
        (Fault::Throttle, "Throttled"),
        (Fault::InternalError, "InternalError"),
        (Fault::AccessDenied, "AuthorizationError"),
        (Fault::TableMissing, "NotFound"),
    ];
    for (fault, code) in codes {
        topics.faults().add(Rule::on("Publish", fault).table(&arn).first(1));
        assert_eq!(publish(&arn).await.unwrap_err().code(), Some(code));
    }
    assert_eq!(
        publish("arn:aws:sns:eu-west-1:000000000000:none").await.unwrap_err().code(),
        Some("NotFound")
    );
    topics.faults().add(Rule::any(Fault::LoseReply).first(1));
    publish(&arn).await.unwrap_err();
    publish(&arn).await.unwrap();
    assert_eq!(topics.published(&arn).len(), 2);
    assert_eq!(topics.faults().count("Publish"), 7);
}
