//! Records that are broken in one way each.

use bytes::Bytes;
use millstream_processor::source::lambda_event::{EventError, Wire, decode};
use millstream_processor::source::{DeliveryId, SourceKey, Sources};
use serde_json::{Value, json};

use super::{FIFO, QUEUE, STREAM, STREAM_ARN, Seen, TOPIC, all, name, received, sources};

fn golden(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// One record of the golden stream with something changed in it.
fn record(change: impl FnOnce(&mut Value)) -> Value {
    let mut record = golden(STREAM)["Records"][1].take();
    change(&mut record);
    record
}

fn event(records: &[Value]) -> String {
    json!({ "Records": records }).to_string()
}

/// The one record of an event.
fn one(record: Value) -> Result<Seen, String> {
    all(&event(&[record])).remove(0)
}

#[track_caller]
fn undecodable(record: Value, expected: &str) {
    let cause = one(record).unwrap_err();
    assert!(cause.contains(expected), "{cause}");
}

#[track_caller]
fn fails(event: &str, expected: &str) -> EventError {
    let error = received(event).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    error
}

#[test]
fn missing_is_not_empty() {
    let missing = one(record(|r| drop(r["dynamodb"].as_object_mut().unwrap().remove("OldImage")))).unwrap();
    let null = one(record(|r| r["dynamodb"]["OldImage"] = Value::Null)).unwrap();
    let empty = one(record(|r| r["dynamodb"]["OldImage"] = json!({}))).unwrap();
    assert_eq!((missing.old, null.old), (None, None));
    assert_eq!(empty.old.map(|item| item.len()), Some(0));
}

#[test]
fn time_is_known_or_not() {
    let at = |time: Value| {
        one(record(|r| r["dynamodb"]["ApproximateCreationDateTime"] = time)).unwrap().created_at
    };
    assert_eq!(at(json!(1_795_253_653)), Some(1_795_253_653));
    assert_eq!(at(json!(1_795_253_653.987)), Some(1_795_253_653));
    for unknown in [json!(null), json!(0), json!(-5), json!("2026-11-21"), json!(1e300), json!({})] {
        assert_eq!(at(unknown.clone()), None, "{unknown}");
    }
    let gone = record(|r| drop(r["dynamodb"].as_object_mut().unwrap().remove("ApproximateCreationDateTime")));
    assert_eq!(one(gone).unwrap().created_at, None);
}

#[test]
fn only_dynamodb_expires_items() {
    let expired = |who: Value, kind: &str| {
        one(record(|r| {
            r["userIdentity"] = who;
            r["eventName"] = kind.into();
        }))
        .unwrap()
        .expired
    };
    assert!(expired(json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"}), "REMOVE"));
    assert!(expired(json!({"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}), "REMOVE"));
    assert!(!expired(json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"}), "MODIFY"));
    assert!(!expired(json!({"type": "Service", "principalId": "other.amazonaws.com"}), "REMOVE"));
    assert!(!expired(json!(null), "REMOVE"));
    assert!(!expired(json!({}), "REMOVE"));
}

#[test]
fn escapes_in_the_record_itself() {
    let text =
        event(&[record(|_| ())]).replace("eventName", "event\\u004eame").replace("MODIFY", "MOD\\u0049FY");
    assert_eq!(all(&text), all(&event(&[record(|_| ())])));
}

#[test]
fn one_bad_record_is_one_letter() {
    let removed = |name: &'static str| move |r: &mut Value| drop(r.as_object_mut().unwrap().remove(name));
    undecodable(record(removed("eventName")), "`eventName` is missing");
    undecodable(record(|r| r["eventName"] = "UPSERT".into()), "`eventName` is `UPSERT`");
    undecodable(record(|r| r["eventName"] = json!(7)), "invalid type");
    undecodable(record(|r| r["dynamodb"]["Keys"] = Value::Null), "`dynamodb.Keys` is missing");
    undecodable(record(|r| r["dynamodb"]["Keys"] = json!([])), "`dynamodb.Keys` is not an object");
    undecodable(record(|r| r["dynamodb"]["NewImage"] = json!("x")), "`dynamodb.NewImage` is not an object");
    undecodable(record(|r| r["userIdentity"] = json!("me")), "invalid type");
}

#[test]
fn others_go_on_beside_a_bad_record() {
    let good = golden(STREAM)["Records"].as_array().unwrap().clone();
    let alone = all(&event(&good));
    for bad in [record(|r| r["eventName"] = json!(7)), record(|r| r["dynamodb"]["Keys"] = json!(7))] {
        for place in 0..=good.len() {
            let mut records = good.clone();
            records.insert(place, bad.clone());
            let text = event(&records);
            let mut seen = all(&text);
            assert!(seen.remove(place).is_err());
            assert_eq!(seen, alone, "the slow path says the same as the fast one");

            let delivery = &received(&text).unwrap().batches[0].deliveries[place];
            assert_eq!(delivery.id, DeliveryId::Sequence("4421584500000000017450439092".into()));
            assert_eq!(serde_json::from_slice::<Value>(&delivery.raw.json()).unwrap(), bad);
        }
    }
}

#[test]
fn a_record_without_its_arn_is_told_to_its_neighbours_source() {
    let orphan = record(|r| drop(r.as_object_mut().unwrap().remove("eventSourceARN")));
    let seen = all(&event(&[orphan.clone(), record(|_| ())]));
    assert_eq!(seen[0], Err("`eventSourceARN` is missing".to_owned()));
    assert!(seen[1].is_ok());
    fails(&event(&[orphan]), "record 0 of the event lacks `eventSourceARN`");
}

#[test]
fn a_record_without_a_name_fails_the_event() {
    let good = record(|_| ());
    for bad in [json!(null), json!(""), json!("12a"), json!("9".repeat(41)), json!(12)] {
        let bad = record(|r| r["dynamodb"]["SequenceNumber"] = bad);
        let error = fails(&event(&[good.clone(), bad]), "`dynamodb.SequenceNumber`");
        assert!(matches!(error, EventError::Incomplete { index: 1, .. }), "{error}");
    }
    fails(
        &event(&[good.clone(), json!(5)]),
        "record 1 of the event lacks a usable `dynamodb.SequenceNumber`",
    );
    fails(
        &event(&[good.clone(), json!({})]),
        "record 1 of the event lacks a usable `dynamodb.SequenceNumber`",
    );
    let queue = QUEUE.replacen("\"messageId\"", "\"messageID\"", 1);
    fails(&queue, "record 0 of the event lacks a usable `messageId`");
    fails(&TOPIC.replace("\"MessageId\"", "\"Message_Id\""), "lacks a usable `Sns.MessageId`");
}

#[test]
fn records_of_several_streams_are_grouped_in_their_order() {
    let with = |table: &str, number: u32| {
        record(|r| {
            r["eventSourceARN"] = STREAM_ARN.replace("CompanyProfile", table).into();
            r["dynamodb"]["SequenceNumber"] = number.to_string().into();
        })
    };
    let records =
        [with("Orders", 1), with("CompanyProfile", 2), with("Orders", 3), with("CompanyProfile", 4)];
    let batches = received(&event(&records)).unwrap().batches;
    let ids = |place: usize| {
        batches[place].deliveries.iter().map(|delivery| delivery.id.clone()).collect::<Vec<_>>()
    };
    let numbers = |numbers: [u32; 2]| numbers.map(|number| DeliveryId::Sequence(number.to_string()));
    assert_eq!((batches[0].source.as_str(), ids(0)), ("orders", numbers([1, 3]).to_vec()));
    assert_eq!((batches[1].source.as_str(), ids(1)), ("companies", numbers([2, 4]).to_vec()));
    let cut: Value = serde_json::from_slice(&batches[1].deliveries[1].raw.json()).unwrap();
    assert_eq!(cut, records[3]);
}

#[test]
fn a_stream_that_was_switched_off_and_on_is_later() {
    let on_again = record(|r| {
        r["eventSourceARN"] = STREAM_ARN.replace("2026-11-20T", "2026-11-21T").into();
        r["dynamodb"]["SequenceNumber"] = "1".into();
    });
    let seen = all(&event(&[record(|_| ()), on_again]));
    assert!(seen[0].as_ref().unwrap().version < seen[1].as_ref().unwrap().version);
}

#[test]
fn an_event_that_no_source_covers() {
    let other = event(&[record(|r| r["eventSourceARN"] = STREAM_ARN.replace("Company", "User").into())]);
    let error = fails(&other, "table/UserProfile/stream/");
    assert!(
        error.to_string().contains("companies (table CompanyProfile), orders (table Orders), events"),
        "{error}"
    );
    fails(&QUEUE.replace("sqs:eu-west-1:123456789012", "sqs:eu-west-1:210987654321"), "210987654321");
    fails(&FIFO.replace("company-events.fifo", "other.fifo"), "other.fifo");
    fails(&TOPIC.replace(":company-changed", ":company-deleted"), "company-deleted");
    let none = decode(Bytes::from_static(STREAM.as_bytes()), &Sources::default()).unwrap_err();
    assert!(none.to_string().ends_with("known: none"), "{none}");
}

#[test]
fn sources_by_other_spellings() {
    let resolves = |key: SourceKey, arn: &str| Sources::new([(name("a"), key)]).resolve(arn).is_some();
    let queue = |text: &str| SourceKey::Queue(text.to_owned());
    let arn = "arn:aws-cn:sqs:cn-north-1:123456789012:q";
    assert!(resolves(queue("q"), arn));
    assert!(resolves(queue("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q"), arn));
    assert!(resolves(queue("http://localhost:4566/queue/q/"), arn));
    assert!(!resolves(queue("http://localhost:4566/000000000000/q"), arn));
    assert!(!resolves(queue("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q2"), arn));
    assert!(!resolves(SourceKey::Table("q".to_owned()), arn));
    let (table_arn, _) = STREAM_ARN.split_once("/stream/").unwrap();
    assert!(resolves(SourceKey::Table(table_arn.to_owned()), STREAM_ARN));
    assert!(!resolves(SourceKey::Table("CompanyProfile".to_owned()), table_arn), "a table is not its stream");
    assert!(!resolves(SourceKey::Table("CompanyProfile".to_owned()), "nonsense"));
}

#[test]
fn events_of_unknown_shape_say_what_they_are() {
    let known = "known shapes, `Records` of eventSource `aws:dynamodb`, `aws:sqs` or `aws:sns`: saw ";
    for (event, seen) in [
        (json!({"Records": [{"eventSource": "aws:kinesis"}]}), "records of eventSource `aws:kinesis`"),
        (json!({"Records": [{"id": 1, "x": 2}]}), "records without eventSource: the keys `id`, `x`"),
        (json!({"detail-type": "x", "detail": {}}), "an object with the keys `detail`, `detail-type`"),
        (json!({"Records": 5}), "an object with the keys `Records`"),
        (json!({}), "an object with no keys"),
        (json!([1, 2]), "a list"),
        (json!("secret"), "a single value"),
    ] {
        let error = fails(&event.to_string(), known);
        assert!(error.to_string().ends_with(seen), "{error}");
    }
    for broken in ["", "{", "{\"Records\":[", "nonsense", "{\"Records\":[]} trailing"] {
        let error = received(broken);
        assert!(error.is_err() || broken.ends_with("trailing"), "{broken}");
    }
    fails(&STREAM[..STREAM.len() - 3], "event is not JSON: EOF");
    let bytes = Bytes::from_static(b"{\"Records\": \"\xff\"}");
    assert!(matches!(decode(bytes, &sources()), Err(EventError::NotJson { .. })));
}

#[test]
fn an_empty_event_asks_for_nothing() {
    let received = received("{\"Records\":[]}").unwrap();
    assert_eq!((received.wire, received.batches.len()), (Wire::Stream, 0));
}

#[test]
fn messages_that_are_no_events_of_ours() {
    let check = |body: Value, expected: &str| {
        let mut event = golden(FIFO);
        event["Records"][0]["body"] = body;
        let seen = all(&event.to_string());
        let cause = seen[0].as_ref().unwrap_err();
        assert!(cause.contains(expected), "{cause}");
        assert!(seen[1].is_ok());
    };
    let body = |change: &dyn Fn(&mut Value)| {
        let mut body: Value =
            serde_json::from_str(golden(FIFO)["Records"][0]["body"].as_str().unwrap()).unwrap();
        change(&mut body);
        Value::String(body.to_string())
    };
    let without = |name: &'static str| body(&|body| drop(body.as_object_mut().unwrap().remove(name)));
    check(json!(null), "`body` is missing");
    check(json!(5), "invalid type");
    check(json!("hello"), "message is not a JSON object");
    check(json!("{\"a\":"), "EOF");
    check(json!("{}"), "missing field `id`");
    check(without("msversion"), "missing field `msversion`");
    check(without("subject"), "missing field `subject`");
    check(without("data"), "missing field `data`");
    check(body(&|body| body["subject"] = "c-1001".into()), "`subject` is not the digest of a key");
    check(body(&|body| body["msversion"] = "".into()), "`msversion` is empty");
    check(body(&|body| body["data"]["kind"] = "UPSERT".into()), "`data.kind` is `UPSERT`");
    check(body(&|body| body["data"]["keys"] = json!([])), "`data.keys` is not an object");
    check(json!(r#"{"Type":"SubscriptionConfirmation","Token":"x"}"#), "type `SubscriptionConfirmation`");
    check(json!(r#"{"Type":"Notification"}"#), "`Message` is missing");
    check(json!(r#"{"Type":"Notification","Message":"hi"}"#), "message is not a JSON object");
}
