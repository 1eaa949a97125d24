//! The bodies of the messages of one letter, made and read without any I/O.
//!
//! A letter that fits is one message: its JSON, as the directory's files have it. One that does not fit, or that has
//! characters which SQS does not take, is the base64 of that JSON in numbered parts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::letters::LetterId;
use crate::letters::file::{self, Damage, Filed};

/// What a part has beside its bytes, and some more.
const ENVELOPE: usize = 512;
/// The smallest message size of a queue that letters are kept in: below it parts would be too many.
pub(super) const LEAST_SIZE: usize = 16 * 1024;

/// What a message holds.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// A letter.
    Whole(Box<Filed>),
    /// A part of one.
    Part(Part),
}

/// A part of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) letter: LetterId,
    pub(super) set: PartSet,
    /// Counted from 1.
    pub(super) part: u32,
    pub(super) bytes: Vec<u8>,
}

/// Which parts belong together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PartSet {
    /// The hash of what they are together.
    pub(super) hash: String,
    pub(super) parts: u32,
}

/// Why a message is no letter.
#[derive(Debug, thiserror::Error)]
pub(super) enum Foreign {
    /// It is neither a letter nor a part of one.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// A part that contradicts itself.
    #[error("it is part {part} of {parts} of `{letter}`")]
    Part { letter: String, part: u32, parts: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PartBody {
    letter_part: PartFields,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartFields {
    letter: String,
    hash: String,
    part: u32,
    parts: u32,
    bytes: String,
}

/// One message to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) body: String,
    /// Equal for two messages that say the same: the deduplication id of a FIFO queue, and its group.
    pub(super) name: String,
}

/// The messages of a letter, where each may have `limit` bytes.
pub(super) fn outgoing(filed: &Filed, limit: usize) -> Result<Vec<Outgoing>, Damage> {
    let json = file::compact(filed)?;
    let hash = hash(&json);
    let letter = filed.letter.head.id.as_str();
    let name = |part: usize| format!("{letter}-{hash}-{part}");
    if json.len() <= limit
        && let Ok(text) = std::str::from_utf8(&json)
        && text.chars().all(is_sendable)
    {
        return Ok(vec![Outgoing { body: text.to_owned(), name: name(0) }]);
    }
    // Four characters of base64 for three bytes.
    let size = limit.saturating_sub(ENVELOPE).max(4) / 4 * 3;
    let parts = json.len().div_ceil(size);
    let part = |(number, chunk): (usize, &[u8])| {
        let letter_part = PartFields {
            letter: letter.to_owned(),
            hash: hash.clone(),
            part: number as u32,
            parts: parts as u32,
            bytes: STANDARD.encode(chunk),
        };
        Ok(Outgoing { body: serde_json::to_string(&PartBody { letter_part })?, name: name(number) })
    };
    (1..).zip(json.chunks(size)).map(part).collect()
}

/// What a message holds.
pub(super) fn content(body: &str) -> Result<Content, Foreign> {
    let Ok(PartBody { letter_part }) = serde_json::from_str(body) else {
        return Ok(Content::Whole(Box::new(file::read_any(body.as_bytes())?)));
    };
    let PartFields { letter, hash, part, parts, bytes } = letter_part;
    match LetterId::from_text(&letter).filter(|_| (1..=parts).contains(&part)) {
        None => Err(Foreign::Part { letter, part, parts }),
        Some(letter) => {
            let bytes = STANDARD.decode(bytes).map_err(Damage::from)?;
            Ok(Content::Part(Part { letter, set: PartSet { hash, parts }, part, bytes }))
        }
    }
}

/// The letter that parts are together.
pub(super) fn together(letter: &LetterId, set: &PartSet, bytes: &[u8]) -> Result<Filed, Damage> {
    if hash(bytes) != set.hash {
        return Err(Damage::Hash);
    }
    file::read(bytes, letter)
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The characters that SQS takes; it refuses a message with any other.
fn is_sendable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letters::{Attempt, Letter, LetterHead, LetterState};
    use crate::outcome::{Fault, FaultKind};

    fn filed(record: &[u8]) -> Filed {
        let head = LetterHead {
            id: LetterId::from_text(&"a1".repeat(12)).unwrap(),
            state: LetterState::Open,
            source: "orders".to_owned(),
            projection: None,
            config: "c0ffee".to_owned(),
            key: None,
            digest: None,
            version: None,
            attempts: vec![Attempt::new(1, &Fault::new(FaultKind::Rejected, "no"))],
            edited: 0,
            closing: None,
        };
        Filed { letter: Letter { head, record: record.to_vec().into() }, original: None }
    }

    #[test]
    fn a_letter_that_fits_is_one_readable_message() {
        let filed = filed(br#"{"eventID":"1"}"#);
        let sent = outgoing(&filed, 1024).unwrap();
        assert!(sent.len() == 1 && sent[0].body.contains(r#""record":{"eventID":"1"}"#), "{sent:?}");
        assert_eq!(content(&sent[0].body).unwrap(), Content::Whole(Box::new(filed)));
    }

    #[test]
    fn what_does_not_fit_or_cannot_be_sent_is_parts_below_the_limit() {
        let texts = [vec![b'x'; 100_000], "{\"a\":\"\u{ffff}\"}".as_bytes().to_vec()];
        for (record, least) in texts.iter().zip([7, 1]) {
            let filed = filed(record);
            let sent = outgoing(&filed, LEAST_SIZE).unwrap();
            assert!(sent.len() >= least);
            let mut bytes = Vec::new();
            for outgoing in &sent {
                assert!(outgoing.body.len() <= LEAST_SIZE && outgoing.name.len() <= 128);
                let Content::Part(part) = content(&outgoing.body).unwrap() else { panic!("not a part") };
                bytes.extend(&part.bytes);
                if part.part == part.set.parts {
                    let letter = &filed.letter.head.id;
                    assert_eq!(together(letter, &part.set, &bytes).unwrap(), filed);
                    assert!(together(letter, &part.set, &bytes[1..]).is_err());
                }
            }
        }
    }

    #[test]
    fn other_messages_are_no_letters() {
        let part =
            r#"{"letterPart":{"letter":"a1a1a1a1a1a1a1a1a1a1a1a1","hash":"","part":3,"parts":2,"bytes":""}}"#;
        for body in ["", "hello", "{}", r#"{"Records":[]}"#, part] {
            assert!(content(body).is_err(), "{body}");
        }
    }
}
