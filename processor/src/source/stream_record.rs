//! From one record of the Streams API to a delivery.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodbstreams::types::{AttributeValue, Record};
use millstream_projections::{Change, Image, SourceName, Value};

use super::stream_json::{expired, kind, known_seconds, missing, version};
use super::{Delivery, DeliveryId, Raw, Undecodable};

/// Decodes one record of the stream `stream_arn`.
///
/// A record whose sequence number is not usable says nothing, and its id holds what stood in the number's place: nothing
/// that a checkpoint may rest on. AWS sends no such record.
pub fn decode(record: Record, source: &SourceName, stream_arn: &Arc<str>) -> Delivery {
    let number = record.dynamodb().and_then(|body| body.sequence_number());
    let id = DeliveryId::Sequence(number.unwrap_or_default().to_owned());
    let change = change(&record, source, stream_arn);
    Delivery { id, change, raw: Raw::Record(Arc::new(record), stream_arn.clone()) }
}

fn change(record: &Record, source: &SourceName, stream_arn: &str) -> Result<Change, Undecodable> {
    let body = record.dynamodb().ok_or_else(|| missing("dynamodb"))?;
    let kind = kind(record.event_name().map(|name| name.as_str()))?;
    let who = record.user_identity();
    Ok(Change {
        source: source.clone(),
        kind,
        expired: expired(kind, who.and_then(|who| who.r#type()), who.and_then(|who| who.principal_id())),
        keys: image("dynamodb.Keys", body.keys())?.ok_or_else(|| missing("dynamodb.Keys"))?,
        new: image("dynamodb.NewImage", body.new_image())?,
        old: image("dynamodb.OldImage", body.old_image())?,
        version: version(Some(stream_arn), body.sequence_number())?,
        created_at: body
            .approximate_creation_date_time()
            .and_then(|time| u64::try_from(time.secs()).ok())
            .and_then(known_seconds),
        digest: OnceLock::new(),
    })
}

fn image(name: &str, item: Option<&HashMap<String, AttributeValue>>) -> Result<Option<Image>, Undecodable> {
    item.map(|item| values(item).map(|values| Image::from_item(values.into()))).transpose().map_err(
        |UnknownType| {
            Undecodable::new(format!("`{name}` holds a type of value that this version does not know"))
        },
    )
}

/// The SDK met a type of value that is newer than itself, and dropped the value.
struct UnknownType;

fn values(map: &HashMap<String, AttributeValue>) -> Result<HashMap<String, Value>, UnknownType> {
    map.iter().map(|(name, each)| Ok((name.clone(), value(each)?))).collect()
}

/// One value of the SDK. `serde_dynamo`'s own conversion panics at an unknown type, and copies first.
fn value(from: &AttributeValue) -> Result<Value, UnknownType> {
    Ok(match from {
        AttributeValue::S(text) => Value::S(text.clone()),
        AttributeValue::N(digits) => Value::N(digits.clone()),
        AttributeValue::B(bytes) => Value::B(bytes.as_ref().to_vec()),
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::Null(flag) => Value::Null(*flag),
        AttributeValue::M(map) => Value::M(values(map)?),
        AttributeValue::L(list) => Value::L(list.iter().map(value).collect::<Result<_, _>>()?),
        AttributeValue::Ss(texts) => Value::Ss(texts.clone()),
        AttributeValue::Ns(digits) => Value::Ns(digits.clone()),
        AttributeValue::Bs(set) => Value::Bs(set.iter().map(|bytes| bytes.as_ref().to_vec()).collect()),
        _ => return Err(UnknownType),
    })
}
