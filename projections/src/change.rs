//! One stream record, decoded: what happened to which item of which source, and in which order.

use std::sync::OnceLock;

use crate::image::{Image, ImageError};
use crate::item::Value;
use crate::name::SourceName;
use crate::version::{Guard, KeyDigest, Version};

/// What happened to the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The item is new.
    Insert,
    /// The item was there before and still is.
    Modify,
    /// The item is gone.
    Remove,
}

impl ChangeKind {
    /// The stream's own word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Modify => "MODIFY",
            Self::Remove => "REMOVE",
        }
    }

    /// Reads the stream's own word.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Insert, Self::Modify, Self::Remove].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One change of one source item. All sources decode to this; nothing behind them sees a wire type.
#[derive(Debug)]
pub struct Change {
    /// The source it came from.
    pub source: SourceName,
    /// What happened.
    pub kind: ChangeKind,
    /// Whether DynamoDB itself removed the item because its time to live had passed.
    pub expired: bool,
    /// The item's primary key.
    pub keys: Image,
    /// The item after the change, where there is one and the stream carries it.
    pub new: Option<Image>,
    /// The item before the change, where there is one and the stream carries it.
    pub old: Option<Image>,
    /// What orders it among the changes of its item.
    pub version: Version,
    /// When it happened, in whole seconds since 1970, as far as the stream knows. Never used to order anything.
    pub created_at: Option<u64>,
    /// The digest of the key, made when it is first needed; a source that was told the digest sets it.
    pub digest: OnceLock<KeyDigest>,
}

impl Change {
    /// The digest of the source item's key.
    pub fn digest(&self) -> Result<KeyDigest, ImageError> {
        if let Some(digest) = self.digest.get() {
            return Ok(*digest);
        }
        let digest = KeyDigest::of(self.keys.item()?);
        Ok(*self.digest.get_or_init(|| digest))
    }

    /// The guard that everything written for this change carries.
    pub fn guard(&self) -> Result<Guard, ImageError> {
        Ok(Guard { digest: self.digest()?, version: self.version.clone() })
    }

    /// What the item is now: `None` after a removal.
    pub fn after(&self) -> View<'_> {
        View { keys: &self.keys, image: self.new.as_ref(), made: None }
    }

    /// What the item was before: `None` of an item that is new.
    pub fn before(&self) -> View<'_> {
        View { keys: &self.keys, image: self.old.as_ref(), made: None }
    }

    /// The item as it last stood: the new image, or the old one of an item that is gone.
    pub fn latest(&self) -> View<'_> {
        View { keys: &self.keys, image: self.new.as_ref().or(self.old.as_ref()), made: None }
    }
}

/// One side of a change as templates read it: the image, and the key where the stream carries no image.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The primary key.
    pub keys: &'a Image,
    /// The image of this side, if there is one.
    pub image: Option<&'a Image>,
    /// What the projection adds to it, if it adds anything.
    pub made: Option<Made<'a>>,
}

/// A value that a projection makes itself, for its templates to read like an attribute.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    /// Its name, [`SHARD`] or [`EACH`].
    pub name: &'static str,
    /// The value.
    pub value: &'a Value,
}

/// The name of the number that spreads a totals row over several: `{ms:shard}`.
pub const SHARD: &str = "ms:shard";
/// The name of one element of a list or set: `{ms:each}`, `{ms:each.sku}`.
pub const EACH: &str = "ms:each";

impl<'a> View<'a> {
    /// The same side with a value that templates read by this name.
    pub fn with(self, name: &'static str, value: &'a Value) -> Self {
        Self { made: Some(Made { name, value }), ..self }
    }

    /// One attribute; key attributes are readable on either side of every change.
    pub fn attribute(&self, name: &str) -> Result<Option<Value>, ImageError> {
        if let Some(made) = self.made
            && made.name == name
        {
            return Ok(Some(made.value.clone()));
        }
        if let Some(image) = self.image
            && let Some(value) = image.attribute(name)?
        {
            return Ok(Some(value));
        }
        self.keys.attribute(name)
    }
}
