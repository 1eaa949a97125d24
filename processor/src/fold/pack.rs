//! Packs source items into transactions: as many as fit, those of one totals row together.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use millstream_projections::Value;
use millstream_projections::decimal::DecimalError;
use millstream_projections::fold::sort_key;

use super::entry::{Entry, Touch, Turn};
use super::weight::{weigh, weigh_contribution};
use crate::outcome::{Fault, FaultKind};
use crate::sink::fold::{Action, MAX_ACTIONS, MAX_BYTES, Numbers, SharedRow};

/// What an action counts beside its values: names, expressions and what DynamoDB adds to each item.
const ACTION_BYTES: usize = 512;
/// The most bytes of what an item contributes: DynamoDB's rows hold 400 KB, and the ledger's has a little more in it.
const LEDGER_BYTES: usize = 380 * 1024;

/// One transaction.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) entries: Vec<(Entry, Turn)>,
    /// The totals rows that they change, merged.
    pub(super) totals: BTreeMap<Vec<u8>, TotalsRow>,
    lookups: usize,
    bytes: usize,
}

/// What all items of a transaction together change in one totals row.
#[derive(Debug, Clone)]
pub(super) struct TotalsRow {
    pub(super) row: SharedRow,
    pub(super) add: Numbers,
    /// By column and order: the value, and how many items more have it.
    pub(super) values: BTreeMap<(Arc<str>, Vec<u8>), (Value, i64)>,
    /// Whether an item is counted in it that was not before.
    pub(super) is_entered: bool,
}

/// What can be done at once, what has to wait for it, and what can never be done.
#[derive(Default)]
pub(super) struct Packed {
    pub(super) chunks: Vec<Chunk>,
    pub(super) later: Vec<Entry>,
    pub(super) rejected: Vec<(Entry, Fault)>,
}

/// Packs items into transactions that can run at once: no lookup row is in two of them. Totals rows can be, since the
/// contributions of different items add up in any order.
pub(super) fn pack(entries: Vec<Entry>) -> Packed {
    let mut packed = Packed::default();
    let mut turns = Vec::with_capacity(entries.len());
    for mut entry in entries {
        match entry.turn() {
            Ok(_) if entry.weight() > LEDGER_BYTES => packed.rejected.push((entry, Misfit::Ledger.fault())),
            Ok(Some(turn)) => turns.push((entry, turn)),
            Ok(None) => {
                entry.skip();
                packed.later.push(entry);
            }
            Err(fault) => packed.rejected.push((entry, fault)),
        }
    }
    // Items of one totals row stand side by side; what touches none keeps the order in which it came.
    turns.sort_by_cached_key(|(_, turn)| turn.totals_rows());
    let mut taken: HashSet<Vec<u8>> = HashSet::new();
    for (entry, turn) in turns {
        let lookups: Vec<_> = turn.lookup_rows().collect();
        if lookups.iter().any(|row| taken.contains(*row)) {
            packed.later.push(entry);
            continue;
        }
        taken.extend(lookups.into_iter().cloned());
        packed.place(entry, turn);
    }
    packed
}

impl Packed {
    fn place(&mut self, mut entry: Entry, turn: Turn) {
        if let Some(last) = self.chunks.last_mut()
            && !entry.is_alone()
            && !last.is_for_one()
            && let Ok(merged) = last.with(&turn)
        {
            return last.take(entry, turn, merged);
        }
        let mut chunk = Chunk::default();
        match chunk.with(&turn) {
            Ok(merged) => {
                chunk.take(entry, turn, merged);
                self.chunks.push(chunk);
            }
            // What it had and what it has may be fine one by one.
            Err(Misfit::Number(..)) if entry.part() => self.later.push(entry),
            Err(misfit) => self.rejected.push((entry, misfit.fault())),
        }
    }
}

/// Why an item does not fit into a transaction.
#[derive(Debug, thiserror::Error)]
enum Misfit {
    #[error("its rows and values are more than the {MAX_ACTIONS} actions of one transaction")]
    Actions,
    #[error("its rows are larger than one transaction may be")]
    Bytes,
    #[error("what it contributes is larger than a row of the ledger can be (400 KB)")]
    Ledger,
    #[error("what changes in attribute `{0}` of its totals row {1}")]
    Number(Arc<str>, DecimalError),
    #[error("a value of its totals row can be no sort key: {0}")]
    Value(String),
}

