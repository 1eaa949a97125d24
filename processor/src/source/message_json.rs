//! Records of queues and topics as Lambda writes them: each carries one message.

use bytes::Bytes;
use millstream_projections::{Change, SourceName};
use serde::Deserialize;

use super::lambda_event::{Remains, WireRecord};
use super::records::{Text, member, member_text};
use super::stream_json::missing;
use super::{DeliveryId, Undecodable, message};

/// One message of an SQS queue.
#[derive(Deserialize)]
pub(super) struct QueueRecord<'a> {
    #[serde(borrow, default, rename = "messageId")]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    body: Option<Text<'a>>,
    #[serde(borrow, default)]
    attributes: Option<Attributes<'a>>,
    #[serde(borrow, default, rename = "eventSourceARN")]
    arn: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Attributes<'a> {
    #[serde(borrow, default, rename = "MessageGroupId")]
    group: Option<Text<'a>>,
}

impl<'a> WireRecord<'a> for QueueRecord<'a> {
    const NAMED_BY: &'static str = "messageId";
    const FROM: &'static str = "eventSourceARN";

    fn arn(&self) -> Option<&str> {
        self.arn.as_deref()
    }

    fn id(&self) -> Option<DeliveryId> {
        let group = self.attributes.as_ref().and_then(|attributes| attributes.group.as_deref());
        message_id(self.id.as_deref()?, group, self.arn())
    }

    fn change(self, json: &Bytes, source: &SourceName) -> Result<Change, Undecodable> {
        message::change(&self.body.ok_or_else(|| missing("body"))?.into_bytes(json), source)
    }

    fn remains(json: &str) -> Remains {
        let arn = member_text(json, "eventSourceARN");
        let group =
            member(json, "attributes").and_then(|attributes| member_text(attributes, "MessageGroupId"));
        let id = member_text(json, "messageId");
        Remains { id: id.and_then(|id| message_id(&id, group.as_deref(), arn.as_deref())), arn }
    }
}

/// Standard queues may have groups too, to share them fairly: only those of a FIFO queue are an order.
pub(super) fn message_id(id: &str, group: Option<&str>, arn: Option<&str>) -> Option<DeliveryId> {
    let fifo = arn.is_some_and(|arn| arn.ends_with(".fifo"));
    let group = group.filter(|_| fifo).map(str::to_owned);
    (!id.is_empty()).then(|| DeliveryId::Message { id: id.to_owned(), group })
}

/// One notification that SNS invokes a function with.
#[derive(Deserialize)]
pub(super) struct TopicRecord<'a> {
    #[serde(borrow, default, rename = "Sns")]
    notification: Option<Notification<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Notification<'a> {
    #[serde(borrow, default)]
    message_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    topic_arn: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
}

impl<'a> WireRecord<'a> for TopicRecord<'a> {
    const NAMED_BY: &'static str = "Sns.MessageId";
    const FROM: &'static str = "Sns.TopicArn";

    fn arn(&self) -> Option<&str> {
        self.notification.as_ref()?.topic_arn.as_deref()
    }

    fn id(&self) -> Option<DeliveryId> {
        notification_id(self.notification.as_ref()?.message_id.as_deref()?)
    }

    fn change(self, json: &Bytes, source: &SourceName) -> Result<Change, Undecodable> {
        let notification = self.notification.ok_or_else(|| missing("Sns"))?;
        message::change(&notification.message.ok_or_else(|| missing("Sns.Message"))?.into_bytes(json), source)
    }

    fn remains(json: &str) -> Remains {
        let notification = member(json, "Sns").unwrap_or_default();
        Remains {
            arn: member_text(notification, "TopicArn"),
            id: member_text(notification, "MessageId").and_then(|id| notification_id(&id)),
        }
    }
}

fn notification_id(id: &str) -> Option<DeliveryId> {
    (!id.is_empty()).then(|| DeliveryId::Notification(id.to_owned()))
}
