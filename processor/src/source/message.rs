//! From one message, of a queue or of a topic, to the change that it tells of.
//!
//! A message is an event that `emit` published, alone or in the envelope that SNS puts around it.

use std::sync::OnceLock;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use millstream_projections::event::ReceivedEvent;
use millstream_projections::{Change, ChangeKind, KeyDigest, SourceName, Version};
use serde::Deserialize;

use super::records::Text;
use super::stream_json::{image, known_seconds, missing};
use super::{Delivery, DeliveryId, Raw, Undecodable};

/// Decodes the body of one message.
pub fn decode(id: DeliveryId, body: Bytes, source: &SourceName) -> Delivery {
    let change = change(&body, source);
    let is_json = change.is_ok() || serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
    let raw = Raw::Json(if is_json { body } else { wrapped(&id, &body) });
    Delivery { id, change, raw }
}

/// What a message says.
pub(super) fn change(body: &Bytes, source: &SourceName) -> Result<Change, Undecodable> {
    let envelope: Envelope<'_> = serde_json::from_str(object(body)?).map_err(|error| unlike_ours(&error))?;
    match envelope.kind.as_deref() {
        None => event(body, source),
        Some("Notification") => {
            let message = envelope.message.ok_or_else(|| missing("Message"))?;
            event(&message.into_bytes(body), source)
        }
        Some(other) => {
            Err(Undecodable::new(format!("message of SNS has the type `{other}`, which tells of no change")))
        }
    }
}

/// What SNS puts around a message. An event of ours has a `type` in lower case.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<'a> {
    #[serde(borrow, default, rename = "Type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
}

fn event(json: &Bytes, source: &SourceName) -> Result<Change, Undecodable> {
    let event: ReceivedEvent<'_> =
        serde_json::from_str(object(json)?).map_err(|error| unlike_ours(&error))?;
    let kind = ChangeKind::from_text(&event.data.kind).ok_or_else(|| {
        Undecodable::new(format!("`data.kind` is `{}`, no kind of change", event.data.kind))
    })?;
    let digest = KeyDigest::from_text(&event.subject)
        .ok_or_else(|| Undecodable::new("`subject` is not the digest of a key".to_owned()))?;
    if event.msversion.is_empty() {
        return Err(Undecodable::new("`msversion` is empty"));
    }
    Ok(Change {
        source: source.clone(),
        kind,
        expired: event.data.expired,
        keys: image(json, "data.keys", Some(event.data.keys))?.ok_or_else(|| missing("data.keys"))?,
        new: image(json, "data.new", event.data.new)?,
        old: image(json, "data.old", event.data.old)?,
        version: Version::from_text(&event.msversion),
        created_at: event.time.as_deref().and_then(seconds),
        digest: OnceLock::from(digest),
    })
}

fn object(json: &Bytes) -> Result<&str, Undecodable> {
    let text = std::str::from_utf8(json).map_err(|error| Undecodable::new(format!("not UTF-8: {error}")))?;
    // Said here and not by the parser, whose errors repeat a text that they did not expect.
    match text.trim_start().starts_with('{') {
        true => Ok(text),
        false => Err(Undecodable::new("message is not a JSON object")),
    }
}

fn unlike_ours(error: &serde_json::Error) -> Undecodable {
    Undecodable::new(format!("not an event of `emit`: {error}"))
}

/// Whole seconds since 1970; a time that cannot be read is unknown, for nothing rests on it.
fn seconds(rfc3339: &str) -> Option<u64> {
    let time = DateTime::from_str(rfc3339, Format::DateTimeWithOffset).ok()?;
    u64::try_from(time.secs()).ok().and_then(known_seconds)
}

/// A body that is no JSON as text inside a queue's record, so that a letter always holds JSON.
fn wrapped(id: &DeliveryId, body: &[u8]) -> Bytes {
    let id = match id {
        DeliveryId::Sequence(id) | DeliveryId::Notification(id) | DeliveryId::Message { id, .. } => id,
    };
    let body = String::from_utf8_lossy(body);
    Bytes::from(serde_json::json!({ "messageId": id, "body": body }).to_string())
}
