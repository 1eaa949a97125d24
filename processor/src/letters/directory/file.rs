//! The JSON of one letter's file: the head, then the record, readable as far as the record is.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::letters::{Letter, LetterHead, LetterId};

/// Why a file is not the letter that its name says.
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
    /// There is no record in it.
    #[error("it has no record")]
    NoRecord,
    /// The record's base64 is broken.
    #[error("its record is not base64")]
    Base64(#[from] base64::DecodeError),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    head: &'a LetterHead,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read<'a> {
    head: LetterHead,
    #[serde(borrow, default)]
    record: Option<&'a RawValue>,
    #[serde(default)]
    record_base64: Option<String>,
}

#[derive(Deserialize)]
struct HeadOnly {
    head: LetterHead,
}

/// Writes a letter. A record that is JSON stands there as it came, byte for byte; any other is base64.
pub(super) fn write(out: impl Write, letter: &Letter) -> io::Result<()> {
    let json: Option<&RawValue> = serde_json::from_slice(&letter.record).ok();
    // The parser drops white space around a value, and reads `null` as nothing; every byte has to come back.
    let json = json.filter(|json| json.get().as_bytes() == letter.record && json.get() != "null");
    let record_base64 = json.is_none().then(|| STANDARD.encode(&letter.record));
    let mut out = io::BufWriter::new(out);
    serde_json::to_writer_pretty(&mut out, &Written { head: &letter.head, record: json, record_base64 })?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Reads a letter.
pub(super) fn read_letter(bytes: &[u8], id: &LetterId) -> Result<Letter, Damage> {
    let read: Read<'_> = serde_json::from_slice(bytes)?;
    let record = match (read.record, read.record_base64) {
        (Some(json), _) => Bytes::copy_from_slice(json.get().as_bytes()),
        (None, Some(text)) => STANDARD.decode(text)?.into(),
        (None, None) => return Err(Damage::NoRecord),
    };
    Ok(Letter { head: checked(read.head, id)?, record })
}

/// Reads a letter's head and skips its record.
pub(super) fn read_head(bytes: &[u8], id: &LetterId) -> Result<LetterHead, Damage> {
    let read: HeadOnly = serde_json::from_slice(bytes)?;
    checked(read.head, id)
}

fn checked(head: LetterHead, id: &LetterId) -> Result<LetterHead, Damage> {
    if head.id != *id {
        return Err(Damage::Other(head.id));
    }
    if head.attempts.is_empty() {
        return Err(Damage::NoAttempts);
    }
    Ok(head)
}
