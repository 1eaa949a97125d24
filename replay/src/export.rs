//! Letters as JSON lines: what is known of each, and its record as it came.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millstream_processor::letters::{Letter, LetterHead};
use serde::Serialize;
use serde_json::value::RawValue;

/// One line of an export.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported<'a> {
    /// All but the record.
    pub head: &'a LetterHead,
    /// The record, where it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<RawValue>>,
    /// The record's bytes in base64, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_base64: Option<String>,
}

impl<'a> Exported<'a> {
    /// A letter as one line.
    pub fn of(letter: &'a Letter) -> Self {
        // Raw JSON is written as it stands: one with line breaks would take more than a line.
        let json = serde_json::from_slice::<&RawValue>(&letter.record).ok();
        let json = json.and_then(|json| match json.get().contains(['\n', '\r']) {
            false => Some(json.to_owned()),
            true => None,
        });
        let record_base64 = json.is_none().then(|| STANDARD.encode(&letter.record));
        Self { head: &letter.head, record: json, record_base64 }
    }
}
