//! The JSON of one letter, in a file or a message: the head, then the record, readable as far as the record is.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Letter, LetterHead, LetterId};

/// Why a text is not a letter, or not the one that was expected.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    /// It is not the JSON of a letter.
    #[error("it is not the JSON of a letter")]
    Json(#[from] serde_json::Error),
    /// It names another letter.
    #[error("it holds letter {0}")]
    Other(LetterId),
    /// No attempt is recorded.
    #[error("it has no attempts")]
    NoAttempts,
    /// What was put together is not what was taken apart.
    #[error("its parts do not belong together")]
    Hash,
    /// There is no record in it.
    #[error("it has no record")]
    NoRecord,
    /// The record's base64 is broken.
    #[error("its record is not base64")]
    Base64(#[from] base64::DecodeError),
}

/// A letter, and its record as it was before the first edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filed {
    pub(super) letter: Letter,
    pub(super) original: Option<Bytes>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    head: &'a LetterHead,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read<'a> {
    head: LetterHead,
    #[serde(borrow, default)]
    record: Option<&'a RawValue>,
    #[serde(default)]
    record_base64: Option<String>,
    #[serde(borrow, default)]
    original: Option<&'a RawValue>,
    #[serde(default)]
    original_base64: Option<String>,
}

#[derive(Deserialize)]
struct HeadOnly {
    head: LetterHead,
}

/// Writes a letter for people to read. A record that is JSON stands there as it came, byte for byte; any other is
/// base64.
pub(super) fn write(out: impl Write, filed: &Filed) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    serde_json::to_writer_pretty(&mut out, &Written::of(filed))?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The same without white space, for messages.
pub(super) fn compact(filed: &Filed) -> Result<Vec<u8>, Damage> {
    Ok(serde_json::to_vec(&Written::of(filed))?)
}

/// Reads a letter that has to be this one.
pub(super) fn read(bytes: &[u8], id: &LetterId) -> Result<Filed, Damage> {
    let filed = read_any(bytes)?;
    if filed.letter.head.id != *id {
        return Err(Damage::Other(filed.letter.head.id));
    }
    Ok(filed)
}

/// Reads a letter, whichever it is.
pub(super) fn read_any(bytes: &[u8]) -> Result<Filed, Damage> {
    let read: Read<'_> = serde_json::from_slice(bytes)?;
    let record = as_bytes(read.record, read.record_base64)?.ok_or(Damage::NoRecord)?;
    let original = as_bytes(read.original, read.original_base64)?;
    Ok(Filed { letter: Letter { head: whole(read.head)?, record }, original })
}

/// Reads a letter's head and skips its record.
pub(super) fn read_head(bytes: &[u8], id: &LetterId) -> Result<LetterHead, Damage> {
    let read: HeadOnly = serde_json::from_slice(bytes)?;
    let head = whole(read.head)?;
    if head.id != *id {
        return Err(Damage::Other(head.id));
    }
    Ok(head)
}

impl<'a> Written<'a> {
    fn of(filed: &'a Filed) -> Self {
        let (record, record_base64) = as_text(&filed.letter.record);
        let (original, original_base64) = filed.original.as_ref().map_or((None, None), as_text);
        Self { head: &filed.letter.head, record, record_base64, original, original_base64 }
    }
}

fn as_text(record: &Bytes) -> (Option<&RawValue>, Option<String>) {
    let json: Option<&RawValue> = serde_json::from_slice(record).ok();
    // The parser drops white space around a value, and reads `null` as nothing; every byte has to come back.
    match json.filter(|json| json.get().as_bytes() == record && json.get() != "null") {
        Some(json) => (Some(json), None),
        None => (None, Some(STANDARD.encode(record))),
    }
}

fn as_bytes(json: Option<&RawValue>, base64: Option<String>) -> Result<Option<Bytes>, Damage> {
    Ok(match (json, base64) {
        (Some(json), _) => Some(Bytes::copy_from_slice(json.get().as_bytes())),
        (None, Some(text)) => Some(STANDARD.decode(text)?.into()),
        (None, None) => None,
    })
}

fn whole(head: LetterHead) -> Result<LetterHead, Damage> {
    if LetterId::from_text(head.id.as_str()).is_none() {
        return Err(Damage::Other(head.id));
    }
    if head.attempts.is_empty() {
        return Err(Damage::NoAttempts);
    }
    Ok(head)
}
