//! From a letter's record back to a delivery: whatever [`Raw::json`] gave, and bodies of messages alone.

use bytes::Bytes;
use millstream_projections::{Change, SourceName};

use super::lambda_event::WireRecord;
use super::message_json::{QueueRecord, TopicRecord};
use super::records::{member_text, members};
use super::stream_json::StreamRecord;
use super::{Delivery, DeliveryId, Raw, Undecodable, message};

/// Decodes the record of a letter of `source`.
///
/// A record that lost its name gets an empty one: nobody reports a replayed record to a host.
pub fn decode_raw(raw_json: Bytes, source: &SourceName) -> Delivery {
    let (id, change) = read(&raw_json, source);
    Delivery {
        id: id.unwrap_or_else(|| DeliveryId::Notification(String::new())),
        change,
        raw: Raw::Json(raw_json),
    }
}

type Read = (Option<DeliveryId>, Result<Change, Undecodable>);

fn read(json: &Bytes, source: &SourceName) -> Read {
    let Ok(text) = std::str::from_utf8(json) else { return (None, message::change(json, source)) };
    let members = members(text);
    let has = |name: &str| members.iter().any(|(known, _)| known == name);
    if has("dynamodb") {
        record::<StreamRecord<'_>>(json, text, source)
    } else if has("body") {
        record::<QueueRecord<'_>>(json, text, source)
    } else if has("Sns") {
        record::<TopicRecord<'_>>(json, text, source)
    } else {
        let id = member_text(text, "MessageId").or_else(|| member_text(text, "id"));
        (id.map(DeliveryId::Notification), message::change(json, source))
    }
}

fn record<'a, R: WireRecord<'a>>(json: &Bytes, text: &'a str, source: &SourceName) -> Read {
    match serde_json::from_str::<R>(text) {
        Ok(record) => (record.id(), record.change(json, source)),
        Err(error) => (R::remains(text).id, Err(Undecodable::new(error.to_string()))),
    }
}
