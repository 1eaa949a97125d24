//! Which letters to list.

use millstream_projections::{KeyDigest, ProjectionName, SourceName};

use super::{LetterHead, LetterState};
use crate::outcome::FaultKind;

/// Which letters to list. Without anything set: all that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Only those of this projection.
    pub projection: Option<ProjectionName>,
    /// Only those of this source.
    pub source: Option<SourceName>,
    /// Only those about this source item, by the digest of its key; these come in the order of their versions.
    pub digest: Option<KeyDigest>,
    /// Only those with this kind of fault.
    pub fault: Option<FaultKind>,
    /// Only those that first failed at this time or later, in seconds since 1970.
    pub since: Option<u64>,
    /// Only those that first failed before this time.
    pub until: Option<u64>,
    /// Only those in one of these states; empty: those that wait.
    pub states: Vec<LetterState>,
}

impl LetterFilter {
    /// Whether a letter is one of those to list.
    pub fn admits(&self, head: &LetterHead) -> bool {
        let same = |wanted: Option<&str>, has: Option<&str>| wanted.is_none() || wanted == has;
        same(self.projection.as_ref().map(ProjectionName::as_str), head.projection.as_deref())
            && same(self.source.as_ref().map(SourceName::as_str), Some(&head.source))
            && same(self.digest.as_ref().map(KeyDigest::as_str), head.digest.as_deref())
            && same(self.fault.map(FaultKind::as_str), head.fault().map(|attempt| attempt.fault.as_str()))
            && self.since.is_none_or(|since| head.first_at() >= since)
            && self.until.is_none_or(|until| head.first_at() < until)
            && self.admits_state(head.state)
    }

    /// Whether letters in this state are to be listed.
    pub fn admits_state(&self, state: LetterState) -> bool {
        if self.states.is_empty() { state.waits() } else { self.states.contains(&state) }
    }
}
