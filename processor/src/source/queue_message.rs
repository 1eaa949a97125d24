//! From one message of SQS's API to a delivery, and to the form that Lambda gives it, so that letters have one form whoever
//! read the queue.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use millstream_projections::SourceName;
use serde::Serialize;

use super::message_json::message_id;
use super::stream_json::missing;
use super::{Delivery, DeliveryId, Raw, message};

/// A message as it came. Cheap to clone; its JSON is written only when a letter needs it.
#[derive(Clone)]
pub struct QueueMessage(Arc<Inner>);

struct Inner {
    /// All but the body.
    message: Message,
    body: Bytes,
    queue_arn: Arc<str>,
}

/// Decodes one message of the queue `queue_arn`.
///
/// Who received it knows it by its receipt: an id that is missing only lacks in the letter.
pub fn decode(mut message: Message, source: &SourceName, queue_arn: &Arc<str>) -> Delivery {
    let body = message.body.take().map(Bytes::from);
    let change = body.as_ref().ok_or_else(|| missing("body")).and_then(|body| message::change(body, source));
    let group = system(&message, &MessageSystemAttributeName::MessageGroupId);
    let id = message_id(message.message_id().unwrap_or_default(), group, Some(queue_arn));
    let id = id.unwrap_or_else(|| DeliveryId::Message { id: String::new(), group: None });
    let inner = Inner { message, body: body.unwrap_or_default(), queue_arn: queue_arn.clone() };
    Delivery { id, change, raw: Raw::Message(QueueMessage(Arc::new(inner))) }
}

/// What SQS itself says of a message.
pub(crate) fn system<'a>(message: &'a Message, name: &MessageSystemAttributeName) -> Option<&'a str> {
    message.attributes()?.get(name).map(String::as_str)
}

impl fmt::Debug for QueueMessage {
    /// Without its content: no item's values belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueMessage({} bytes)", self.0.body.len())
    }
}

impl QueueMessage {
    /// The message as Lambda writes it, without what each receive changes: the same message is the same letter.
    pub(super) fn json(&self) -> Bytes {
        let Inner { message, body, queue_arn } = &*self.0;
        let record = Record {
            message_id: message.message_id(),
            body: std::str::from_utf8(body).unwrap_or_default(),
            attributes: message.attributes().map(system_attributes).unwrap_or_default(),
            message_attributes: message.message_attributes().map(own_attributes).unwrap_or_default(),
            md5_of_body: message.md5_of_body(),
            event_source: "aws:sqs",
            event_source_arn: queue_arn,
            aws_region: queue_arn.split(':').nth(3),
        };
        // Nothing in it can fail to be written: all keys are text, and the writer is memory.
        Bytes::from(serde_json::to_vec(&record).unwrap_or_default())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    body: &'a str,
    attributes: BTreeMap<&'a str, &'a str>,
    message_attributes: BTreeMap<&'a str, Attribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5_of_body: Option<&'a str>,
    event_source: &'static str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_region: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attribute<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
    // SQS has these in its API and nowhere else.
    string_list_values: [(); 0],
    binary_list_values: [(); 0],
    data_type: &'a str,
}

fn system_attributes(all: &HashMap<MessageSystemAttributeName, String>) -> BTreeMap<&str, &str> {
    let changes = [
        MessageSystemAttributeName::ApproximateReceiveCount,
        MessageSystemAttributeName::ApproximateFirstReceiveTimestamp,
    ];
    let lasting = all.iter().filter(|(name, _)| !changes.contains(name));
    lasting.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn own_attributes(all: &HashMap<String, MessageAttributeValue>) -> BTreeMap<&str, Attribute<'_>> {
    all.iter().map(|(name, value)| (name.as_str(), Attribute::of(value))).collect()
}

impl<'a> Attribute<'a> {
    fn of(value: &'a MessageAttributeValue) -> Self {
        Self {
            string_value: value.string_value(),
            binary_value: value.binary_value().map(|bytes| STANDARD.encode(bytes)),
            string_list_values: [],
            binary_list_values: [],
            data_type: value.data_type(),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::primitives::Blob;
    use serde_json::{Value, json};

    use super::*;
    use crate::source::replay::decode_raw;

    const BODY: &str = r#"{"not":"an event"}"#;

    fn message(receipt: &str, count: &str) -> Message {
        let text = MessageAttributeValue::builder().data_type("String").string_value("a").build().unwrap();
        let bytes = MessageAttributeValue::builder()
            .data_type("Binary")
            .binary_value(Blob::new([1, 2]))
            .build()
            .unwrap();
        Message::builder()
            .message_id("m-1")
            .receipt_handle(receipt)
            .body(BODY)
            .md5_of_body("abc")
            .attributes(MessageSystemAttributeName::SentTimestamp, "1700000000000")
            .attributes(MessageSystemAttributeName::MessageGroupId, "g")
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, count)
            .attributes(MessageSystemAttributeName::ApproximateFirstReceiveTimestamp, count)
            .message_attributes("text", text)
            .message_attributes("bytes", bytes)
            .build()
    }

    fn delivery(queue: &str, message: Message) -> Delivery {
        let arn = format!("arn:aws:sqs:eu-west-1:000000000000:{queue}");
        decode(message, &SourceName::new("mail").unwrap(), &arn.into())
    }

    #[test]
    fn a_message_is_written_as_lambda_writes_it() {
        let delivery = delivery("mail.fifo", message("r-1", "1"));
        let json: Value = serde_json::from_slice(&delivery.raw.json()).unwrap();
        let attribute = |kind: &str, name: &str, value: &str| {
            let mut json = json!({ "dataType": kind, "stringListValues": [], "binaryListValues": [] });
            json[name] = value.into();
            json
        };
        let expected = json!({
            "messageId": "m-1", "body": BODY, "md5OfBody": "abc",
            "attributes": { "SentTimestamp": "1700000000000", "MessageGroupId": "g" },
            "messageAttributes": {
                "text": attribute("String", "stringValue", "a"),
                "bytes": attribute("Binary", "binaryValue", "AQI="),
            },
            "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:mail.fifo",
            "awsRegion": "eu-west-1",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_message_that_comes_again_is_the_same_record() {
        let (one, other) = (delivery("mail", message("r-1", "1")), delivery("mail", message("r-2", "2")));
        assert_eq!(one.raw.json(), other.raw.json());
    }

    #[test]
    fn a_letter_of_it_is_read_as_it_was() {
        for (queue, group) in [("mail", None), ("mail.fifo", Some("g".to_owned()))] {
            let first = delivery(queue, message("r-1", "1"));
            let again = decode_raw(first.raw.json(), &SourceName::new("mail").unwrap());
            assert_eq!(first.id, DeliveryId::Message { id: "m-1".to_owned(), group });
            assert_eq!((again.id, again.change.unwrap_err()), (first.id, first.change.unwrap_err()));
        }
    }

    #[test]
    fn a_message_without_a_body_tells_no_change() {
        let mut message = message("r-1", "1");
        message.body = None;
        let why = delivery("mail", message).change.unwrap_err();
        assert!(why.cause.contains("body"), "{why}");
    }
}
