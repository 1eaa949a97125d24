//! What orders the changes of one source item, and the guard that is stored beside what was written.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::item::{Item, write_canonical};

/// DynamoDB's sequence numbers have 21 to 40 digits; padded to 40 they compare as bytes.
pub const SEQUENCE_DIGITS: usize = 40;

/// What makes a removal later than the declared version it removed. It begins with the lowest character that a text can
/// reasonably lack, so that any longer text, which is a later version, is greater still.
const REMOVED: &str = "\u{1}removed";

/// Why a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// A sequence number is a decimal number of at most 40 digits.
    #[error("sequence number `{0}` is not a decimal number of at most {SEQUENCE_DIGITS} digits")]
    Sequence(String),
    /// A declared version is text or a whole number that is not negative.
    #[error(
        "version attribute is {0}: use a string, or a whole number from 0 with at most {SEQUENCE_DIGITS} digits"
    )]
    Declared(String),
}

/// A sequence number of one stream, padded so that it compares as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber(Box<str>);

impl SequenceNumber {
    /// Checks and pads a sequence number as the stream gives it.
    pub fn new(text: &str) -> Result<Self, VersionError> {
        padded(text)
            .map(|text| Self(text.into_boxed_str()))
            .ok_or_else(|| VersionError::Sequence(text.to_owned()))
    }

    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number as the stream writes it, without the padding.
    pub fn unpadded(&self) -> &str {
        let digits = self.0.trim_start_matches('0');
        if digits.is_empty() { "0" } else { digits }
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.unpadded())
    }
}

fn padded(digits: &str) -> Option<String> {
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let digits = digits.trim_start_matches('0');
    (valid && digits.len() <= SEQUENCE_DIGITS).then(|| {
        let mut text = String::with_capacity(SEQUENCE_DIGITS);
        text.extend(std::iter::repeat_n('0', SEQUENCE_DIGITS - digits.len()));
        text.push_str(digits);
        text
    })
}

/// Orders the changes of one source item; compared as bytes. Versions of different items compare to nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(Arc<str>);

impl Version {
    /// The version of a stream change: `<stream label>/<sequence number padded to 40 digits>`.
    ///
    /// A stream that was switched off and on again has a later label, so its changes are greater.
    pub fn of_stream(label: &str, sequence: &SequenceNumber) -> Self {
        let mut text = String::with_capacity(label.len() + 1 + SEQUENCE_DIGITS);
        text.push_str(label);
        text.push('/');
        text.push_str(sequence.as_str());
        Self(text.into())
    }

    /// A version that the source item itself declares, as text or as a whole number.
    ///
    /// A removal carries the version of the image it removed; the suffix makes it later than that image's own write.
    pub fn declared(value: &crate::Value, removed: bool) -> Result<Self, VersionError> {
        let text = match value {
            crate::Value::S(text) if !text.is_empty() => Some(text.clone()),
            crate::Value::N(digits) => padded(digits),
            _ => None,
        };
        let mut text = text.ok_or_else(|| VersionError::Declared(unfit(value)))?;
        if removed {
            text.push_str(REMOVED);
        }
        Ok(Self(text.into()))
    }

    /// A version as an event or a letter carried it.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a declared version, without its value: an item's values belong in no log.
fn unfit(value: &crate::Value) -> String {
    match value {
        crate::Value::S(_) => "an empty string".to_owned(),
        crate::Value::N(_) => "negative, fractional or too long a number".to_owned(),
        other => format!("of type {}", crate::item::type_name(other)),
    }
}

/// Tells source items apart: 128 bits of SHA-256 over the canonical key, as 22 URL-safe characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; 22]);

impl KeyDigest {
    /// The digest of a source item's key.
    pub fn of(key: &Item) -> Self {
        let mut names: Vec<_> = key.iter().collect();
        names.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let mut canonical = Vec::with_capacity(64);
        for (name, value) in names {
            write_canonical(&mut canonical, name, value);
        }
        Self::of_bytes(&canonical)
    }

    /// The digest of any bytes that stand for a key.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let hash = Sha256::digest(bytes);
        let mut text = [b'A'; 22];
        // 16 bytes are 22 characters without padding: the slice always fits.
        let _ = URL_SAFE_NO_PAD.encode_slice(&hash[..16], &mut text);
        Self(text)
    }

    /// Reads a digest that an event or a letter carried.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes: [u8; 22] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).then_some(Self(bytes))
    }

    /// A number from 0 to below `count`, the same whenever it is asked, and spread evenly over many keys.
    pub fn shard(&self, count: NonZeroU32) -> u32 {
        // Ten characters of 6 bits each: all of them carry the hash, as the last of the 22 does not.
        let bits = self.0[..10].iter().fold(0, |bits: u64, &character| bits << 6 | sextet(character));
        (bits % u64::from(count.get())) as u32
    }

    /// The 22 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The 6 bits that a character of URL-safe base64 stands for.
fn sextet(character: u8) -> u64 {
    let bits = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        _ => 63,
    };
    u64::from(bits)
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The version stored beside what was written, with the source item it belongs to: `<digest>/<version>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Guard {
    /// The source item.
    pub digest: KeyDigest,
    /// Its version.
    pub version: Version,
}

impl Guard {
    /// The start of every guard of one source item: what makes a stored guard *own*.
    pub fn own_prefix(&self) -> String {
        format!("{}/", self.digest)
    }

    /// Whether a stored guard belongs to the same source item.
    pub fn owns(&self, stored: &str) -> bool {
        stored.strip_prefix(self.digest.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether a stored guard is own and at least as new: what we would write is stale.
    pub fn is_stale_against(&self, stored: &str) -> bool {
        self.owns(stored) && stored >= self.to_string().as_str()
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.digest, self.version)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
