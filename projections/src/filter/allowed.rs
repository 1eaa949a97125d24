//! What one attribute may be, as one list of a pattern says it. Every operation gives exactly that, or more.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// What an attribute of one type may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Whether it may be missing, or of another type.
    pub(super) absent: bool,
    values: Values,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    /// What one of these matches; nothing if there is none.
    Only(BTreeSet<Matcher>),
    /// Any text but these.
    But(BTreeSet<String>),
}

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matcher {
    /// This text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A text that begins so.
    Prefix(String),
    /// A text that ends so.
    Suffix(String),
}

impl Allowed {
    /// One of these, or absent.
    pub(super) fn only(matchers: impl IntoIterator<Item = Matcher>) -> Self {
        Self { absent: true, values: Values::Only(matchers.into_iter().collect()) }
    }

    /// None of these, or absent.
    pub(super) fn but(texts: impl IntoIterator<Item = String>) -> Self {
        Self { absent: true, values: Values::But(texts.into_iter().collect()) }
    }

    /// Whether it may be anything.
    pub(super) fn is_any(&self) -> bool {
        self.absent
            && match &self.values {
                Values::But(texts) => texts.is_empty(),
                Values::Only(matchers) => {
                    [true, false].iter().all(|it| matchers.contains(&Matcher::Bool(*it)))
                }
            }
    }

    /// Whether it can be nothing.
    pub(super) fn is_nothing(&self) -> bool {
        !self.absent && matches!(&self.values, Values::Only(matchers) if matchers.is_empty())
    }

    /// What both allow, or more.
    pub(super) fn and(&self, other: &Self) -> Self {
        let values = match (&self.values, &other.values) {
            (Values::Only(ours), Values::Only(theirs)) => Values::Only(
                ours.iter().flat_map(|one| theirs.iter().filter_map(|it| one.meet(it))).collect(),
            ),
            (Values::Only(only), Values::But(but)) | (Values::But(but), Values::Only(only)) => {
                let stays =
                    |matcher: &&Matcher| !matches!(matcher, Matcher::Text(text) if but.contains(text));
                Values::Only(only.iter().filter(stays).cloned().collect())
            }
            (Values::But(ours), Values::But(theirs)) => Values::But(ours | theirs),
        };
        Self { absent: self.absent && other.absent, values }
    }

    /// What one of both allows.
    pub(super) fn or(&self, other: &Self) -> Self {
        let values = match (&self.values, &other.values) {
            (Values::Only(ours), Values::Only(theirs)) => {
                let all = ours | theirs;
                let is_spare = |one: &&Matcher| all.iter().any(|it| it != *one && one.is_within(it));
                Values::Only(all.iter().filter(|one| !is_spare(one)).cloned().collect())
            }
            (Values::Only(only), Values::But(but)) | (Values::But(but), Values::Only(only)) => {
                let stays = |text: &&String| !only.iter().any(|matcher| matcher.takes(text));
                Values::But(but.iter().filter(stays).cloned().collect())
            }
            (Values::But(ours), Values::But(theirs)) => Values::But(ours & theirs),
        };
        Self { absent: self.absent || other.absent, values }
    }

    /// Whether the other allows all that this does.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let values = match (&self.values, &other.values) {
            (Values::Only(ours), Values::Only(theirs)) => {
                ours.iter().all(|one| theirs.iter().any(|it| one.is_within(it)))
            }
            (Values::Only(only), Values::But(but)) => {
                only.iter().all(|matcher| !but.iter().any(|text| matcher.takes(text)))
            }
            (Values::But(ours), Values::But(theirs)) => theirs.is_subset(ours),
            (Values::But(_), Values::Only(_)) => false,
        };
        values && (other.absent || !self.absent)
    }

    /// The list of a pattern.
    pub(super) fn to_json(&self) -> Value {
        let mut list: Vec<Value> = match &self.values {
            Values::Only(matchers) => matchers.iter().map(Matcher::to_json).collect(),
            Values::But(texts) => vec![json!({ "anything-but": texts })],
        };
        if self.absent {
            list.push(json!({ "exists": false }));
        }
        list.into()
    }
}

impl Matcher {
    fn takes(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => own == text,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::Bool(_) => false,
        }
    }

    /// What both take, or more; none if they have nothing in common.
    fn meet(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (one, it) if one.is_within(it) => Some(one.clone()),
            (one, it) if it.is_within(one) => Some(it.clone()),
            // Both may hold of one text, which no single form says.
            (Self::Prefix(_), Self::Suffix(_)) | (Self::Suffix(_), Self::Prefix(_)) => Some(self.clone()),
            _ => None,
        }
    }

    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(text), _) => other.takes(text),
            (Self::Prefix(ours), Self::Prefix(theirs)) => ours.starts_with(theirs.as_str()),
            (Self::Suffix(ours), Self::Suffix(theirs)) => ours.ends_with(theirs.as_str()),
            (one, it) => one == it,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Bool(bool) => json!(bool),
            Self::Prefix(prefix) => json!({ "prefix": prefix }),
            Self::Suffix(suffix) => json!({ "suffix": suffix }),
        }
    }
}
