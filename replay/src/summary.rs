//! Letters grouped by what went wrong: a thousand letters of one broken deployment are one line.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures_util::{Stream, StreamExt};
use millstream_processor::letters::{LetterHead, LetterId};
use millstream_processor::outcome::Fault;
use millstream_projections::event::rfc3339;
use serde::Serialize;

use crate::message::normalised;
use crate::value::printable;

/// How many groups there are at most, so that messages which never repeat cannot fill the memory.
const MAX_GROUPS: usize = 1_000;
/// What stands for the messages beyond that.
const OTHER: &str = "(other messages)";
/// How many letters that cannot be read are named.
const MAX_NAMED: usize = 20;

/// What there is, grouped; the largest group first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many letters there are.
    pub letters: u64,
    /// They, by what went wrong.
    pub groups: Vec<Group>,
    /// How many letters could not be read, or ended the list.
    pub unreadable: u64,
    /// The first of those, in words.
    pub faults: Vec<String>,
}

/// Letters of one source and projection with the same fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The source.
    pub source: String,
    /// The projection; none for records that could not be decoded.
    pub projection: Option<String>,
    /// The kind of fault of the latest attempt.
    pub fault: String,
    /// Its causes, without what differs from record to record.
    pub message: String,
    /// How many letters.
    pub letters: u64,
    /// How many source items they are about, as far as those are known.
    pub keys: u64,
    /// When the first of them first failed, in seconds since 1970.
    pub oldest: u64,
    /// When the latest of them last failed, in seconds since 1970.
    pub newest: u64,
    /// The oldest of them, to be shown.
    pub example: LetterId,
}

impl Summary {
    /// Reads all heads, one at a time. It keeps the groups, and 8 bytes for each source item.
    pub async fn of(heads: impl Stream<Item = Result<LetterHead, Fault>>) -> Self {
        let mut heads = std::pin::pin!(heads);
        let mut counting = Counting::default();
        while let Some(head) = heads.next().await {
            match head {
                Ok(head) => counting.add(&head),
                Err(fault) => counting.unreadable(&fault),
            }
        }
        counting.finish()
    }
}

#[derive(Default)]
struct Counting {
    summary: Summary,
    places: HashMap<u64, usize>,
    keys: Vec<HashSet<u64>>,
}

impl Counting {
    fn add(&mut self, head: &LetterHead) {
        let fault = head.fault();
        let kind = fault.map_or("", |attempt| attempt.fault.as_str());
        let message = normalised(&fault.map_or_else(String::new, |attempt| attempt.causes.join(": ")));
        let place = self.place(head, kind, message);
        let group = &mut self.summary.groups[place];
        group.letters += 1;
        if head.first_at() < group.oldest {
            group.oldest = head.first_at();
            group.example = head.id.clone();
        }
        group.newest = group.newest.max(head.last_at());
        if let Some(digest) = &head.digest {
            self.keys[place].insert(hash(digest));
        }
        self.summary.letters += 1;
    }

    fn place(&mut self, head: &LetterHead, kind: &str, mut message: String) -> usize {
        let print = |message: &str| hash((&head.source, &head.projection, kind, message));
        let groups = &mut self.summary.groups;
        if groups.len() >= MAX_GROUPS && !self.places.contains_key(&print(&message)) {
            message = OTHER.to_owned();
        }
        *self.places.entry(print(&message)).or_insert_with(|| {
            self.keys.push(HashSet::new());
            groups.push(Group {
                source: head.source.clone(),
                projection: head.projection.clone(),
                fault: kind.to_owned(),
                message,
                letters: 0,
                keys: 0,
                oldest: head.first_at(),
                newest: head.last_at(),
                example: head.id.clone(),
            });
            groups.len() - 1
        })
    }

    fn unreadable(&mut self, fault: &Fault) {
        self.summary.unreadable += 1;
        if self.summary.faults.len() < MAX_NAMED {
            self.summary.faults.push(fault.causes.join(": "));
        }
    }

    fn finish(mut self) -> Summary {
        for (group, keys) in self.summary.groups.iter_mut().zip(&self.keys) {
            group.keys = keys.len() as u64;
        }
        self.summary.groups.sort_by_key(|group| (std::cmp::Reverse(group.letters), group.oldest));
        self.summary
    }
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            writeln!(f, "{group}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let projection = self.projection.as_deref().unwrap_or("(not decoded)");
        writeln!(f, "{} letters of {projection} from {}, {} items", self.letters, self.source, self.keys)?;
        writeln!(f, "  {}: {}", self.fault, printable(&self.message))?;
        write!(f, "  {} to {}, for example {}", rfc3339(self.oldest), rfc3339(self.newest), self.example)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use millstream_processor::letters::{Attempt, LetterState};
    use millstream_processor::outcome::FaultKind;
    use millstream_projections::{ProjectionName, SourceName};

    use super::*;

    fn head(number: u64, at: u64, projection: Option<&str>, cause: &str) -> LetterHead {
        let source = SourceName::new("orders").unwrap();
        let name = projection.map(|name| ProjectionName::new(name).unwrap());
        LetterHead {
            id: LetterId::of(&source, name.as_ref(), &number.to_be_bytes()),
            state: LetterState::Open,
            source: source.to_string(),
            projection: projection.map(str::to_owned),
            config: "c0ffee".to_owned(),
            key: None,
            digest: Some((number % 2).to_string()),
            version: None,
            attempts: vec![Attempt::new(at, &Fault::new(FaultKind::Rejected, cause))],
            edited: 0,
            closing: None,
        }
    }

    #[tokio::test]
    async fn letters_with_the_same_fault_are_one_group() {
        let unreadable = Fault::new(FaultKind::Rejected, "letters/x.json is damaged");
        let heads = vec![
            Ok(head(1, 20, Some("a"), "row 17 is too large")),
            Ok(head(2, 10, Some("a"), "row 4 is too large")),
            Err(unreadable),
            Ok(head(3, 30, Some("a"), "row 5 is too large")),
            Ok(head(4, 5, Some("b"), "row 5 is too large")),
            Ok(head(5, 6, None, "record cannot be decoded")),
        ];
        let summary = Summary::of(stream::iter(heads)).await;
        assert_eq!((summary.letters, summary.groups.len(), summary.unreadable), (5, 3, 1));
        let first = &summary.groups[0];
        assert_eq!(first.message, "row # is too large");
        assert_eq!((first.letters, first.keys, first.oldest, first.newest), (3, 2, 10, 30));
        assert_eq!(first.example, head(2, 10, Some("a"), "").id);
        assert_eq!(summary.faults, ["letters/x.json is damaged"]);
        assert_eq!(
            summary.groups[2].to_string(),
            format!(
                "1 letters of (not decoded) from orders, 1 items\n  rejected: record cannot be decoded\n  \
                 1970-01-01T00:00:06Z to 1970-01-01T00:00:06Z, for example {}",
                summary.groups[2].example
            )
        );
    }

    #[tokio::test]
    async fn messages_that_never_repeat_do_not_fill_the_memory() {
        let cause = |mut number: u64| {
            let mut letters = String::new();
            while number > 0 {
                letters.push(char::from(b'a' + (number % 26) as u8));
                number /= 26;
            }
            letters
        };
        let heads = (1..5_000).map(|number| Ok(head(number, number, Some("a"), &cause(number))));
        let summary = Summary::of(stream::iter(heads)).await;
        assert_eq!((summary.letters, summary.groups.len()), (4_999, MAX_GROUPS + 1));
        assert_eq!(summary.groups[0].message, OTHER);
    }
}
