//! How far a shard is done: a watermark below which everything is, and a small map of what is done above it.

use std::collections::BTreeMap;

use millstream_projections::version::SequenceNumber;

/// How many digits of a sequence number the map of acknowledgements spends at most; see [`Acks::to_text`].
const MAX_TEXT: usize = 1_024;

/// What is done above a watermark, as ranges of records that were read one after another.
///
/// Sequence numbers are dense nowhere, so a range says *every record between these two*, both included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acks {
    /// First to last, in their order; no two have a record in common.
    ranges: Vec<(SequenceNumber, SequenceNumber)>,
}

impl Acks {
    /// Whether a record is done.
    pub fn covers(&self, sequence: &SequenceNumber) -> bool {
        let place = self.ranges.partition_point(|(first, _)| first <= sequence);
        place > 0 && self.ranges[place - 1].1 >= *sequence
    }

    /// Whether nothing above the watermark is done.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// These and those of `others` that are above `watermark`.
    pub(super) fn with(mut self, others: &Self, watermark: Option<&SequenceNumber>) -> Self {
        let is_above = |(_, last): &&(SequenceNumber, SequenceNumber)| watermark.is_none_or(|at| last > at);
        self.ranges.extend(others.ranges.iter().filter(is_above).cloned());
        self.ranges.sort();
        let mut joined: Vec<(SequenceNumber, SequenceNumber)> = Vec::with_capacity(self.ranges.len());
        for (first, last) in self.ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(end.clone()),
                Some(_) | None => joined.push((first, last)),
            }
        }
        Self { ranges: joined }
    }

    /// The ranges as text of at most about 1 KB, `first-last,…`; what does not fit is left out, and is done again.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (first, last) in &self.ranges {
            let range = format!("{}-{}", first.unpadded(), last.unpadded());
            if text.len() + 1 + range.len() > MAX_TEXT {
                break;
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&range);
        }
        text
    }

    /// Reads such a text; what cannot be read is left out, and is done again.
    pub fn from_text(text: &str) -> Self {
        let range = |range: &str| {
            let (first, last) = range.split_once('-')?;
            Some((SequenceNumber::new(first).ok()?, SequenceNumber::new(last).ok()?))
        };
        let mut ranges: Vec<_> =
            text.split(',').filter_map(range).filter(|(first, last)| first <= last).collect();
        ranges.sort();
        Self { ranges }
    }
}

/// The records of a shard that were read and are not yet below the watermark.
#[derive(Debug, Default)]
pub struct Watermark {
    /// Whether each is done, in the order in which they were read.
    read: BTreeMap<SequenceNumber, bool>,
    /// Everything up to here is done.
    at: Option<SequenceNumber>,
}

impl Watermark {
    /// Nothing is read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A record was read.
    pub fn read(&mut self, sequence: SequenceNumber) {
        self.read.entry(sequence).or_insert(false);
    }

    /// A record is done.
    pub fn done(&mut self, sequence: &SequenceNumber) {
        if let Some(done) = self.read.get_mut(sequence) {
            *done = true;
        }
        while let Some(first) = self.read.first_entry().filter(|entry| *entry.get()) {
            self.at = Some(first.remove_entry().0);
        }
    }

    /// Everything up to here is done; none if nothing is since it was made.
    pub fn at(&self) -> Option<&SequenceNumber> {
        self.at.as_ref()
    }

    /// How many records were read and are above the watermark.
    pub fn above(&self) -> usize {
        self.read.len()
    }

    /// What is done above the watermark.
    pub fn acks(&self) -> Acks {
        let mut ranges: Vec<(SequenceNumber, SequenceNumber)> = Vec::new();
        let mut goes_on = false;
        for (sequence, done) in &self.read {
            match (done, ranges.last_mut()) {
                (true, Some((_, last))) if goes_on => last.clone_from(sequence),
                (true, _) => ranges.push((sequence.clone(), sequence.clone())),
                (false, _) => {}
            }
            goes_on = *done;
        }
        Acks { ranges }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    fn number(number: u32) -> SequenceNumber {
        SequenceNumber::new(&format!("{number}")).unwrap()
    }

    proptest! {
        /// Of the records 0..40 every third is slow; a worker does some of the others, and another takes over and does some more.
        #[test]
        fn what_is_done_is_known_to_every_worker_that_comes_and_nothing_else_is(
            first in btree_set(0_u32..40, 0..40),
            read in 0_u32..40,
            second in btree_set(0_u32..40, 0..40),
        ) {
            let is_slow = |record: &u32| record.is_multiple_of(3);
            let first: Vec<u32> = first.into_iter().filter(|record| !is_slow(record)).collect();
            let mut watermark = Watermark::new();
            (0..40).for_each(|record| watermark.read(number(record)));
            first.iter().for_each(|record| watermark.done(&number(*record)));
            let before = Acks::from_text(&watermark.acks().to_text());

            // The other has read a part of it only.
            let mut watermark = Watermark::new();
            let mut done: Vec<u32> = first.clone();
            for record in 0..read {
                watermark.read(number(record));
                if before.covers(&number(record)) {
                    watermark.done(&number(record));
                }
            }
            for record in second.into_iter().filter(|record| *record < read) {
                watermark.done(&number(record));
                done.push(record);
            }
            let acks = Acks::from_text(&watermark.acks().with(&before, watermark.at()).to_text());
            for record in 0..40 {
                let below = watermark.at().is_some_and(|at| number(record) <= *at);
                prop_assert_eq!(
                    below || acks.covers(&number(record)),
                    done.contains(&record),
                    "record {} with {}", record, acks.to_text()
                );
            }
        }
    }
}
