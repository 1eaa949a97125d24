//! Sees everything that the workers do, and says what must not be.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use millstream_processor::poller::state::{Checkpoint, GapRow, Held, Session, ShardRow, ShardState};
use millstream_processor::projections::version::SequenceNumber;
use tokio::time::Instant;

use crate::books::Books;
use crate::memory_state::MemoryState;
use crate::network::{Channel, Wires};
use crate::sink::Rows;

/// How many of the last lines are told when a run fails; a run that is replayed tells all of them as they come.
const LINES: usize = 60;

/// A write to a shard's row, and since when its writer says to own the shard.
#[derive(Debug)]
pub(crate) enum Write {
    Claim,
    HandOver(u64),
    Checkpoint(u64),
    End(u64),
    Gap(u64, GapRow),
}

/// The judge of one run.
pub(crate) struct Judge {
    pub(crate) stream: Arc<str>,
    table: MemoryState,
    rows: Arc<Rows>,
    ttl: Duration,
    started: Instant,
    case: Mutex<Case>,
}

/// What is known of a run.
#[derive(Default)]
pub(crate) struct Case {
    pub(crate) books: Books,
    pub(crate) wires: HashMap<Session, Arc<Wires>>,
    /// How often what happened.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// Shards by their owners, as they were when these got them.
    begun: HashMap<(Arc<str>, u64), ShardRow>,
    /// Shards that were said to be read to their end.
    ended: HashSet<Arc<str>>,
    /// How often whom published what was published before.
    pub(crate) again: BTreeMap<Session, u64>,
    /// The first thing that must not be.
    pub(crate) accusation: Option<String>,
    lines: VecDeque<String>,
    /// Stands for all lines that there ever were.
    pub(crate) digest: u64,
}

impl Judge {
    pub(crate) fn new(stream: &str, table: MemoryState, rows: Arc<Rows>, ttl: Duration) -> Arc<Self> {
        Arc::new(Self {
            stream: stream.into(),
            table,
            rows,
            ttl,
            started: Instant::now(),
            case: Mutex::default(),
        })
    }

