//! What was written to the source, and what became of each record: what a run is judged by.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millstream_processor::poller::acks::Acks;
use millstream_processor::poller::state::GapRow;
use millstream_processor::projections::version::SequenceNumber;

/// One record of the source.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) sequence: SequenceNumber,
    pub(crate) shard: Arc<str>,
    pub(crate) id: String,
    /// What the item's number is afterwards; none if it is removed.
    pub(crate) number: Option<u64>,
    /// How often its event came.
    pub(crate) published: u32,
    /// Whether the stream forgot it.
    pub(crate) trimmed: bool,
    /// Whether it is older than what the consumer asked for.
    pub(crate) skipped: bool,
    /// Whether it was trimmed before anything of its shard was done: nobody can tell that it ever was.
    is_untold: bool,
    place_of_key: usize,
}

impl Record {
    /// Whether nothing is to be done about it any more.
    fn is_settled(&self) -> bool {
        self.published > 0 || self.trimmed || self.skipped
    }

    fn is_lost(&self) -> bool {
        self.published == 0 && !self.skipped
    }

    /// Whether it was done, and could not be lost half done.
    fn is_kept(&self) -> bool {
        self.published > 0 && !self.trimmed
    }
}

/// Records in their order: of a key, or of a shard.
#[derive(Debug, Default)]
struct Line {
    records: Vec<usize>,
    /// All before this place are settled.
    settled: usize,
}

/// One shard of the source.
#[derive(Debug, Default)]
struct Shard {
    parent: Option<Arc<str>>,
    is_closed: bool,
    line: Line,
    gaps: Vec<GapRow>,
    /// How many of the records a checkpoint has covered.
    covered: usize,
}

/// Everything that was ever written.
#[derive(Debug, Default)]
pub(crate) struct Books {
    records: Vec<Record>,
    by_sequence: HashMap<String, usize>,
    keys: BTreeMap<String, Line>,
    shards: BTreeMap<Arc<str>, Shard>,
}

impl Line {
    fn settle(&mut self, records: &[Record]) {
        while self.records.get(self.settled).is_some_and(|record| records[*record].is_settled()) {
            self.settled += 1;
        }
    }
}

impl Books {
    pub(crate) fn opened(&mut self, shard: Arc<str>, parent: Option<Arc<str>>) {
        self.shards.insert(shard, Shard { parent, ..Shard::default() });
    }

    pub(crate) fn closed(&mut self, shard: &str) {
        self.shards.get_mut(shard).unwrap().is_closed = true;
    }

    pub(crate) fn wrote(
        &mut self,
        shard: &Arc<str>,
        id: &str,
        number: Option<u64>,
        sequence: &str,
        skipped: bool,
    ) {
        let sequence = SequenceNumber::new(sequence).unwrap();
        let place = self.records.len();
        self.by_sequence.insert(sequence.as_str().to_owned(), place);
        let key = self.keys.entry(id.to_owned()).or_default();
        let place_of_key = key.records.len();
        key.records.push(place);
        self.shards.get_mut(shard).unwrap().line.records.push(place);
        let (shard, id) = (shard.clone(), id.to_owned());
        let (published, trimmed, is_untold) = (0, false, false);
        self.records.push(Record {
            sequence,
            shard,
            id,
            number,
            published,
            trimmed,
            skipped,
            is_untold,
            place_of_key,
        });
    }

    /// The stream forgot the first records of a shard; how many of them nobody had read.
    pub(crate) fn trimmed(&mut self, shard: &str, count: usize, is_untold: bool) -> usize {
        let records = &self.shards[shard].line.records[..count];
        let mut lost = 0;
        for record in records {
            let record = &mut self.records[*record];
            lost += usize::from(!record.trimmed && record.is_lost());
            record.trimmed = true;
            record.is_untold |= is_untold;
        }
        lost
    }

    /// How many records a shard has.
    pub(crate) fn count(&self, shard: &str) -> usize {
        self.shards[shard].line.records.len()
    }

    /// The sequence number of one of a shard's records.
    pub(crate) fn sequence(&self, shard: &str, place: usize) -> &SequenceNumber {
        &self.records[self.shards[shard].line.records[place]].sequence
    }

    pub(crate) fn record(&self, sequence: &str) -> Option<&Record> {
        self.by_sequence.get(sequence).map(|place| &self.records[*place])
    }

    pub(crate) fn is_closed(&self, shard: &str) -> bool {
        self.shards[shard].is_closed
    }

    /// The event of a record came. It is not the first one; what is wrong about it.
    pub(crate) fn published(&mut self, sequence: &str) -> (bool, Option<String>) {
        let Some(place) = self.by_sequence.get(sequence).copied() else {
            return (false, Some(format!("{sequence} was never written")));
        };
        let record = &mut self.records[place];
        record.published += 1;
        let again = record.published > 1;
        let (at, is_skipped) = (record.place_of_key, record.skipped);
        let key = self.keys.get_mut(&self.records[place].id).unwrap();
        key.settle(&self.records);
        let record = &self.records[place];
        if is_skipped {
            return (again, Some(format!("{record:?} is older than what was asked for")));
        }
        if key.settled <= at {
            let earlier = &self.records[key.records[key.settled]];
            return (again, Some(format!("{record:?} came before {earlier:?}")));
        }
        let parent = self.shards[&record.shard].parent.clone();
        let unread = parent.filter(|parent| self.shards.contains_key(parent)).and_then(|parent| {
            let parent = self.shards.get_mut(&parent).unwrap();
            parent.line.settle(&self.records);
            parent.line.records.get(parent.line.settled).copied()
        });
        let record = &self.records[place];
        (
            again,
            unread.map(|unread| format!("{record:?} came before its parent's {:?}", self.records[unread])),
        )
    }

