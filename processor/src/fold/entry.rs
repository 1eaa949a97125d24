//! One source item in one projection: what is known of its ledger row, and what is to become of it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use millstream_projections::effect::Write;
use millstream_projections::fold::{Beside, Contribution, Fold, Part, Rules, SameRow, Share, Totals};
use millstream_projections::item::Key;
use millstream_projections::{Item, Value, Version};

use super::weight::{weigh, weigh_contribution};
use crate::apply::Ended;
use crate::lanes::{Chain, Planned, Unit};
use crate::outcome::{Applied, Fault, FaultKind, Verdict};
use crate::sink::fold::{Action, LedgerMove, MAX_ACTIONS, MAX_BYTES, Numbers, SharedRow};

/// The most shared rows that one source item changes in one transaction: room is left for its ledger row.
const MAX_ROWS: usize = MAX_ACTIONS - 1;
/// So often an item's own actions may be refused before it waits for another delivery.
const LOOKS: u32 = 16;

/// How far an item is with rows that others hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// All at once.
    All,
    /// It met a row of another: it gives up what it leaves, so that items that swap their rows do not wait for each other.
    Leave,
    /// It gave up what it leaves; a row that is another's now is a clash.
    Enter,
    /// It gives up everything: what it had and what it has now do not fit into one difference.
    Apart,
    /// A newer change of it met a row of another: nothing changes but the version that the ledger knows.
    Version,
}

/// One source item.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its changes that are not done, newest first. Never empty; the first one is tried.
    candidates: VecDeque<Planned>,
    /// What the ledger holds: a guess at first, then what was seen.
    known: Contribution,
    step: Step,
    /// Whether it has a transaction of its own, so that it is known whose fault it is.
    alone: bool,
    /// How often its own actions were refused.
    looks: u32,
    /// Lookup rows that are another's by now: they are not this item's to drop.
    lost: HashSet<Vec<u8>>,
}

/// What an entry does to one shared row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Touch {
    /// Numbers are added, and items more or fewer have a value of a column.
    Totals {
        delta: Numbers,
        values: Vec<(Arc<str>, Value, i64)>,
        /// Whether the item was not counted in the row before.
        enters: bool,
    },
    /// A lookup row is written or dropped.
    Lookup(Action),
}

/// What an entry asks for in one transaction.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) ledger: LedgerMove,
    /// By row.
    pub(super) touches: Vec<(Vec<u8>, SharedRow, Touch)>,
}

impl Entry {
    /// The item of a chain; its effects are all folds.
    pub(super) fn new(chain: Chain) -> Self {
        let candidates = VecDeque::from(chain.newest_first);
        let known = candidates.front().and_then(fold).map(|fold| fold.guess.clone()).unwrap_or_default();
        Self { candidates, known, step: Step::All, alone: false, looks: 0, lost: HashSet::new() }
    }

    /// The change that is tried, if it is a fold.
    pub(super) fn candidate(&self) -> Option<(&Planned, &Fold)> {
        let planned = self.candidates.front()?;
        Some((planned, fold(planned)?))
    }

    /// How many bytes it contributes.
    pub(super) fn weight(&self) -> usize {
        self.candidate().map_or(0, |(_, fold)| weigh_contribution(&fold.after))
    }

    /// What the ledger holds of it, as far as is known.
    pub(super) fn known(&self) -> &Contribution {
        &self.known
    }

    /// What it asks for now; `None` if nothing of it is left to do in this step.
    pub(super) fn turn(&self) -> Result<Option<Turn>, Fault> {
        let Some((planned, fold)) = self.candidate() else { return Ok(None) };
        let mut turn = Turn { touches: Vec::new(), ledger: self.ledger(planned, fold) };
        let mut next: Vec<Share> = Vec::new();
        let mut bytes = 0;
        let nothing = Contribution::default();
        let aim = match self.step {
            Step::All | Step::Leave | Step::Enter => &fold.after,
            Step::Apart => &nothing,
            Step::Version => &self.known,
        };
        for Beside { row, before, after, place } in self.known.beside(aim) {
            if before == after {
                next.extend(after.cloned());
                continue;
            }
            // A row that changes its kind is left first.
            let changes_kind = matches!((before, after), (Some(b), Some(a)) if !same_kind(b, a));
            let after = after.filter(|_| !changes_kind);
            turn.ledger.done &= !changes_kind;
            let item = after.and(place).and_then(|place| fold.items.get(place));
            bytes += item.map_or(0, weigh);
            let is_full = turn.touches.len() >= MAX_ROWS || (bytes > MAX_BYTES && !turn.touches.is_empty());
            if is_full || (self.step == Step::Leave && after.is_some()) {
                turn.ledger.done = false;
                next.extend(before.cloned());
                continue;
            }
            next.extend(after.cloned());
            let touch = self.touch(planned, fold, row, (before, after), item)?;
            if let (Some(touch), Some(share)) = (touch, after.or(before)) {
                turn.touches.push((row.to_vec(), SharedRow::of(share), touch));
            }
        }
        if turn.touches.is_empty() && matches!(self.step, Step::Leave | Step::Apart) {
            return Ok(None);
        }
        turn.ledger.next = Contribution::new(next).map_err(|SameRow(key)| impossible(&key))?;
        Ok(Some(turn))
    }

