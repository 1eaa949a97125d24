//! One shard: what was written to it, and what of it can still be read.

use super::record::NewRecord;
use super::sequence::Sequence;

/// How long a stream keeps a record, and a shard that is closed.
const RETENTION_MS: u64 = 24 * 60 * 60 * 1_000;
/// The most records of one page.
pub(super) const PAGE_RECORDS: usize = 1_000;
/// The most that one page weighs.
const PAGE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) name: String,
    pub(super) parent: Option<String>,
    /// Not above the number of its first record.
    pub(super) start: Sequence,
    /// When it was closed, and a number that is not below that of its last record.
    pub(super) end: Option<(u64, Sequence)>,
    pub(super) records: Vec<Stored>,
    /// How many of the records were trimmed by hand.
    pub(super) trimmed: usize,
    pub(super) forgotten: bool,
    pub(super) listed_from_ms: u64,
    pub(super) listed_open_until_ms: u64,
    /// How often it was read.
    pub(super) reads: u64,
}

#[derive(Debug)]
pub(super) struct Stored {
    pub(super) sequence: Sequence,
    /// When it, or one before it, was made, whichever was later: age trims from the oldest on.
    pub(super) made_at_ms: u64,
    pub(super) size: usize,
    pub(super) json: String,
    pub(super) record: NewRecord,
}

impl Shard {
    pub(super) fn new(name: &str, parent: Option<&str>, start: Sequence) -> Self {
        Self {
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
            start,
            end: None,
            records: Vec::new(),
            trimmed: 0,
            forgotten: false,
            listed_from_ms: 0,
            listed_open_until_ms: 0,
            reads: 0,
        }
    }

    /// Whether the stream does not know it any more. Nothing was written after the end, so all of it is too old then.
    pub(super) fn is_gone(&self, now_ms: u64) -> bool {
        self.forgotten || self.end.as_ref().is_some_and(|(closed_ms, _)| is_too_old(*closed_ms, now_ms))
    }

    /// How many records, from the oldest on, cannot be read any more.
    pub(super) fn trimmed(&self, now_ms: u64) -> usize {
        self.trimmed.max(self.records.partition_point(|it| is_too_old(it.made_at_ms, now_ms)))
    }

    /// Where the first record stands whose number is above this one, or is this one itself.
    pub(super) fn place(&self, sequence: &Sequence, after: bool) -> usize {
        self.records.partition_point(|it| it.sequence < *sequence || (after && it.sequence == *sequence))
    }

    /// Where a page that starts here ends.
    pub(super) fn page_end(&self, from: usize, limit: usize) -> usize {
        let mut bytes = 0;
        let fits = |record: &&Stored| {
            let is_first = bytes == 0;
            bytes += record.size;
            is_first || bytes <= PAGE_BYTES
        };
        from + self.records[from..].iter().take(limit).take_while(fits).count()
    }
}

fn is_too_old(made_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(made_ms) > RETENTION_MS
}
