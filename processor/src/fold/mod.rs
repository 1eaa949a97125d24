//! Folds what source items contribute into the rows that they share, in as few transactions as they fit into.
//!
//! The ledger decides: a transaction takes back what the ledger says an item contributed, and adds what it contributes
//! now, on the condition that the ledger still says so and is older. The first attempt guesses what the ledger holds, so
//! the common case reads nothing; a wrong guess is answered with the row, and the next attempt knows.

/// From the items of one transaction to its actions.
mod actions;
/// One source item.
mod entry;
/// What became of a transaction that was refused.
mod judge;
/// Source items into transactions.
mod pack;
/// What the statistics of a totals row rest on.
mod survey;
/// How many bytes DynamoDB counts.
mod weight;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use millstream_projections::fold::Rules;
use millstream_projections::{KeyDigest, Projection, ProjectionName};

use self::actions::{Emptied, Owner, actions};
use self::entry::Entry;
use self::pack::{Chunk, Packed, pack};
use self::survey::{Survey, survey};
use crate::apply::{Broken, Ended, Tally};
use crate::clock::Deadline;
use crate::lanes::{FoldLane, Unit};
use crate::outcome::{Fault, Verdict};
use crate::retry::{RetryPolicy, Waits};
use crate::sink::fold::{Action, Commit, FoldSink};

/// Performs the folds of one batch.
pub struct Folder<'a> {
    /// Where contributions are kept.
    pub sink: &'a dyn FoldSink,
    /// The projections of the batch's source.
    pub projections: &'a [Arc<dyn Projection>],
    /// How often a transaction is tried.
    pub retry: &'a RetryPolicy,
    /// How many transactions of one projection run side by side.
    pub concurrency: usize,
    /// Until when.
    pub deadline: Deadline,
    /// What this deployment lacks, as far as this batch has met it.
    pub broken: &'a Broken,
    /// The shared rows written so far.
    pub tally: &'a Tally,
    /// Totals rows that are being written.
    pub rows: Rows,
}

/// One transaction at a time for each totals row: two would only conflict.
#[derive(Debug, Default)]
pub struct Rows {
    busy: Mutex<HashMap<Vec<u8>, Arc<tokio::sync::Mutex<()>>>>,
}

/// What became of the items of some transactions.
#[derive(Default)]
struct Round {
    ended: Vec<(Unit, Ended)>,
    again: Vec<Entry>,
    /// Whether another writer was at a totals row in the same moment.
    is_contended: bool,
}

impl Folder<'_> {
    /// Folds all lanes and tells what became of each change.
    pub async fn run(&self, lanes: Vec<FoldLane>) -> Vec<(Unit, Ended)> {
        let lanes = lanes.into_iter().map(|lane| self.lane(lane));
        futures_util::future::join_all(lanes).await.into_iter().flatten().collect()
    }

    /// Folds the items of one projection, round by round, until each is done.
    async fn lane(&self, lane: FoldLane) -> Vec<(Unit, Ended)> {
        let Some(projection) = self.projections.get(lane.projection) else { return Vec::new() };
        let (mut ended, mut waits) = (Vec::new(), None::<Waits>);
        let mut entries: Vec<Entry> = lane.chains.into_iter().map(Entry::new).collect();
        let emptied = Mutex::default();
        while !entries.is_empty() {
            let wanted = entries.iter().filter_map(wanted).collect();
            let fold = Lane { folder: self, projection: projection.name(), emptied: &emptied, wanted };
            let Round { ended: done, again, is_contended } = fold.round(entries).await;
            ended.extend(done);
            entries = again;
            if !is_contended {
                waits = None;
                continue;
            }
            match waits.get_or_insert_with(|| self.retry.start()).next_wait() {
                Some(wait) if self.deadline.allows_start_in(wait) => tokio::time::sleep(wait).await,
                Some(_) | None => {
                    ended.extend(entries.into_iter().flat_map(Entry::gave_up));
                    break;
                }
            }
        }
        ended
    }
}

/// The lookup rows that an item asks for in the end; none where it is about totals.
fn wanted(entry: &Entry) -> Option<(KeyDigest, HashSet<Vec<u8>>)> {
    let (planned, fold) = entry.candidate()?;
    let is_lookup = matches!(*fold.rules, Rules::Lookup { .. });
    is_lookup.then(|| (planned.effect.guard.digest, fold.after.rows().iter().cloned().collect()))
}

/// The folds of one projection.
struct Lane<'a> {
    folder: &'a Folder<'a>,
    projection: &'a ProjectionName,
    emptied: &'a Mutex<Emptied>,
    /// The rows that each item of this round asks for in the end.
    wanted: HashMap<KeyDigest, HashSet<Vec<u8>>>,
}

