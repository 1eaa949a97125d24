//! One letter: what failed, why, how often, and the old image beside the new one.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use millstream_processor::letters::{Attempt, Closing, Letter};
use millstream_processor::source::replay::decode_raw;
use millstream_projections::item::same;
use millstream_projections::{Change, Image, Item, SourceName, Value};
use serde::Serialize;
use serde_json::value::RawValue;

pub(crate) use self::redact::Redaction;

mod print;
mod redact;

/// One letter, ready to be read. Hidden values are hidden here: whatever prints this cannot tell them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Its name.
    pub id: String,
    /// Whether it still waits.
    pub state: &'static str,
    /// Where the record came from.
    pub source: String,
    /// What failed; none if the record could not even be decoded.
    pub projection: Option<String>,
    /// The configuration it first failed under.
    pub config: String,
    /// The source item's key.
    pub key: Option<BTreeMap<String, ShownValue>>,
    /// The digest of that key.
    pub digest: Option<String>,
    /// The version of the change.
    pub version: Option<String>,
    /// How often it failed.
    pub tries: u64,
    /// The attempts that are known, first one first.
    pub attempts: Vec<Attempt>,
    /// How often its record was edited.
    pub edited: u32,
    /// How it was closed, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// What the record says.
    pub content: Content,
    /// The size of the record in bytes.
    pub size: usize,
    /// The record as it came; left out where values are hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<ShownRecord>,
}

/// What a record says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// A change.
    Change(ShownChange),
    /// Nothing that could be understood, and why.
    Undecodable(String),
}

/// A change, attribute by attribute.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownChange {
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub kind: &'static str,
    /// Whether DynamoDB's time to live removed the item.
    pub expired: bool,
    /// When it happened, in seconds since 1970.
    pub created_at: Option<u64>,
    /// The attributes of both images, by name. Without images the stream carries keys only.
    pub attributes: Vec<AttributeDifference>,
}

/// One attribute, before and after.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct AttributeDifference {
    /// Its name.
    pub name: String,
    /// What happened to it.
    pub difference: Difference,
    /// Before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<ShownValue>,
    /// After.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<ShownValue>,
}

/// What happened to an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It means something else now.
    Changed,
    /// It means the same.
    Same,
}

/// A value, or only what kind of value it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ShownValue {
    /// The value, in DynamoDB's JSON.
    Value(Value),
    /// Its type and size.
    Hidden(String),
}

/// A record as it came.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ShownRecord {
    /// It is JSON.
    Json(Box<RawValue>),
    /// It is not.
    Bytes {
        /// Its bytes.
        base64: String,
    },
}

impl Shown {
    /// A letter as it may be shown; `redact` hides what the items hold: values, key values, and what messages quote.
    pub fn of(letter: &Letter, redact: bool) -> Self {
        let decoded = decode(letter);
        let redaction = match (redact, &decoded) {
            (false, _) => Redaction::none(),
            (true, Ok(change)) => Redaction::of(change),
            (true, Err(_)) => Redaction::blind(),
        };
        let head = &letter.head;
        let attempt = |attempt: &Attempt| Attempt {
            causes: attempt.causes.iter().map(|cause| redaction.message(cause)).collect(),
            ..attempt.clone()
        };
        let key = |key: &BTreeMap<String, Value>| {
            key.iter().map(|(name, value)| (name.clone(), redaction.value(value))).collect()
        };
        Self {
            id: head.id.to_string(),
            state: head.state.as_str(),
            source: head.source.clone(),
            projection: head.projection.clone(),
            config: head.config.clone(),
            key: head.key.as_ref().map(key),
            digest: head.digest.clone(),
            version: head.version.as_deref().map(|version| redaction.version(version)),
            tries: head.tries(),
            attempts: head.attempts.iter().map(attempt).collect(),
            edited: head.edited,
            closing: head
                .closing
                .as_ref()
                .map(|closing| Closing { reason: redaction.message(&closing.reason), ..closing.clone() }),
            content: match &decoded {
                Ok(change) => Content::Change(shown(change, &redaction)),
                Err(cause) => Content::Undecodable(redaction.message(cause)),
            },
            size: letter.record.len(),
            record: (!redact).then(|| record(&letter.record)),
        }
    }
}

/// A change whose images are decoded, whole.
struct Decoded {
    change: Change,
    keys: Item,
    old: Option<Item>,
    new: Option<Item>,
}

fn decode(letter: &Letter) -> Result<Decoded, String> {
    let source = SourceName::new(&letter.head.source).map_err(|error| error.to_string())?;
    let change = decode_raw(letter.record.clone(), &source).change.map_err(|error| error.cause)?;
    let item = |image: &Image| image.item().cloned().map_err(|error| error.to_string());
    let keys = item(&change.keys)?;
    let old = change.old.as_ref().map(item).transpose()?;
    let new = change.new.as_ref().map(item).transpose()?;
    Ok(Decoded { change, keys, old, new })
}

fn shown(decoded: &Decoded, redaction: &Redaction) -> ShownChange {
    let mut sides: BTreeMap<&String, [Option<&Value>; 2]> = BTreeMap::new();
    for (side, image) in [&decoded.old, &decoded.new].into_iter().enumerate() {
        for (name, value) in image.iter().flat_map(|item| item.iter()) {
            sides.entry(name).or_default()[side] = Some(value);
        }
    }
    let attributes = sides.into_iter().map(|(name, [old, new])| AttributeDifference {
        name: name.clone(),
        difference: match (old, new) {
            (None, _) => Difference::Added,
            (Some(_), None) => Difference::Removed,
            (Some(old), Some(new)) if same(old, new) => Difference::Same,
            (Some(_), Some(_)) => Difference::Changed,
        },
        old: old.map(|value| redaction.value(value)),
        new: new.map(|value| redaction.value(value)),
    });
    ShownChange {
        kind: decoded.change.kind.as_str(),
        expired: decoded.change.expired,
        created_at: decoded.change.created_at,
        attributes: attributes.collect(),
    }
}

fn record(record: &Bytes) -> ShownRecord {
    let json = std::str::from_utf8(record).ok().and_then(|text| RawValue::from_string(text.to_owned()).ok());
    json.map_or_else(|| ShownRecord::Bytes { base64: STANDARD.encode(record) }, ShownRecord::Json)
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::letter(self, f)
    }
}

#[cfg(test)]
mod tests;
