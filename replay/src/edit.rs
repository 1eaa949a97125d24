//! Another record in the place of a letter's: it has to decode, and to be the same change.

use bytes::Bytes;
use millstream_processor::letters::{Letter, LetterHead, LetterId};
use millstream_processor::outcome::Fault;
use millstream_processor::source::replay::decode_raw;
use millstream_projections::{Change, SourceName};

use crate::desk::Desk;

/// Why an edited record is not taken.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is no JSON.
    #[error("the record is not JSON: {0}")]
    NotJson(String),
    /// It is JSON that says nothing.
    #[error("{0}")]
    Undecodable(String),
    /// It is about another item, or another version of it.
    #[error(
        "the {what} has to stay: it is what makes this record the change that failed (it was {was}, and is {is})"
    )]
    AnotherChange {
        /// `key` or `sequence number`.
        what: &'static str,
        /// As the letter has it.
        was: String,
        /// As the record has it.
        is: String,
    },
    /// The letter was closed or edited by another hand meanwhile.
    #[error("the letter was closed or edited meanwhile: look at it again")]
    Overtaken,
    /// The store failed.
    #[error("{0}")]
    Store(Fault),
}

/// The record of a letter for an editor: on many lines if it is JSON.
pub fn draft(letter: &Letter) -> String {
    serde_json::from_slice::<serde_json::Value>(&letter.record)
        .and_then(|json| serde_json::to_string_pretty(&json))
        .map_or_else(|_| String::from_utf8_lossy(&letter.record).into_owned(), |json| json + "\n")
}

/// Puts an edited record in the place of a waiting letter's, if it decodes. The original is kept.
pub async fn replace(desk: &Desk, letter: &Letter, edited: &str) -> Result<(), EditError> {
    let record = check(&letter.head, edited)?;
    let id: &LetterId = &letter.head.id;
    let edit = || desk.letters().edit(id, letter.head.edited, &record);
    match desk.retried("edit a letter", edit).await.map_err(EditError::Store)? {
        true => {
            let result = format!("{} bytes in the place of {}", record.len(), letter.record.len());
            desk.note("edit", Some(id), result).await.map_err(EditError::Store)
        }
        // An edit whose answer was lost is found out here, and is no one else's.
        false => match desk.letters().load(id).await.map_err(EditError::Store)? {
            Some(now) if now.head.state.waits() && now.record == record => {
                desk.note("edit", Some(id), "done").await.map_err(EditError::Store)
            }
            Some(_) | None => Err(EditError::Overtaken),
        },
    }
}

/// The record that an editor gave back, on as few lines as it needs.
fn check(head: &LetterHead, edited: &str) -> Result<Bytes, EditError> {
    let json: serde_json::Value =
        serde_json::from_str(edited).map_err(|error| EditError::NotJson(error.to_string()))?;
    let record = Bytes::from(json.to_string());
    let undecodable = |cause: String| EditError::Undecodable(cause);
    let source = SourceName::new(&head.source).map_err(|error| undecodable(error.to_string()))?;
    let change = decode_raw(record.clone(), &source).change.map_err(|why| undecodable(why.to_string()))?;
    for image in std::iter::once(&change.keys).chain(&change.old).chain(&change.new) {
        image.item().map_err(|error| undecodable(error.to_string()))?;
    }
    same_change(head, &change)?;
    Ok(record)
}

fn same_change(head: &LetterHead, change: &Change) -> Result<(), EditError> {
    let digest = change.digest().map_err(|error| EditError::Undecodable(error.to_string()))?.to_string();
    for (what, was, is) in
        [("key", &head.digest, digest), ("sequence number", &head.version, change.version.to_string())]
    {
        // What a record was about that nobody could decode is not known.
        if let Some(was) = was.as_ref().filter(|was| **was != is) {
            return Err(EditError::AnotherChange { what, was: was.clone(), is });
        }
    }
    Ok(())
}