    /// A gap was told of; what is wrong about it.
    pub(crate) fn gap(&mut self, gap: &GapRow) -> Option<String> {
        let shard = self.shards.get_mut(&gap.shard)?;
        shard.gaps.retain(|known| known.after != gap.after);
        shard.gaps.push(gap.clone());
        let within = |record: &&usize| covers(gap, &self.records[**record].sequence);
        let kept = shard.line.records.iter().filter(within).find(|record| !self.records[**record].trimmed);
        // Where it ends is told when that is read.
        let kept = kept.filter(|_| gap.before.is_some());
        kept.map(|kept| format!("{gap:?} says that {:?} is lost", self.records[*kept]))
    }

    /// Everything of a shard up to a number is said to be done; what is wrong about that.
    pub(crate) fn covered(
        &mut self,
        shard: &str,
        up_to: Option<&SequenceNumber>,
        is_written: impl Fn(&Record) -> bool,
    ) -> Option<String> {
        let shard = self.shards.get_mut(shard).unwrap();
        while let Some(place) = shard.line.records.get(shard.covered) {
            let record = &self.records[*place];
            if up_to.is_some_and(|at| record.sequence > *at) {
                break;
            }
            let is_done = record.skipped || record.published > 0 && is_written(record);
            let is_told = || shard.gaps.iter().any(|gap| covers(gap, &record.sequence));
            if !is_done && !(record.trimmed && (record.is_untold || is_told())) {
                return Some(format!("{record:?} is not done, and no gap tells: {:?}", shard.gaps));
            }
            shard.covered += 1;
        }
        None
    }

    /// What is said to be done above a checkpoint; what is wrong about that.
    pub(crate) fn acknowledged(&self, shard: &str, acks: &Acks) -> Option<String> {
        let shard = &self.shards[shard];
        let open = shard.line.records[shard.covered..].iter().map(|place| &self.records[*place]);
        let mut wrong = open.filter(|record| acks.covers(&record.sequence) && !record.is_settled());
        wrong.next().map(|record| format!("{record:?} is acknowledged: {}", acks.to_text()))
    }

    /// A record of a shard that consumers know, of which nothing is known yet.
    pub(crate) fn unsettled(&mut self, is_known: impl Fn(&str) -> bool) -> Option<&Record> {
        let mut found = None;
        for (name, shard) in &mut self.shards {
            shard.line.settle(&self.records);
            if is_known(name) {
                found = found.or(shard.line.records.get(shard.line.settled).copied());
            }
        }
        found.map(|place| &self.records[place])
    }

    /// What is wrong in the end: what is lost and no gap says so, and a gap that never ended although more was read.
    pub(crate) fn untold(&self, is_known: impl Fn(&str) -> bool) -> Option<String> {
        for (_, shard) in self.shards.iter().filter(|(name, _)| is_known(name)) {
            let records = || shard.line.records.iter().map(|place| &self.records[*place]);
            let told = |record: &Record| shard.gaps.iter().any(|gap| covers(gap, &record.sequence));
            if let Some(lost) =
                records().find(|record| record.is_lost() && !record.is_untold && !told(record))
            {
                return Some(format!("{lost:?} is lost, and no gap tells: {:?}", shard.gaps));
            }
            for gap in shard.gaps.iter().filter(|gap| gap.before.is_none()) {
                if let Some(kept) = records().find(|it| covers(gap, &it.sequence) && !it.trimmed) {
                    return Some(format!("{gap:?} has no end, and {kept:?} came after it"));
                }
            }
        }
        None
    }

    /// What is wrong with the rows, each given by its version and its number: each has to be what the newest record of its
    /// item makes of it that was not lost.
    pub(crate) fn differs(&self, row: impl Fn(&str) -> Option<(String, Option<u64>)>) -> Option<String> {
        self.keys.iter().find_map(|(id, line)| {
            let row = row(id);
            let done = row.as_ref().and_then(|(version, _)| self.by_sequence.get(version));
            let records = line.records.iter();
            let newest = records.rev().find(|place| self.records[**place].is_kept() || Some(*place) == done);
            let has_to_be = newest.map(|place| &self.records[*place]);
            let is_so =
                newest == done && has_to_be.and_then(|it| it.number) == row.as_ref().and_then(|it| it.1);
            (!is_so).then(|| format!("row {id} is {row:?} and has to be {has_to_be:?}"))
        })
    }
}

/// Whether a gap says that a record is lost.
fn covers(gap: &GapRow, sequence: &SequenceNumber) -> bool {
    let number = |text: &String| SequenceNumber::new(text).unwrap();
    gap.after.as_ref().is_none_or(|after| number(after) < *sequence)
        && gap.before.as_ref().is_none_or(|before| *sequence < number(before))
}