    /// The move of its ledger row; what the row holds afterwards is still to be filled in.
    fn ledger(&self, planned: &Planned, fold: &Fold) -> LedgerMove {
        LedgerMove {
            guard: planned.effect.guard.clone(),
            source_key: fold.source_key.clone(),
            seen: self.known.clone(),
            next: Contribution::default(),
            done: self.step != Step::Apart,
        }
    }

    fn touch(
        &self,
        planned: &Planned,
        fold: &Fold,
        row: &[u8],
        (before, after): (Option<&Share>, Option<&Share>),
        item: Option<&Item>,
    ) -> Result<Option<Touch>, Fault> {
        let guard = &planned.effect.guard;
        let adopt = matches!(*fold.rules, Rules::Lookup { unique: false });
        if let Some(Share { part: Part::Lookup { .. }, key, table }) = after {
            let item = item.cloned().ok_or_else(|| impossible(key))?;
            let row = SharedRow { table: table.clone(), key: key.clone() };
            let put = Action::PutLookup { row, item, guard: guard.clone(), adopt };
            return Ok(Some(Touch::Lookup(put)));
        }
        if let Some(share @ Share { part: Part::Lookup { .. }, .. }) = before {
            let drop = Action::DropLookup { row: SharedRow::of(share), digest: guard.digest, adopt };
            return Ok((!self.lost.contains(row)).then_some(Touch::Lookup(drop)));
        }
        Ok(Some(Touch::totals(before.and_then(totals), after.and_then(totals))))
    }

    /// Moves on where this step has nothing to do.
    pub(super) fn skip(&mut self) {
        self.step = match self.step {
            Step::Leave => Step::Enter,
            Step::Apart => Step::All,
            step @ (Step::All | Step::Enter | Step::Version) => step,
        };
    }

    /// Its turn is done. Gives what became of its changes, or itself if something is left to do.
    pub(super) fn committed(mut self, turn: LedgerMove) -> Result<Vec<(Unit, Ended)>, Self> {
        if turn.done {
            return Ok(self.finish(Ended::of(Applied::Written)));
        }
        self.known = turn.next;
        self.looks = 0;
        Err(self)
    }

    /// Its ledger row holds something else.
    pub(super) fn met(
        mut self,
        version: Option<&Version>,
        contribution: Contribution,
    ) -> Result<Vec<(Unit, Ended)>, Self> {
        let stale = self
            .candidates
            .front()
            .is_some_and(|planned| version.is_some_and(|seen| *seen >= planned.effect.guard.version));
        if stale {
            return Ok(self.finish(Ended::of(Applied::Stale)));
        }
        self.known = contribution;
        self.again()
    }

    /// A row that it would drop is another's.
    pub(super) fn lost(mut self, row: Vec<u8>) -> Result<Vec<(Unit, Ended)>, Self> {
        self.lost.insert(row);
        self.again()
    }

    /// A row that it would write is another's: whether that is a clash already.
    pub(super) fn blocked(&mut self) -> bool {
        match self.step {
            Step::All => {
                self.step = Step::Leave;
                false
            }
            Step::Leave | Step::Apart | Step::Version => false,
            Step::Enter => true,
        }
    }

    /// Takes what it had and what it has now apart; `false` if that was done already.
    pub(super) fn part(&mut self) -> bool {
        let parts = self.step == Step::All && !self.known.is_empty();
        if parts {
            self.step = Step::Apart;
        }
        parts
    }

    /// Gives it a transaction of its own; itself if it has that already.
    pub(super) fn alone(self) -> Result<Self, Self> {
        if self.alone { Err(self) } else { Ok(Self { alone: true, ..self }) }
    }