    pub(crate) fn case(&self) -> MutexGuard<'_, Case> {
        self.case.lock().unwrap()
    }

    /// Notes what happened; all notes of a run are the same whenever its seed is run.
    pub(crate) fn note(&self, line: &str) {
        let mut case = self.case();
        let at = self.started.elapsed();
        let line = format!("{:>7}.{:03} {line}", at.as_secs(), at.subsec_millis());
        for byte in line.bytes() {
            case.digest = (case.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        if case.lines.len() == LINES {
            case.lines.pop_front();
        }
        tracing::info!("{line}");
        case.lines.push_back(line);
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.case().counts.entry(what).or_default() += 1;
    }

    pub(crate) fn accuse(&self, what: String) {
        self.note(&format!("WRONG: {what}"));
        self.case().accusation.get_or_insert(what);
    }

    /// The last lines, for whoever looks into a failure.
    pub(crate) fn lines(&self) -> String {
        self.case().lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The stream forgot the first records of a shard; how many of them nobody had read.
    pub(crate) fn trimmed(&self, shard: &str, count: usize) -> usize {
        let row = self.table.row(&self.stream, shard);
        let is_begun =
            row.is_some_and(|row| matches!(row.checkpoint, Checkpoint::From(_) | Checkpoint::After(_)));
        self.case().books.trimmed(shard, count, !is_begun)
    }

    /// A worker begins to write something of a record. Nobody but the shard's owner may, and nobody when it has ended.
    pub(crate) fn begins(&self, session: &Session, sequence: &str) {
        let (shard, wires) = {
            let case = self.case();
            let shard = case.books.record(sequence).map(|record| record.shard.clone());
            (shard, case.wires.get(session).cloned())
        };
        let Some(shard) = shard else { return self.accuse(format!("{sequence} was never written")) };
        // Who is frozen does nothing by itself: what it begins here, it began before.
        if wires.is_none_or(|wires| wires.weather().frozen) {
            return;
        }
        let row = self.table.row(&self.stream, &shard);
        let is_owner = row.as_ref().is_some_and(|row| row.owner.as_ref() == Some(session));
        if !is_owner {
            return self
                .accuse(format!("{session} writes {sequence} of a shard that it does not own: {row:?}"));
        }
        let Some(row) = row else { return };
        if row.state != ShardState::Open || self.case().ended.contains(&shard) {
            self.accuse(format!("{session} writes {sequence} of a shard that has ended: {row:?}"));
        }
        let number = SequenceNumber::new(sequence).unwrap();
        let begun = self.case().begun.get(&(shard, row.epoch)).cloned();
        if begun.is_some_and(|begun| begun.acks.covers(&number) || sequence_of(&begun) >= Some(number)) {
            self.accuse(format!(
                "{session} writes {sequence}, which was done when it took the shard: {row:?}"
            ));
        }
    }

    /// The event of a record came to the topic.
    pub(crate) fn published(&self, session: &Session, sequence: &str) {
        let (again, wrong) = self.case().books.published(sequence);
        self.count(if again { "published again" } else { "published" });
        *self.case().again.entry(session.clone()).or_default() += u64::from(again);
        self.note(&format!("{session} published {}", sequence.trim_start_matches('0')));
        if let Some(wrong) = wrong {
            self.accuse(wrong);
        }
    }

    /// A write to a shard's row was decided.
    pub(crate) fn wrote(
        &self,
        session: &Session,
        what: &Write,
        before: Option<ShardRow>,
        after: Option<ShardRow>,
        held: Held,
    ) {
        self.note(&format!("{session} {what:?}: {held:?}, {}", text(after.as_ref())));
        self.count(what.name(held));
        let (Some(before), Some(after)) = (before, after) else {
            // A row that expired is gone.
            return;
        };
        if held == Held::Lost {
            if before != after {
                self.accuse(format!("{session} was refused {what:?}, and wrote {after:?} over {before:?}"));
            }
            return;
        }
        if before.state == ShardState::Ended && after.state != ShardState::Ended {
            self.accuse(format!("{session} brought an ended shard back: {after:?}"));
        }
        if let Some(wrong) = self.owner(&before, &after) {
            self.accuse(format!("{session}, {what:?}: {wrong}"));
        }
        let wrong = match what {
            Write::Claim => self.claimed(session, &before, &after),
            Write::HandOver(epoch) if before.epoch == *epoch => self.is_owner(session, *epoch, &before),
            // It was done the first time.
            Write::HandOver(_) => None,
            Write::Checkpoint(epoch) => {
                self.is_owner(session, *epoch, &before).or_else(|| self.checkpoint(&before, &after))
            }
            Write::End(epoch) => self.is_owner(session, *epoch, &before).or_else(|| self.ended(&after)),
            Write::Gap(epoch, gap) if before.epoch == *epoch => {
                self.is_owner(session, *epoch, &before).or_else(|| self.case().books.gap(gap))
            }
            Write::Gap(..) => None,
        };
        if let Some(wrong) = wrong {
            self.accuse(format!("{session}, {what:?}: {wrong}"));
        }
    }

    /// Of each epoch a shard has one owner, and there is no way back.
    fn owner(&self, before: &ShardRow, after: &ShardRow) -> Option<String> {
        if after.epoch < before.epoch {
            return Some(format!("back to {after:?} from {before:?}"));
        }
        let owner = after.owner.as_ref()?;
        let mut case = self.case();
        let begun = case.begun.entry((after.shard.clone(), after.epoch)).or_insert_with(|| after.clone());
        let first = begun.owner.clone();
        (first.as_ref() != Some(owner))
            .then(|| format!("{owner} and {first:?} had the shard at once: {after:?}"))
    }

    fn is_owner(&self, session: &Session, epoch: u64, row: &ShardRow) -> Option<String> {
        let is_owner = row.owner.as_ref() == Some(session) && row.epoch == epoch;
        (!is_owner).then(|| format!("accepted, although the shard is another's: {row:?}"))
    }

    /// A shard was taken: from nobody, or from one that was away for a while.
    fn claimed(&self, session: &Session, before: &ShardRow, after: &ShardRow) -> Option<String> {
        if before == after {
            return None;
        }
        if after.owner.as_ref() != Some(session) || after.epoch != before.epoch + 1 {
            return Some(format!("{after:?} after {before:?}"));
        }
        let owner = before.owner.as_ref().filter(|owner| *owner != session)?;
        self.count("taken over");
        let is_there = self.table.is_there(owner);
        (is_there && self.is_well(owner)).then(|| format!("{owner} lives, and was taken for dead"))
    }

    /// A row of a shard was added, if it was not there.
    pub(crate) fn added(&self, session: &Session, row: &ShardRow) {
        let parent = row.parent.as_deref().unwrap_or("nothing");
        self.note(&format!("{session} adds {}, which follows {parent}", text(Some(row))));
    }

    /// A worker's row was removed by another.
    pub(crate) fn swept(&self, by: &Session, session: &Session) {
        self.note(&format!("{by} sweeps {session}"));
        self.count("swept");
        if self.is_well(session) {
            self.accuse(format!("{session} lives, and {by} removed its row"));
        }
    }

    /// Whether nobody may take a worker for dead.
    fn is_well(&self, session: &Session) -> bool {
        let wires = self.case().wires.get(session).cloned();
        wires.is_none_or(|wires| {
            let was_well = wires.troubled_at(Channel::State).is_none_or(|at| at.elapsed() > self.ttl);
            // Who is about to stop beats no more.
            let beats = wires.weather().told_at.is_none_or(|at| at.elapsed() < self.ttl);
            wires.weather().is_well() && was_well && beats
        })
    }

    fn checkpoint(&self, before: &ShardRow, after: &ShardRow) -> Option<String> {
        let (old, new) = (sequence_of(before), sequence_of(after));
        if old > new {
            return Some(format!("back to {:?} from {:?}", after.checkpoint, before.checkpoint));
        }
        let mut case = self.case();
        let passed = new.and_then(|new| self.covered(&mut case, after, Some(&new)));
        passed.or_else(|| case.books.acknowledged(&after.shard, &after.acks))
    }

    fn ended(&self, row: &ShardRow) -> Option<String> {
        let mut case = self.case();
        if !case.books.is_closed(&row.shard) {
            return Some("the shard is open".to_owned());
        }
        case.ended.insert(row.shard.clone());
        self.covered(&mut case, row, None)
    }

    fn covered(&self, case: &mut Case, row: &ShardRow, up_to: Option<&SequenceNumber>) -> Option<String> {
        let is_written = |record: &crate::books::Record| {
            self.rows.row(&record.id).is_some_and(|(at, _)| *at >= *record.sequence.as_str())
        };
        case.books.covered(&row.shard, up_to, is_written)
    }
}

impl Write {
    fn name(&self, held: Held) -> &'static str {
        match (self, held) {
            (Self::Claim, Held::Done) => "claim",
            (Self::HandOver(_), Held::Done) => "hand over",
            (Self::Checkpoint(_), Held::Done) => "checkpoint",
            (Self::End(_), Held::Done) => "end",
            (Self::Gap(..), Held::Done) => "gap",
            (Self::Claim, Held::Lost) => "claim refused",
            (_, Held::Lost) => "write refused",
        }
    }
}

/// Up to where a shard is done.
fn sequence_of(row: &ShardRow) -> Option<SequenceNumber> {
    match &row.checkpoint {
        Checkpoint::After(text) => SequenceNumber::new(text).ok(),
        Checkpoint::TrimHorizon | Checkpoint::Since(_) | Checkpoint::From(_) => None,
    }
}

/// A row in one line.
fn text(row: Option<&ShardRow>) -> String {
    row.map_or("no row".to_owned(), |row| {
        let owner = row.owner.as_ref().map_or("nobody", |owner| &owner.0);
        let shard = &row.shard[row.shard.len().saturating_sub(13)..];
        let at = match &row.checkpoint {
            Checkpoint::After(at) => at.trim_start_matches('0'),
            Checkpoint::TrimHorizon => "oldest",
            Checkpoint::From(_) => "first",
            Checkpoint::Since(_) => "since",
        };
        format!("{shard} {:?} {owner} epoch {} at {at} acks {}", row.state, row.epoch, row.acks.to_text())
    })
}
