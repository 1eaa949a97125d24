//! As many alternatives as there may be patterns: of those that are more, some become one that lets through more than both.

use serde_json::{Value, json};

use super::formula::{Clause, Formula};

/// One pattern: the changes that it is about, and what their item has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alternative {
    when: When,
    clause: Clause,
    /// How many it was made of.
    parts: usize,
}

/// Which image of a change is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    /// None: the key is the same before and after.
    Any,
    /// The new one.
    After,
    /// The old one.
    Before,
}

/// What an item may be after a change, or before it.
pub(super) fn alternatives(after: &Formula, before: &Formula) -> Vec<Alternative> {
    let is_both = |clause: &Clause| clause.is_of_key() && before.clauses().contains(clause);
    let mut alternatives = Vec::new();
    for clause in after.clauses() {
        let when = if is_both(clause) { When::Any } else { When::After };
        alternatives.push(Alternative { when, clause: clause.clone(), parts: 1 });
    }
    for clause in before.clauses() {
        let alternative = Alternative { when: When::Before, clause: clause.clone(), parts: 1 };
        if !alternatives.iter().any(|known| known.when == When::Any && known.clause == *clause) {
            alternatives.push(alternative);
        }
    }
    alternatives
}

/// At most so many; none where that would let everything through.
pub(super) fn fitted(mut alternatives: Vec<Alternative>, most: usize) -> Option<Vec<Alternative>> {
    while alternatives.len() > most {
        let joined = closest(&alternatives)?;
        alternatives.retain(|known| !known.is_within(&joined));
        alternatives.push(joined);
    }
    alternatives.sort_by_key(|alternative| alternative.when);
    // An item that may be anything after a change is no filter; what it was before may be unknown.
    let is_all = |it: &Alternative| it.when != When::Before && it.clause.is_always();
    (!alternatives.iter().any(is_all)).then_some(alternatives)
}

/// The two that lose least by becoming one, and so far stand for the fewest; none if nothing would be left of any two.
fn closest(alternatives: &[Alternative]) -> Option<Alternative> {
    let pairs = (0..alternatives.len()).flat_map(|other| (0..other).map(move |one| (one, other)));
    let joined = pairs.filter_map(|(one, other)| {
        let (one, other) = (&alternatives[one], &alternatives[other]);
        let both = one.joined(other)?;
        let lost = one.clause.len() + other.clause.len() - 2 * both.clause.len();
        Some(((both.clause.is_always(), lost, both.parts), both))
    });
    joined.min_by_key(|(cost, _)| *cost).map(|(_, both)| both)
}

impl Alternative {
    /// What lets through all that either of both does; none if it would be everything.
    fn joined(&self, other: &Self) -> Option<Self> {
        let clause = self.clause.either(&other.clause);
        let is_some = self.when == other.when && (self.when == When::Before || !clause.is_always());
        // What is left of both may be of the key alone.
        let when = if clause.is_of_key() { When::Any } else { self.when };
        is_some.then_some(Self { when, clause, parts: self.parts + other.parts })
    }

    fn is_within(&self, other: &Self) -> bool {
        let is_seen = other.when == self.when || other.when == When::Any;
        is_seen && self.clause.is_within(&other.clause)
    }

    /// As Lambda reads it.
    pub(super) fn pattern(&self) -> Value {
        // What an event is not: where the lists of two patterns have a name in common, AWS's open matcher was seen to miss
        // events that one of them lets through. Other names than the three pass in any case.
        let (mut pattern, image) = match self.when {
            When::Any => (json!({}), "Keys"),
            When::After => (json!({ "eventName": [{ "anything-but": ["REMOVE"] }] }), "NewImage"),
            When::Before => (json!({ "eventName": [{ "anything-but": ["INSERT"] }] }), "OldImage"),
        };
        self.clause.write(image, &mut pattern);
        pattern
    }
}