    /// Whether it has to have a transaction of its own.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Counts a refusal; too many are a conflict like any other.
    pub(super) fn again(mut self) -> Result<Vec<(Unit, Ended)>, Self> {
        self.looks += 1;
        if self.looks < LOOKS {
            return Err(self);
        }
        let cause = format!("what it contributes was changed by others {LOOKS} times in a row");
        Ok(self.finish(Ended::Failed(Fault::new(FaultKind::Conflict, cause))))
    }

    /// The change that was tried failed. A rejected one lets the next older one take its place.
    pub(super) fn failed(self, fault: Fault) -> (Vec<(Unit, Ended)>, Option<Self>) {
        if fault.kind.verdict() != Verdict::Letter {
            return (self.finish(Ended::Failed(fault)), None);
        }
        self.next_older(fault, Step::All)
    }

    /// The change that was tried asks for a row of another. The older ones are not true any more: the ledger only learns
    /// their version, so that they change nothing when they come again.
    pub(super) fn clashed(self, fault: Fault) -> (Vec<(Unit, Ended)>, Option<Self>) {
        self.next_older(fault, Step::Version)
    }

    fn next_older(mut self, fault: Fault, step: Step) -> (Vec<(Unit, Ended)>, Option<Self>) {
        let failed = self.candidates.pop_front().map(|planned| (planned.unit, Ended::Failed(fault)));
        (self.step, self.alone, self.looks) = (step, false, 0);
        let rest = (!self.candidates.is_empty()).then_some(self);
        (failed.into_iter().collect(), rest)
    }

    /// It was changed by others for as long as there was time.
    pub(super) fn gave_up(self) -> Vec<(Unit, Ended)> {
        let cause = "the rows that it shares were changed by others for as long as there was time";
        self.finish(Ended::Failed(Fault::new(FaultKind::Conflict, cause)))
    }

    /// What became of the change that was tried, and of the older ones with it.
    fn finish(self, first: Ended) -> Vec<(Unit, Ended)> {
        let rest = match &first {
            Ended::Applied { .. } | Ended::Coalesced => Ended::Coalesced,
            Ended::Failed(_) => first.clone(),
        };
        let ends = std::iter::once(first).chain(std::iter::repeat(rest));
        self.candidates.into_iter().map(|planned| planned.unit).zip(ends).collect()
    }
}

impl Turn {
    /// Whether it writes a lookup row, as opposed to dropping it.
    pub(super) fn enters(&self, row: &[u8]) -> bool {
        let touch = self.touches.iter().find(|(bytes, ..)| bytes == row).map(|(.., touch)| touch);
        matches!(touch, Some(Touch::Lookup(Action::PutLookup { .. })))
    }
}

impl Touch {
    fn totals(before: Option<&Totals>, after: Option<&Totals>) -> Self {
        let mut delta = Numbers::new();
        for (name, number) in after.iter().flat_map(|totals| &totals.add) {
            *delta.entry(name.clone()).or_default() += number;
        }
        for (name, number) in before.iter().flat_map(|totals| &totals.add) {
            *delta.entry(name.clone()).or_default() += &-number;
        }
        let valued = |totals: Option<&Totals>, items: i64| -> Vec<_> {
            let values = totals.iter().flat_map(|totals| &totals.values);
            values.map(|(column, value)| (column.clone(), value.clone(), items)).collect()
        };
        let values = [valued(before, -1), valued(after, 1)].concat();
        Self::Totals { delta, values, enters: before.is_none() }
    }
}

fn fold(planned: &Planned) -> Option<&Fold> {
    match &planned.effect.write {
        Write::Fold(fold) => Some(fold),
        _ => None,
    }
}

fn totals(share: &Share) -> Option<&Totals> {
    match &share.part {
        Part::Totals(totals) => Some(totals),
        Part::Lookup { .. } => None,
    }
}

fn same_kind(a: &Share, b: &Share) -> bool {
    matches!(
        (&a.part, &b.part),
        (Part::Totals(_), Part::Totals(_)) | (Part::Lookup { .. }, Part::Lookup { .. })
    )
}

/// A contribution names each row once, and a fold brings each of its rows along. A projection of somebody's own that
/// does not is at fault with every record.
fn impossible(key: &Key) -> Fault {
    let names: Vec<&str> = key.keys().map(|name| &**name).collect();
    let cause =
        format!("the projection names a row twice, or without its attributes (key {})", names.join(", "));
    Fault::new(FaultKind::Misconfigured, cause)
}
