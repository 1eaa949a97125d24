//! The same change over every wire, and back from a letter.

use std::sync::Arc;

use aws_sdk_dynamodbstreams::types::{
    AttributeValue, Identity, OperationType, Record, StreamRecord, StreamViewType,
};
use aws_smithy_types::DateTime;
use bytes::Bytes;
use millstream_processor::source::replay::decode_raw;
use millstream_processor::source::{DeliveryId, message, stream_record};
use millstream_projections::event::{Data, Event, rfc3339};
use millstream_projections::{Change, Item};
use serde_json::Value;

use super::{FIFO, KEYS_ONLY, QUEUE, STREAM, STREAM_ARN, Seen, TOPIC, all, name, received};

/// What the Streams API gives for the change that Lambda writes as `record`.
pub(super) fn sdk_record(record: &Value) -> Record {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let body = &record["dynamodb"];
    let image = |name: &str| {
        let item: Option<Item> = serde_json::from_value(body[name].clone()).unwrap();
        item.map(|item| {
            item.into_inner().into_iter().map(|(name, value)| (name, AttributeValue::from(value))).collect()
        })
    };
    let time = body["ApproximateCreationDateTime"].as_f64().map(DateTime::from_secs_f64);
    let who = record.get("userIdentity").map(|who| {
        Identity::builder().set_type(text(&who["type"])).set_principal_id(text(&who["principalId"])).build()
    });
    let body = StreamRecord::builder()
        .set_approximate_creation_date_time(time)
        .set_keys(image("Keys"))
        .set_new_image(image("NewImage"))
        .set_old_image(image("OldImage"))
        .set_sequence_number(text(&body["SequenceNumber"]))
        .set_size_bytes(body["SizeBytes"].as_i64())
        .set_stream_view_type(text(&body["StreamViewType"]).map(|view| StreamViewType::from(view.as_str())))
        .build();
    Record::builder()
        .set_event_id(text(&record["eventID"]))
        .set_event_name(text(&record["eventName"]).map(|name| OperationType::from(name.as_str())))
        .set_event_version(text(&record["eventVersion"]))
        .set_event_source(text(&record["eventSource"]))
        .set_aws_region(text(&record["awsRegion"]))
        .set_user_identity(who)
        .dynamodb(body)
        .build()
}

fn records(event: &str) -> Vec<Value> {
    let mut event: Value = serde_json::from_str(event).unwrap();
    let Value::Array(records) = event["Records"].take() else { panic!("no records") };
    records
}

/// Whole numbers are the same number with and without `.0`.
fn with_whole_times(mut record: Value) -> Value {
    let time = &mut record["dynamodb"]["ApproximateCreationDateTime"];
    if let Some(seconds) = time.as_f64() {
        *time = (seconds as u64).into();
    }
    record
}

#[test]
fn streams_api_and_lambda_say_the_same() {
    let arn: Arc<str> = STREAM_ARN.into();
    for event in [STREAM, KEYS_ONLY] {
        for (mut record, lambda) in records(event).into_iter().zip(all(event)) {
            let delivery = stream_record::decode(sdk_record(&record), &name("companies"), &arn);
            assert_eq!(Seen::of(delivery.change.as_ref().unwrap()), lambda.unwrap());

            let rendered: Value = serde_json::from_slice(&delivery.raw.json()).unwrap();
            record.as_object_mut().unwrap().remove("futureField");
            assert!(record["dynamodb"]["ApproximateCreationDateTime"].is_number() || event == KEYS_ONLY);
            assert_eq!(
                rendered,
                if record["dynamodb"].get("ApproximateCreationDateTime").is_some() {
                    with_whole_times(record)
                } else {
                    record
                }
            );
        }
    }
}

#[test]
fn streams_api_records_that_are_broken() {
    let arn: Arc<str> = STREAM_ARN.into();
    let golden = records(STREAM).remove(1);
    let decode = |record| stream_record::decode(record, &name("companies"), &arn);

    let nameless = decode(Record::builder().build());
    assert_eq!((nameless.id, nameless.change.is_err()), (DeliveryId::Sequence(String::new()), true));
    let mut unnumbered = sdk_record(&golden);
    if let Some(body) = &mut unnumbered.dynamodb {
        body.sequence_number = None;
    }
    assert_eq!(decode(unnumbered).change.unwrap_err().cause, "`dynamodb.SequenceNumber` is missing");

    let mut record = sdk_record(&golden);
    record.event_name = Some(OperationType::from("UPSERT"));
    let delivery = decode(record);
    assert_eq!(delivery.id, DeliveryId::Sequence("4421584500000000017450439092".into()));
    assert!(delivery.change.unwrap_err().cause.contains("`UPSERT`"));

    let mut record = sdk_record(&golden);
    if let Some(body) = &mut record.dynamodb {
        body.keys = None;
    }
    assert_eq!(decode(record).change.unwrap_err().cause, "`dynamodb.Keys` is missing");
}

