//! Conditions that patterns can say: alternatives, of which each says something of some attributes at once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::allowed::Allowed;

/// More alternatives than this are not worth a filter, and would not fit into one.
const MAX_CLAUSES: usize = 64;

/// Where an attribute of one type is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leaf {
    /// Whether it is in the key; else it is in an image.
    pub(super) is_key: bool,
    /// The names that lead to it, through maps.
    pub(super) path: Vec<String>,
    /// DynamoDB's word for its type.
    pub(super) kind: &'static str,
}

/// All of these attributes are what they may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Clause(BTreeMap<Leaf, Allowed>);

/// One of these holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Formula(Vec<Clause>);

impl Formula {
    /// What holds of everything.
    pub(super) fn always() -> Self {
        Self(vec![Clause::default()])
    }

    /// What holds of nothing.
    pub(super) fn never() -> Self {
        Self(Vec::new())
    }

    /// What some attributes are, all at once.
    pub(super) fn all(leaves: impl IntoIterator<Item = (Leaf, Allowed)>) -> Self {
        let leaves = leaves.into_iter().filter(|(_, allowed)| !allowed.is_any());
        Self(vec![Clause(leaves.collect())])
    }

    /// Whether it holds of everything.
    pub(super) fn is_always(&self) -> bool {
        self.0.iter().any(Clause::is_always)
    }

    /// The alternatives.
    pub(super) fn clauses(&self) -> &[Clause] {
        &self.0
    }

    /// What holds where both do, or more.
    pub(super) fn and(self, other: Self) -> Self {
        if self.0.len() * other.0.len() > MAX_CLAUSES {
            // One of both alone lets more through.
            return if self.0.len() < other.0.len() { self } else { other };
        }
        let pairs = self.0.iter().flat_map(|one| other.0.iter().filter_map(|it| one.and(it)));
        Self(pairs.collect()).simplified()
    }

    /// What holds where one of both does.
    pub(super) fn or(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        let simplified = self.simplified();
        if simplified.0.len() > MAX_CLAUSES { Self::always() } else { simplified }
    }

    /// The same with fewer alternatives: those that others include go, and those that differ in one attribute are one.
    fn simplified(mut self) -> Self {
        while let Some((one, other, both)) = self.joinable() {
            self.0.remove(other);
            self.0[one] = both;
        }
        self
    }

    fn joinable(&self) -> Option<(usize, usize, Clause)> {
        let pairs = (0..self.0.len()).flat_map(|other| (0..other).map(move |one| (one, other)));
        pairs.into_iter().find_map(|(one, other)| Some((one, other, self.0[one].joined(&self.0[other])?)))
    }
}

impl Clause {
    /// Both at once; none if they contradict each other.
    fn and(&self, other: &Self) -> Option<Self> {
        let mut leaves = self.0.clone();
        for (leaf, allowed) in &other.0 {
            let both = leaves.get(leaf).map_or_else(|| allowed.clone(), |own| own.and(allowed));
            if both.is_nothing() {
                return None;
            }
            leaves.insert(leaf.clone(), both);
        }
        Some(Self(leaves))
    }

    /// One clause that says what either of both says, if there is one.
    fn joined(&self, other: &Self) -> Option<Self> {
        if self.is_within(other) {
            return Some(other.clone());
        }
        if other.is_within(self) {
            return Some(self.clone());
        }
        if !self.0.keys().eq(other.0.keys()) {
            return None;
        }
        let mut differing = self.0.iter().filter(|(leaf, allowed)| other.0.get(*leaf) != Some(*allowed));
        let (leaf, ours) = differing.next()?;
        if differing.next().is_some() {
            return None;
        }
        let mut joined = self.clone();
        let either = ours.or(other.0.get(leaf)?);
        if either.is_any() {
            joined.0.remove(leaf);
        } else {
            joined.0.insert(leaf.clone(), either);
        }
        Some(joined)
    }

    /// What holds wherever one of both does: of the attributes of which both say something, what either allows.
    pub(super) fn either(&self, other: &Self) -> Self {
        let shared =
            self.0.iter().filter_map(|(leaf, ours)| Some((leaf.clone(), ours.or(other.0.get(leaf)?))));
        Self(shared.filter(|(_, allowed)| !allowed.is_any()).collect())
    }

    /// Whether it holds of everything.
    pub(super) fn is_always(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it speaks of the key alone, which no change changes.
    pub(super) fn is_of_key(&self) -> bool {
        !self.is_always() && self.0.keys().all(|leaf| leaf.is_key)
    }

    /// Of how many attributes it speaks.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the other holds wherever this does.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        other.0.iter().all(|(leaf, theirs)| self.0.get(leaf).is_some_and(|ours| ours.is_within(theirs)))
    }

    /// Adds what it says to a pattern, of the image of that name.
    pub(super) fn write(&self, image: &str, pattern: &mut Value) {
        for (leaf, allowed) in &self.0 {
            let mut place = &mut pattern["dynamodb"][if leaf.is_key { "Keys" } else { image }];
            for (depth, name) in leaf.path.iter().enumerate() {
                if depth > 0 {
                    place = &mut place["M"];
                }
                place = &mut place[name.as_str()];
            }
            place[leaf.kind] = json!(allowed.to_json());
        }
    }
}
