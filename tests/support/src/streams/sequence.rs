//! Sequence numbers as AWS has them: decimal, 21 to 40 digits, dense nowhere.

use crate::faults::draw;

/// So many numbers have the same count of digits, so that a test of a few hundred records meets all of them.
const SAME_LENGTH: u64 = 16;
const SHORTEST: u64 = 21;
const LONGEST: u64 = 40;

/// Gives numbers that rise, with gaps.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    given: u64,
    low: u64,
}

/// A number that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sequence {
    digits: usize,
    text: String,
}

impl Sequences {
    pub(super) fn next(&mut self) -> Sequence {
        self.given += 1;
        self.low += 1 + draw(0, self.given) % 1_000;
        let digits = (SHORTEST + self.given / SAME_LENGTH).min(LONGEST) as usize;
        Sequence { digits, text: format!("1{:0>width$}", self.low, width = digits - 1) }
    }
}

impl Sequence {
    /// Reads a number; leading zeros say nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let text = text.trim_start_matches('0').to_owned();
        is_number.then_some(Self { digits: text.len(), text })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}