#[test]
fn letters_come_back_as_they_were() {
    for (event, source) in
        [(STREAM, "companies"), (KEYS_ONLY, "companies"), (QUEUE, "events"), (FIFO, "fifo"), (TOPIC, "topic")]
    {
        for delivery in &received(event).unwrap().batches[0].deliveries {
            let raw = delivery.raw.json();
            let again = decode_raw(raw.clone(), &name(source));
            assert_eq!(again.id, delivery.id);
            assert_eq!(Seen::of(again.change.as_ref().unwrap()), Seen::of(delivery.change.as_ref().unwrap()));
            assert_eq!(again.raw.json(), raw);
        }
    }
    let arn: Arc<str> = STREAM_ARN.into();
    for record in records(STREAM) {
        let delivery = stream_record::decode(sdk_record(&record), &name("companies"), &arn);
        let again = decode_raw(delivery.raw.json(), &name("companies"));
        assert_eq!(Seen::of(again.change.as_ref().unwrap()), Seen::of(delivery.change.as_ref().unwrap()));
    }
}

#[test]
fn letters_that_say_nothing_stay_so() {
    for raw in [
        "",
        "nonsense",
        "{}",
        "[]",
        "{\"dynamodb\":{}}",
        "{\"body\":5}",
        "{\"Sns\":null}",
        "{\"dynamodb\":1}",
    ] {
        assert!(decode_raw(Bytes::from_static(raw.as_bytes()), &name("a")).change.is_err(), "{raw}");
    }
    let unfit = Bytes::from_static(br#"{"eventName":7,"dynamodb":{"SequenceNumber":"12"}}"#);
    assert_eq!(decode_raw(unfit, &name("a")).id, DeliveryId::Sequence("12".into()));
}

/// The event of a change as `emit` writes it.
fn published(change: &Change) -> String {
    let image = |item: &Item| item.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let digest = change.digest().unwrap();
    let event = Event {
        specversion: "1.0",
        id: "id",
        source: "/millstream/companies".to_owned(),
        kind: "company-changed.modify".to_owned(),
        subject: digest.as_str(),
        time: change.created_at.map(rfc3339),
        datacontenttype: "application/json",
        msversion: change.version.as_str(),
        data: Data {
            kind: change.kind.as_str(),
            expired: change.expired,
            keys: image(change.keys.item().unwrap()),
            new: change.new.as_ref().map(|new| image(new.item().unwrap())),
            old: change.old.as_ref().map(|old| image(old.item().unwrap())),
        },
    };
    serde_json::to_string(&event).unwrap()
}

#[test]
fn what_emit_publishes_is_what_is_read() {
    for event in [STREAM, KEYS_ONLY] {
        for delivery in &received(event).unwrap().batches[0].deliveries {
            let sent = delivery.change.as_ref().unwrap();
            let body = published(sent);
            let id = DeliveryId::Notification("n".to_owned());
            let enveloped =
                serde_json::json!({"Type": "Notification", "MessageId": "n", "Message": body}).to_string();
            for body in [body, enveloped] {
                let got = message::decode(id.clone(), Bytes::from(body.clone()), &name("companies"));
                assert_eq!(Seen::of(got.change.as_ref().unwrap()), Seen::of(sent));
                assert_eq!(got.raw.json(), body.as_bytes());
                let again = decode_raw(got.raw.json(), &name("companies"));
                assert_eq!(Seen::of(again.change.as_ref().unwrap()), Seen::of(sent));
            }
        }
    }
}

#[test]
fn a_body_that_is_no_json_makes_a_letter_of_json() {
    let id = DeliveryId::Message { id: "m-1".to_owned(), group: None };
    let delivery = message::decode(id.clone(), Bytes::from_static(b"he said \"hi\"\n"), &name("events"));
    let raw = delivery.raw.json();
    assert_eq!(
        serde_json::from_slice::<Value>(&raw).unwrap(),
        serde_json::json!({"messageId": "m-1", "body": "he said \"hi\"\n"})
    );
    let again = decode_raw(raw, &name("events"));
    assert_eq!((again.id, again.change.unwrap_err()), (id, delivery.change.unwrap_err()));
}