impl Misfit {
    fn fault(&self) -> Fault {
        Fault::new(FaultKind::Rejected, self.to_string())
    }
}

impl Chunk {
    fn is_for_one(&self) -> bool {
        self.entries.first().is_some_and(|(entry, _)| entry.is_alone())
    }

    /// The totals rows as they would be with this turn too.
    fn with(&self, turn: &Turn) -> Result<Vec<(Vec<u8>, TotalsRow)>, Misfit> {
        let mut merged: Vec<(Vec<u8>, TotalsRow)> = Vec::new();
        for (bytes, row, touch) in &turn.touches {
            let Touch::Totals { delta, values, enters } = touch else { continue };
            let known = self.totals.get(bytes).cloned();
            let mut totals = known.unwrap_or_else(|| TotalsRow {
                row: row.clone(),
                add: Numbers::new(),
                values: BTreeMap::new(),
                is_entered: false,
            });
            totals.is_entered |= enters;
            totals.add(delta, values)?;
            merged.push((bytes.clone(), totals));
        }
        let rows = |totals: &TotalsRow| 1 + totals.values.len();
        let others = self.totals.iter().filter(|(bytes, _)| merged.iter().all(|(other, _)| other != *bytes));
        let totals: usize =
            others.map(|(_, totals)| rows(totals)).chain(merged.iter().map(|(_, totals)| rows(totals))).sum();
        if self.entries.len() + 1 + self.lookups + turn.lookup_rows().count() + totals > MAX_ACTIONS {
            return Err(Misfit::Actions);
        }
        if self.bytes + turn.bytes() > MAX_BYTES && !self.entries.is_empty() {
            return Err(Misfit::Bytes);
        }
        Ok(merged)
    }

    fn take(&mut self, entry: Entry, turn: Turn, merged: Vec<(Vec<u8>, TotalsRow)>) {
        self.lookups += turn.lookup_rows().count();
        self.bytes += turn.bytes();
        self.totals.extend(merged);
        self.entries.push((entry, turn));
    }
}

impl TotalsRow {
    fn add(&mut self, delta: &Numbers, values: &[(Arc<str>, Value, i64)]) -> Result<(), Misfit> {
        for (name, number) in delta {
            let sum = self.add.entry(name.clone()).or_default();
            *sum += number;
            sum.to_number().map_err(|error| Misfit::Number(name.clone(), error))?;
        }
        for (column, value, items) in values {
            let order = sort_key(value).map_err(|error| Misfit::Value(error.to_string()))?;
            let place = (column.clone(), order);
            let known = self.values.entry(place.clone()).or_insert_with(|| (value.clone(), 0));
            known.1 += items;
            if known.1 == 0 {
                self.values.remove(&place);
            }
        }
        Ok(())
    }
}

impl Turn {
    fn totals_rows(&self) -> Vec<Vec<u8>> {
        let totals = self.touches.iter().filter(|(.., touch)| matches!(touch, Touch::Totals { .. }));
        totals.map(|(row, ..)| row.clone()).collect()
    }

    fn lookup_rows(&self) -> impl Iterator<Item = &Vec<u8>> {
        let lookups = self.touches.iter().filter(|(.., touch)| matches!(touch, Touch::Lookup(_)));
        lookups.map(|(row, ..)| row)
    }

    fn bytes(&self) -> usize {
        let items = self.touches.iter().map(|(row, _, touch)| match touch {
            Touch::Lookup(Action::PutLookup { item, .. }) => ACTION_BYTES + row.len() + weigh(item),
            Touch::Lookup(_) | Touch::Totals { .. } => ACTION_BYTES + row.len(),
        });
        let ledger = weigh_contribution(&self.ledger.seen) + weigh_contribution(&self.ledger.next);
        ACTION_BYTES + ledger + items.sum::<usize>()
    }
}
