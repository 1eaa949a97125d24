//! An item before or after a change, decoded only as far as a projection reads it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::item::{Item, Value, same};

/// Why an image or one of its attributes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The whole image is not a JSON object of attributes.
    #[error("image is not a map of attributes: {0}")]
    NotAMap(String),
    /// One attribute is not a DynamoDB value.
    #[error("attribute `{name}` is not a DynamoDB value: {cause}")]
    Attribute {
        /// The attribute.
        name: String,
        /// What the decoder said.
        cause: String,
    },
}

/// One item, either still as JSON text of the wire or decoded already.
///
/// Reading one attribute of a raw image decodes that attribute and skips the rest.
#[derive(Debug)]
pub struct Image {
    form: Form,
    decoded: OnceLock<Item>,
}

#[derive(Debug)]
enum Form {
    Decoded,
    Raw { json: Bytes, attributes: OnceLock<Vec<Slot>> },
}

/// Where one attribute's value stands in the JSON.
#[derive(Debug)]
struct Slot {
    name: Name,
    value: Range<usize>,
}

/// An attribute's name: most have no escapes in their JSON and need not be copied out of it.
#[derive(Debug)]
enum Name {
    At(Range<usize>),
    Unescaped(Box<str>),
}

impl Slot {
    fn name<'a>(&'a self, json: &'a [u8]) -> &'a [u8] {
        match &self.name {
            Name::At(range) => &json[range.clone()],
            Name::Unescaped(name) => name.as_bytes(),
        }
    }
}

impl Image {
    /// An image that is still the JSON object of the wire.
    pub fn from_json(json: Bytes) -> Self {
        Self { form: Form::Raw { json, attributes: OnceLock::new() }, decoded: OnceLock::new() }
    }

    /// An image that is decoded already.
    pub fn from_item(item: Item) -> Self {
        let decoded = OnceLock::new();
        let _ = decoded.set(item);
        Self { form: Form::Decoded, decoded }
    }

    /// One attribute by its name, or `None` if the item has none of that name.
    pub fn attribute(&self, name: &str) -> Result<Option<Value>, ImageError> {
        if let Some(item) = self.decoded.get() {
            return Ok(item.get(name).cloned());
        }
        let Some(raw) = self.raw(name)? else { return Ok(None) };
        decode_attribute(name, raw).map(Some)
    }

    /// The whole item, decoded once.
    pub fn item(&self) -> Result<&Item, ImageError> {
        if let Some(item) = self.decoded.get() {
            return Ok(item);
        }
        let mut item = std::collections::HashMap::new();
        if let Form::Raw { json, .. } = &self.form {
            for slot in self.slots()? {
                let name = String::from_utf8_lossy(slot.name(json)).into_owned();
                let value = decode_attribute(&name, &json[slot.value.clone()])?;
                item.insert(name, value);
            }
        }
        Ok(self.decoded.get_or_init(|| item.into()))
    }

    /// Whether an attribute means the same in both images; the same bytes need no decoding.
    pub fn same_attribute(&self, other: &Self, name: &str) -> Result<bool, ImageError> {
        if let (Form::Raw { .. }, Form::Raw { .. }) = (&self.form, &other.form) {
            let (ours, theirs) = (self.raw(name)?, other.raw(name)?);
            if ours == theirs {
                return Ok(true);
            }
        }
        Ok(match (self.attribute(name)?, other.attribute(name)?) {
            (Some(a), Some(b)) => same(&a, &b),
            (a, b) => a.is_none() && b.is_none(),
        })
    }

    fn raw(&self, name: &str) -> Result<Option<&[u8]>, ImageError> {
        let Form::Raw { json, .. } = &self.form else { return Ok(None) };
        let slot = self.slots()?.iter().find(|slot| slot.name(json) == name.as_bytes());
        Ok(slot.map(|slot| &json[slot.value.clone()]))
    }

    fn slots(&self) -> Result<&[Slot], ImageError> {
        match &self.form {
            Form::Decoded => Ok(&[]),
            Form::Raw { json, attributes } => {
                if attributes.get().is_none() {
                    let _ = attributes.set(index(json)?);
                }
                Ok(attributes.get().map(Vec::as_slice).unwrap_or_default())
            }
        }
    }
}

fn decode_attribute(name: &str, raw: &[u8]) -> Result<Value, ImageError> {
    serde_json::from_slice(raw)
        .map_err(|error| ImageError::Attribute { name: name.to_owned(), cause: place(&error) })
}

/// Where and how the JSON is wrong, without what stands there: serde quotes it, and an item's values belong in no log.
fn place(error: &serde_json::Error) -> String {
    let how = match error.classify() {
        serde_json::error::Category::Data => "no value with a type, as in {\"S\": \"text\"},",
        serde_json::error::Category::Syntax => "no JSON",
        serde_json::error::Category::Eof | serde_json::error::Category::Io => "an early end",
    };
    format!("{how} at column {}", error.column())
}

/// Finds where each attribute's value stands, without decoding any.
fn index(json: &[u8]) -> Result<Vec<Slot>, ImageError> {
    struct Slots<'j>(&'j str);
    impl<'de> Visitor<'de> for Slots<'de> {
        type Value = Vec<Slot>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of attributes")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let place = |part: &str| {
                let start = part.as_ptr() as usize - self.0.as_ptr() as usize;
                start..start + part.len()
            };
            let mut slots = Vec::with_capacity(16);
            while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                let name = match name.0 {
                    Cow::Borrowed(name) => Name::At(place(name)),
                    Cow::Owned(name) => Name::Unescaped(name.into()),
                };
                slots.push(Slot { name, value: place(value.get()) });
            }
            Ok(slots)
        }
    }
    // Checked once as a whole, which is cheaper than text by text.
    let text = std::str::from_utf8(json).map_err(|_| ImageError::NotAMap("no UTF-8".to_owned()))?;
    let mut decoder = serde_json::Deserializer::from_str(text);
    decoder.deserialize_map(Slots(text)).map_err(|error| ImageError::NotAMap(place(&error)))
}

/// A text that is copied only where the JSON has escapes in it.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