impl Lane<'_> {
    async fn round(&self, entries: Vec<Entry>) -> Round {
        let Packed { chunks, later, rejected } = pack(entries);
        let mut round = Round { again: later, ..Round::default() };
        for (entry, fault) in rejected {
            self.blame(&mut round, entry, fault).await;
        }
        let mut done = futures_util::stream::iter(chunks)
            .map(|chunk| self.chunk(chunk))
            .buffer_unordered(self.folder.concurrency);
        while let Some(other) = done.next().await {
            round.ended.extend(other.ended);
            round.again.extend(other.again);
            round.is_contended |= other.is_contended;
        }
        round
    }

    async fn chunk(&self, chunk: Chunk) -> Round {
        let _alone = self.folder.rows.acquire(chunk.totals.keys()).await;
        let committed = match self.commit(&chunk).await {
            Ok(committed) => committed,
            Err(fault) if fault.kind.verdict() == Verdict::Letter => {
                return self.one_by_one(chunk, &fault).await;
            }
            Err(fault) => return chunk.failed(&fault),
        };
        match committed {
            Committed::Done => chunk.committed(),
            Committed::Refused(refused) => self.judge(chunk, refused).await,
        }
    }

    /// One of them is at fault, and nobody says which: each gets a transaction of its own.
    async fn one_by_one(&self, chunk: Chunk, fault: &Fault) -> Round {
        let mut round = Round::default();
        for (entry, _) in chunk.entries {
            match entry.alone() {
                Ok(alone) => round.again.push(alone),
                Err(entry) => self.blame(&mut round, entry, fault.clone()).await,
            }
        }
        round
    }

    async fn commit(&self, chunk: &Chunk) -> Result<Committed, Fault> {
        let tables = chunk.tables();
        if let Some(fault) = tables.iter().find_map(|table| self.folder.broken.get(table)) {
            return Err(fault);
        }
        let committed = self.try_commit(chunk).await;
        // Of several tables nobody knows which one it was.
        if let (Err(fault), [table]) = (&committed, &tables[..]) {
            self.folder.broken.note(table, fault);
        }
        committed
    }

    async fn try_commit(&self, chunk: &Chunk) -> Result<Committed, Fault> {
        let Folder { sink, retry, deadline, .. } = self.folder;
        let mut surveys: BTreeMap<Vec<u8>, Survey> = BTreeMap::new();
        for (row, totals) in chunk.totals.iter().filter(|(_, totals)| !totals.values.is_empty()) {
            let read = || survey(*sink, self.projection, chunk.totals_rules(), (row, totals));
            surveys.insert(row.clone(), retry.run(*deadline, "read a totals row", read).await?);
        }
        let emptied = self.emptied.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (owners, actions): (Vec<Owner>, Vec<Action>) =
            actions(chunk, &emptied, &surveys).into_iter().unzip();
        let commit = || sink.commit(self.projection, &actions);
        Ok(match retry.run(*deadline, "fold", commit).await? {
            Commit::Done => {
                let rows = actions.iter().filter_map(Action::row);
                rows.for_each(|row| self.folder.tally.add(&row.table, "fold", 1));
                Committed::Done
            }
            Commit::Refused(refusals) => Committed::Refused(owners.into_iter().zip(refusals).collect()),
        })
    }
}

/// How a transaction ended, by the owners of its actions.
enum Committed {
    Done,
    Refused(Vec<(Owner, crate::sink::fold::Refusal)>),
}

impl Chunk {
    /// The tables of its rows.
    fn tables(&self) -> Vec<Arc<str>> {
        let rows = self.entries.iter().flat_map(|(_, turn)| &turn.touches);
        let mut tables: Vec<Arc<str>> = rows.map(|(_, row, _)| row.table.clone()).collect();
        tables.sort();
        tables.dedup();
        tables
    }

    fn committed(self) -> Round {
        let mut round = Round::default();
        for (entry, turn) in self.entries {
            round.add(entry.committed(turn.ledger));
        }
        round
    }

    fn failed(self, fault: &Fault) -> Round {
        let mut round = Round::default();
        self.entries.into_iter().for_each(|(entry, _)| round.failed(entry, fault.clone()));
        round
    }
}

impl Round {
    fn add(&mut self, outcome: Result<Vec<(Unit, Ended)>, Entry>) {
        match outcome {
            Ok(ended) => self.ended.extend(ended),
            Err(entry) => self.again.push(entry),
        }
    }

    fn failed(&mut self, entry: Entry, fault: Fault) {
        self.take(entry.failed(fault));
    }

    fn take(&mut self, (ended, rest): (Vec<(Unit, Ended)>, Option<Entry>)) {
        self.ended.extend(ended);
        self.again.extend(rest);
    }
}

impl Rows {
    /// Waits until nobody else of this batch writes these rows, which come in one order for all.
    async fn acquire(&self, rows: impl Iterator<Item = &Vec<u8>>) -> Vec<tokio::sync::OwnedMutexGuard<()>> {
        let mut held = Vec::new();
        for row in rows {
            let row = {
                let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
                busy.entry(row.clone()).or_default().clone()
            };
            held.push(row.lock_owned().await);
        }
        held
    }
}
