//! A record as a test writes it, and as the stream sends it.

use serde_json::{Value, json};

use crate::connector::REGION;

/// A change that is to be written. Without an old image it is an insert, without a new one a removal.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRecord {
    /// The item's key, in DynamoDB's JSON.
    pub keys: Value,
    /// The item before, in DynamoDB's JSON.
    pub old: Option<Value>,
    /// The item afterwards, in DynamoDB's JSON.
    pub new: Option<Value>,
    /// Whether the TTL service made the change.
    pub expired: bool,
    /// When it was made, in milliseconds since 1970; now, if it is not said. Its 24 hours count from here.
    pub made_at: Option<u64>,
}

/// A record of the past.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its sequence number, as the stream writes it.
    pub sequence: String,
    /// The change.
    pub record: NewRecord,
}

impl NewRecord {
    /// The item `id` appears with the number `n`.
    pub fn put(id: &str, n: u64) -> Self {
        Self::of(id, None, Some(item(id, n)))
    }

    /// The item `id` changes its number from `old` to `new`.
    pub fn update(id: &str, old: u64, new: u64) -> Self {
        Self::of(id, Some(item(id, old)), Some(item(id, new)))
    }

    /// The item `id`, whose number was `n`, is deleted.
    pub fn remove(id: &str, n: u64) -> Self {
        Self::of(id, Some(item(id, n)), None)
    }

    /// Deleted by the TTL service.
    #[must_use]
    pub fn expired(self) -> Self {
        Self { expired: true, ..self }
    }

    /// Made at this time, in milliseconds since 1970.
    #[must_use]
    pub fn made_at(self, ms: u64) -> Self {
        Self { made_at: Some(ms), ..self }
    }

    /// Each image has an attribute `pad` of so many bytes.
    #[must_use]
    pub fn padded(mut self, bytes: usize) -> Self {
        for image in self.old.iter_mut().chain(&mut self.new) {
            image["pad"] = json!({ "S": "x".repeat(bytes) });
        }
        self
    }

    fn of(id: &str, old: Option<Value>, new: Option<Value>) -> Self {
        Self { keys: json!({ "id": { "S": id } }), old, new, expired: false, made_at: None }
    }

    /// What it weighs in a page.
    pub(super) fn size(&self) -> usize {
        [Some(&self.keys), self.old.as_ref(), self.new.as_ref()].into_iter().flatten().map(size).sum()
    }

    /// The record on the wire.
    pub(super) fn render(&self, sequence: &str, event_id: u128, made_at_ms: u64) -> String {
        let name = match (&self.old, &self.new) {
            (None, _) => "INSERT",
            (Some(_), Some(_)) => "MODIFY",
            (Some(_), None) => "REMOVE",
        };
        let mut change = json!({
            // It is rounded down to the second: no guard may rest on it.
            "ApproximateCreationDateTime": made_at_ms / 1_000,
            "Keys": self.keys,
            "SequenceNumber": sequence,
            "SizeBytes": self.size(),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        });
        for (name, image) in [("OldImage", &self.old), ("NewImage", &self.new)] {
            if let Some(image) = image {
                change[name] = image.clone();
            }
        }
        let mut record = json!({
            "eventID": format!("{event_id:032x}"),
            "eventName": name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "dynamodb": change,
        });
        if self.expired {
            record["userIdentity"] = json!({ "Type": "Service", "PrincipalId": "dynamodb.amazonaws.com" });
        }
        record.to_string()
    }
}

fn item(id: &str, n: u64) -> Value {
    json!({ "id": { "S": id }, "n": { "N": n.to_string() } })
}

/// About what DynamoDB counts for an item: its names and its values, without what says their types.
fn size(item: &Value) -> usize {
    let attributes = item.as_object().expect("an item is a JSON object");
    attributes.iter().map(|(name, value)| name.len() + weight(value)).sum()
}

fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.iter().map(weight).sum::<usize>() + 3,
        Value::Object(members) => members.iter().map(|(_, inner)| weight(inner)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}
