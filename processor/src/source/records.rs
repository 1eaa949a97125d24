//! The `Records` of a Lambda event, cut apart without copying them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A Lambda event that gives out single records when they are asked for. Cheap to clone.
#[derive(Clone)]
pub struct LambdaEvent(Arc<Inner>);

struct Inner {
    json: Bytes,
    /// Where each record stands: found once, however many records of one event become letters.
    cuts: OnceLock<Vec<Range<usize>>>,
}

impl LambdaEvent {
    /// An event by its JSON.
    pub fn new(json: Bytes) -> Self {
        Self(Arc::new(Inner { json, cuts: OnceLock::new() }))
    }

    /// The JSON of the whole event.
    pub fn json(&self) -> &Bytes {
        &self.0.json
    }

    /// The JSON of one record, or `None` if there is no such record.
    pub fn record(&self, index: usize) -> Option<Bytes> {
        let cut = self.0.cuts.get_or_init(|| cuts(&self.0.json)).get(index)?;
        Some(self.0.json.slice(cut.clone()))
    }
}

impl fmt::Debug for LambdaEvent {
    /// Without its content: no item's values belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LambdaEvent({} bytes)", self.0.json.len())
    }
}

fn cuts(json: &[u8]) -> Vec<Range<usize>> {
    let Ok(event) = serde_json::from_slice::<Records<&RawValue>>(json) else { return Vec::new() };
    let cut = |record: &RawValue| {
        let start = record.get().as_ptr() as usize - json.as_ptr() as usize;
        start..start + record.get().len()
    };
    event.records.into_iter().map(cut).collect()
}

/// All that is read of a Lambda event.
#[derive(Deserialize)]
pub(super) struct Records<R> {
    #[serde(rename = "Records")]
    pub(super) records: Vec<R>,
}

/// A text that is copied only where the JSON has escapes in it.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Text<'_> {
    /// The text as bytes that share the memory of `json` where it was not copied anyway.
    pub(super) fn into_bytes(self, json: &Bytes) -> Bytes {
        match self.0 {
            Cow::Borrowed(text) => json.slice_ref(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        }
    }
}

/// The members of a JSON object, for records that fit no type; of anything else, as many as can be read.
pub(super) fn members(json: &str) -> Vec<(Cow<'_, str>, &RawValue)> {
    struct Members<'m, 'de>(&'m mut Vec<(Cow<'de, str>, &'de RawValue)>);
    impl<'de> Visitor<'de> for Members<'_, 'de> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                self.0.push((name.0, value));
            }
            Ok(())
        }
    }
    let mut found = Vec::new();
    // What was read before an error is still worth having.
    let _ = serde_json::Deserializer::from_str(json).deserialize_map(Members(&mut found));
    found
}

/// One member of a JSON object that fits no type.
pub(super) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    members(json).into_iter().find(|(known, _)| known == name).map(|(_, value)| value.get())
}

/// One member that is a text.
pub(super) fn member_text(json: &str, name: &str) -> Option<String> {
    serde_json::from_str(member(json, name)?).ok()
}
