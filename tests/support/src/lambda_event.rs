//! Stream records as the JSON event that Lambda hands to a function.

use aws_sdk_dynamodbstreams::types::{AttributeValue, Record};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The event for a batch of records of one stream.
pub fn event(stream_arn: &str, records: &[Record]) -> Value {
    json!({ "Records": records.iter().map(|it| record(stream_arn, it)).collect::<Vec<_>>() })
}

/// One record of the event.
pub fn record(stream_arn: &str, record: &Record) -> Value {
    let mut json = json!({
        "eventID": record.event_id(),
        "eventName": record.event_name().map(|it| it.as_str()),
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": record.aws_region(),
        "eventSourceARN": stream_arn,
        "dynamodb": change(record),
    });
    // The streams API spells these members in upper case, Lambda in lower case.
    if let Some(identity) = record.user_identity() {
        json["userIdentity"] = json!({ "type": identity.r#type(), "principalId": identity.principal_id() });
    }
    json
}

fn change(record: &Record) -> Value {
    let change = record.dynamodb().expect("a record holds a change");
    let mut json = Map::new();
    if let Some(time) = change.approximate_creation_date_time() {
        json.insert("ApproximateCreationDateTime".into(), time.as_secs_f64().into());
    }
    let images =
        [("Keys", change.keys()), ("NewImage", change.new_image()), ("OldImage", change.old_image())];
    for (name, image) in images {
        if let Some(image) = image {
            json.insert(name.into(), item(image));
        }
    }
    json.insert("SequenceNumber".into(), change.sequence_number().into());
    json.insert("SizeBytes".into(), change.size_bytes().into());
    json.insert("StreamViewType".into(), change.stream_view_type().map(|it| it.as_str()).into());
    json.into()
}

/// An item in DynamoDB's JSON, with binary values in base64.
pub fn item(item: &HashMap<String, AttributeValue>) -> Value {
    item.iter().map(|(name, value)| (name.clone(), attribute(value))).collect::<Map<_, _>>().into()
}

fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(it) => json!({ "S": it }),
        AttributeValue::N(it) => json!({ "N": it }),
        AttributeValue::B(it) => json!({ "B": STANDARD.encode(it) }),
        AttributeValue::Bool(it) => json!({ "BOOL": it }),
        AttributeValue::Null(it) => json!({ "NULL": it }),
        AttributeValue::Ss(all) => json!({ "SS": all }),
        AttributeValue::Ns(all) => json!({ "NS": all }),
        AttributeValue::Bs(all) => {
            json!({ "BS": all.iter().map(|it| STANDARD.encode(it)).collect::<Vec<_>>() })
        }
        AttributeValue::L(all) => json!({ "L": all.iter().map(attribute).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": item(map) }),
        unknown => panic!("no such attribute type in a stream: {unknown:?}"),
    }
}
