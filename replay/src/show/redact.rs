//! Hides what items hold, so that a letter can go into a ticket.

use super::{Decoded, ShownValue, decode};
use crate::message::normalised;
use crate::value;
use millstream_processor::letters::Letter;
use millstream_projections::Value;

/// What stands for a hidden text inside a message.
const HIDDEN: &str = "<hidden>";
/// Shorter values are parts of too many words; in messages they are quoted, and gone with their quotes.
const SHORTEST: usize = 3;
/// Of a longer value the beginning is enough to find it: a letter cuts long messages.
const BEGINNING: usize = 64;
/// The digits of a stream's sequence number inside a version.
const SEQUENCE_DIGITS: usize = 40;

/// What is to be hidden.
pub(crate) enum Redaction {
    /// Nothing.
    Nothing,
    /// All values, and these texts inside messages: longest first.
    Values(Vec<String>),
}

impl Redaction {
    /// Everything is shown.
    pub(super) fn none() -> Self {
        Self::Nothing
    }

    /// What a letter's record holds is hidden.
    pub(crate) fn of_letter(letter: &Letter) -> Self {
        decode(letter).map_or_else(|_| Self::blind(), |decoded| Self::of(&decoded))
    }

    /// The values of a change are hidden.
    pub(super) fn of(decoded: &Decoded) -> Self {
        let mut found = Vec::new();
        for item in std::iter::once(&decoded.keys).chain(&decoded.old).chain(&decoded.new) {
            item.values().for_each(|value| value::secrets(value, &mut found));
        }
        let mut secrets: Vec<String> =
            found.into_iter().filter(|text| text.chars().count() >= SHORTEST).map(beginning).collect();
        secrets.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self::Values(secrets)
    }

    /// The values of a record that nobody can read are hidden as far as messages quote them.
    pub(super) fn blind() -> Self {
        Self::Values(Vec::new())
    }

    /// A value, or what kind of value it is.
    pub(crate) fn value(&self, value: &Value) -> ShownValue {
        match self {
            Self::Nothing => ShownValue::Value(value.clone()),
            Self::Values(_) => ShownValue::Hidden(value::hidden(value)),
        }
    }

    /// A message without what it quotes of the item.
    pub(crate) fn message(&self, message: &str) -> String {
        let Self::Values(secrets) = self else { return message.to_owned() };
        let mut message = message.to_owned();
        for secret in secrets {
            match message.find(secret.as_str()) {
                // More of a long value may follow than is known here.
                Some(at) if secret.len() >= BEGINNING => {
                    message.truncate(at);
                    message.push_str(HIDDEN);
                }
                Some(_) => message = message.replace(secret.as_str(), HIDDEN),
                None => {}
            }
        }
        normalised(&message)
    }

    /// A version of a stream tells nothing; one that the item declares is a value of the item.
    pub(crate) fn version(&self, version: &str) -> String {
        let of_stream = version.rsplit_once('/').is_some_and(|(_, sequence)| {
            sequence.len() == SEQUENCE_DIGITS && sequence.bytes().all(|b| b.is_ascii_digit())
        });
        match self {
            Self::Values(_) if !of_stream => HIDDEN.to_owned(),
            Self::Nothing | Self::Values(_) => version.to_owned(),
        }
    }
}

fn beginning(text: &str) -> String {
    text[..text.floor_char_boundary(BEGINNING)].to_owned()
}
