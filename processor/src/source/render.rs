//! A record of the Streams API written as Lambda writes it, so that letters have one form whoever read the stream.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodbstreams::types::{AttributeValue, Identity, Record, StreamRecord};
use aws_smithy_types::{Blob, DateTime};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The JSON of one record, its attributes in the order of their names.
pub(super) fn record(record: &Record, stream_arn: &str) -> Bytes {
    let rendered = Rendered {
        event_id: record.event_id(),
        event_name: record.event_name().map(|name| name.as_str()),
        event_version: record.event_version(),
        event_source: record.event_source().unwrap_or("aws:dynamodb"),
        aws_region: record.aws_region(),
        user_identity: record.user_identity().map(UserIdentity::of),
        dynamodb: record.dynamodb().map(Body::of),
        event_source_arn: stream_arn,
    };
    // Nothing in it can fail to be written: all keys are text, and the writer is memory.
    Bytes::from(serde_json::to_vec(&rendered).unwrap_or_default())
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Rendered<'a> {
    #[serde(rename = "eventID", skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_version: Option<&'a str>,
    event_source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_identity: Option<UserIdentity<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dynamodb: Option<Body<'a>>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct UserIdentity<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_id: Option<&'a str>,
}

impl<'a> UserIdentity<'a> {
    fn of(identity: &'a Identity) -> Self {
        Self { kind: identity.r#type(), principal_id: identity.principal_id() }
    }
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_creation_date_time: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Attributes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_image: Option<Attributes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_image: Option<Attributes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_view_type: Option<&'a str>,
}

impl<'a> Body<'a> {
    fn of(body: &'a StreamRecord) -> Self {
        Self {
            approximate_creation_date_time: body.approximate_creation_date_time().map(Seconds::of),
            keys: body.keys().map(Attributes),
            new_image: body.new_image().map(Attributes),
            old_image: body.old_image().map(Attributes),
            sequence_number: body.sequence_number(),
            size_bytes: body.size_bytes(),
            stream_view_type: body.stream_view_type().map(|view| view.as_str()),
        }
    }
}

/// Seconds since 1970, with a fraction only where there is one.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Seconds {
    Whole(i64),
    Fraction(f64),
}

impl Seconds {
    fn of(time: &DateTime) -> Self {
        match time.subsec_nanos() {
            0 => Self::Whole(time.secs()),
            _ => Self::Fraction(time.as_secs_f64()),
        }
    }
}

struct Attributes<'a>(&'a HashMap<String, AttributeValue>);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let sorted: BTreeMap<_, _> = self.0.iter().collect();
        out.collect_map(sorted.into_iter().map(|(name, value)| (name, Attribute(value))))
    }
}

struct Attribute<'a>(&'a AttributeValue);

impl Serialize for Attribute<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let base64 = |bytes: &Blob| STANDARD.encode(bytes);
        let mut map = out.serialize_map(Some(1))?;
        match self.0 {
            AttributeValue::S(text) => map.serialize_entry("S", text),
            AttributeValue::N(digits) => map.serialize_entry("N", digits),
            AttributeValue::B(bytes) => map.serialize_entry("B", &base64(bytes)),
            AttributeValue::Bool(flag) => map.serialize_entry("BOOL", flag),
            AttributeValue::Null(flag) => map.serialize_entry("NULL", flag),
            AttributeValue::M(values) => map.serialize_entry("M", &Attributes(values)),
            AttributeValue::L(list) => {
                map.serialize_entry("L", &list.iter().map(Attribute).collect::<Vec<_>>())
            }
            AttributeValue::Ss(texts) => map.serialize_entry("SS", texts),
            AttributeValue::Ns(digits) => map.serialize_entry("NS", digits),
            AttributeValue::Bs(set) => map.serialize_entry("BS", &set.iter().map(base64).collect::<Vec<_>>()),
            // The SDK dropped the value. A type that no decoder knows keeps the loss in sight.
            _ => map.serialize_entry("UNKNOWN", &true),
        }?;
        map.end()
    }
}
