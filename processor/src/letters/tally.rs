//! How many letters wait, and for how long: by projection and state.

use std::collections::BTreeMap;

use futures_util::{Stream, StreamExt};

use super::{LetterHead, LetterState};
use crate::outcome::Fault;

/// What stands for the projection of a record that could not be decoded.
pub const UNDECODED: &str = "-";

/// What a store can tell of the letters that wait, without taking one out of anyone's sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// It counted them.
    Letters(Tally),
    /// About so many messages are in its queue; a letter is one or more.
    Messages(u64),
}

/// Letters by projection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By the projections' names, or [`UNDECODED`].
    pub projections: BTreeMap<String, Count>,
}

/// The letters of one projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// How many, by [`LetterState::as_str`]; the states that wait are always there.
    pub letters: BTreeMap<&'static str, u64>,
    /// When the oldest of those that wait first failed, in seconds since 1970.
    pub oldest: Option<u64>,
}

impl Default for Count {
    fn default() -> Self {
        let states = LetterState::ALL.into_iter().filter(|state| state.waits());
        Self { letters: states.map(|state| (state.as_str(), 0)).collect(), oldest: None }
    }
}

impl Tally {
    /// No letters yet, of these projections: they have their counts from the start, so that an alarm can end.
    pub fn of_projections<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { projections: names.into_iter().map(|name| (name.to_owned(), Count::default())).collect() }
    }

    /// Counts one letter.
    pub fn add(&mut self, head: &LetterHead) {
        let name = head.projection.as_deref().unwrap_or(UNDECODED);
        let count = self.projections.entry(name.to_owned()).or_default();
        *count.letters.entry(head.state.as_str()).or_default() += 1;
        if head.state.waits() {
            let first = head.first_at();
            count.oldest = Some(count.oldest.map_or(first, |oldest| oldest.min(first)));
        }
    }

    /// Counts all; the first fault if not all can be read: a number that is too small would end an alarm.
    pub async fn of(heads: impl Stream<Item = Result<LetterHead, Fault>>) -> Result<Self, Fault> {
        let mut heads = std::pin::pin!(heads);
        let mut tally = Self::default();
        while let Some(head) = heads.next().await {
            tally.add(&head?);
        }
        Ok(tally)
    }
}
