//! Stream records as Lambda writes them in JSON: keys and images stay text until a projection reads them.

use std::sync::OnceLock;

use bytes::Bytes;
use millstream_projections::version::{SEQUENCE_DIGITS, SequenceNumber};
use millstream_projections::{Change, ChangeKind, Image, SourceName, Version};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::lambda_event::{Remains, WireRecord};
use super::records::{Text, member, member_text};
use super::{DeliveryId, Undecodable};

/// One record of a stream. What is not listed here is not read; DynamoDB may add to it.
#[derive(Deserialize)]
pub(super) struct StreamRecord<'a> {
    #[serde(borrow, default, rename = "eventName")]
    name: Option<Text<'a>>,
    #[serde(borrow, default, rename = "eventSourceARN")]
    arn: Option<Text<'a>>,
    #[serde(borrow, default, rename = "userIdentity")]
    identity: Option<Identity<'a>>,
    #[serde(borrow, default, rename = "dynamodb")]
    body: Option<Body<'a>>,
}

/// The change itself. A missing image is not an empty one, and a missing time is not 1970.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(borrow, default)]
    keys: Option<&'a RawValue>,
    #[serde(borrow, default)]
    new_image: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_image: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sequence_number: Option<Text<'a>>,
    // Left as text: nothing rests on the time, so a form of it that we do not know must not cost the record.
    #[serde(borrow, default)]
    approximate_creation_date_time: Option<&'a RawValue>,
}

/// Who changed the item; Lambda and the Streams API spell it differently.
#[derive(Deserialize)]
struct Identity<'a> {
    #[serde(borrow, default, rename = "type", alias = "Type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default, rename = "principalId", alias = "PrincipalId")]
    principal: Option<Text<'a>>,
}

impl<'a> WireRecord<'a> for StreamRecord<'a> {
    const NAMED_BY: &'static str = "dynamodb.SequenceNumber";
    const FROM: &'static str = "eventSourceARN";

    fn arn(&self) -> Option<&str> {
        self.arn.as_deref()
    }

    fn id(&self) -> Option<DeliveryId> {
        sequence_id(self.body.as_ref()?.sequence_number.as_deref()?)
    }

    fn change(self, json: &Bytes, source: &SourceName) -> Result<Change, Undecodable> {
        let body = self.body.ok_or_else(|| missing("dynamodb"))?;
        let kind = kind(self.name.as_deref())?;
        let keys = image(json, "dynamodb.Keys", body.keys)?.ok_or_else(|| missing("dynamodb.Keys"))?;
        Ok(Change {
            source: source.clone(),
            kind,
            expired: self
                .identity
                .is_some_and(|who| expired(kind, who.kind.as_deref(), who.principal.as_deref())),
            keys,
            new: image(json, "dynamodb.NewImage", body.new_image)?,
            old: image(json, "dynamodb.OldImage", body.old_image)?,
            version: version(self.arn.as_deref(), body.sequence_number.as_deref())?,
            created_at: body.approximate_creation_date_time.and_then(seconds),
            digest: OnceLock::new(),
        })
    }

    fn remains(json: &str) -> Remains {
        let sequence = member(json, "dynamodb").and_then(|body| member_text(body, "SequenceNumber"));
        Remains { arn: member_text(json, "eventSourceARN"), id: sequence.as_deref().and_then(sequence_id) }
    }
}

pub(super) fn missing(what: &str) -> Undecodable {
    Undecodable::new(format!("`{what}` is missing"))
}

/// The id of a record; none if AWS would not know the number again, and fail the whole batch for it.
fn sequence_id(number: &str) -> Option<DeliveryId> {
    let usable =
        (1..=SEQUENCE_DIGITS).contains(&number.len()) && number.bytes().all(|digit| digit.is_ascii_digit());
    usable.then(|| DeliveryId::Sequence(number.to_owned()))
}

/// What happened, as a closed type.
pub(super) fn kind(name: Option<&str>) -> Result<ChangeKind, Undecodable> {
    let name = name.ok_or_else(|| missing("eventName"))?;
    ChangeKind::from_text(name)
        .ok_or_else(|| Undecodable::new(format!("`eventName` is `{name}`, not INSERT, MODIFY or REMOVE")))
}

/// Whether it was DynamoDB itself that removed the item.
pub(super) fn expired(kind: ChangeKind, who: Option<&str>, principal: Option<&str>) -> bool {
    kind == ChangeKind::Remove && who == Some("Service") && principal == Some("dynamodb.amazonaws.com")
}

/// The version, made of the label in the stream's ARN and the sequence number.
pub(super) fn version(stream_arn: Option<&str>, sequence: Option<&str>) -> Result<Version, Undecodable> {
    let arn = stream_arn.ok_or_else(|| missing("eventSourceARN"))?;
    let (_, label) = arn
        .split_once("/stream/")
        .ok_or_else(|| Undecodable::new(format!("`eventSourceARN` is `{arn}`, which has no stream label")))?;
    let sequence = sequence.ok_or_else(|| missing("dynamodb.SequenceNumber"))?;
    let sequence = SequenceNumber::new(sequence).map_err(|error| Undecodable::new(error.to_string()))?;
    Ok(Version::of_stream(label, &sequence))
}

/// An image that shares the memory of the text it was parsed from.
pub(super) fn image(json: &Bytes, name: &str, raw: Option<&RawValue>) -> Result<Option<Image>, Undecodable> {
    let Some(raw) = raw else { return Ok(None) };
    if !raw.get().starts_with('{') {
        return Err(Undecodable::new(format!("`{name}` is not an object")));
    }
    Ok(Some(Image::from_json(json.slice_ref(raw.get().as_bytes()))))
}

/// The first second of the year 10000: times from there on are no times, but would break every calendar.
const YEAR_10000: u64 = 253_402_300_800;

fn seconds(raw: &RawValue) -> Option<u64> {
    let number: f64 = raw.get().parse().ok()?;
    known_seconds(number as u64)
}

/// Whole seconds since 1970, if they can be a time; 0 is how some writers say that they do not know.
pub(super) fn known_seconds(seconds: u64) -> Option<u64> {
    (1..YEAR_10000).contains(&seconds).then_some(seconds)
}
