//! What became of a transaction that was refused: whose fault it was, and what each of its items does next.

use std::collections::HashMap;
use std::sync::PoisonError;

use millstream_projections::item::Key;
use millstream_projections::{Item, KeyDigest};

use super::actions::Owner;
use super::entry::{Entry, Turn};
use super::pack::Chunk;
use super::{Lane, Round};
use crate::ledger::contributed;
use crate::outcome::{Fault, FaultKind, Verdict};
use crate::sink::fold::{Contributed, Refusal, SharedRow};
use crate::sink::stored_owner;

/// What one item met; a later one in this list outweighs an earlier one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Weight {
    Moved,
    Lost,
    Taken,
    Refused,
    Ledger,
    Rejected,
}

/// What one item met.
#[derive(Debug, PartialEq)]
enum Met {
    /// A totals row changed under it.
    Moved,
    /// A lookup row that it would drop is another's.
    Lost(Vec<u8>),
    /// A lookup row that it would write is another's.
    Taken(Vec<u8>, Option<Item>),
    /// A totals row cannot take what all items of the transaction add to it.
    Refused(Fault),
    /// Its ledger row holds something else.
    Ledger(Option<Item>),
    /// It can never be done.
    Rejected(Fault),
}

impl Met {
    fn weight(&self) -> Weight {
        match self {
            Self::Moved => Weight::Moved,
            Self::Lost(_) => Weight::Lost,
            Self::Taken(..) => Weight::Taken,
            Self::Refused(_) => Weight::Refused,
            Self::Ledger(_) => Weight::Ledger,
            Self::Rejected(_) => Weight::Rejected,
        }
    }
}

impl Lane<'_> {
    /// Tells what each item does next. Those that are not to blame simply try again.
    pub(super) async fn judge(&self, chunk: Chunk, refused: Vec<(Owner, Refusal)>) -> Round {
        let mut met: HashMap<usize, Met> = HashMap::new();
        for (owner, refusal) in refused {
            for (place, what) in self.meetings(&chunk, owner, refusal) {
                if met.get(&place).is_none_or(|known| known.weight() < what.weight()) {
                    met.insert(place, what);
                }
            }
        }
        let nobody_is_to_blame = met.is_empty();
        let mut round = Round::default();
        for (place, (entry, turn)) in chunk.entries.into_iter().enumerate() {
            match met.remove(&place) {
                None if nobody_is_to_blame => round.add(entry.again()),
                None => round.again.push(entry),
                Some(Met::Moved) => {
                    round.is_contended = true;
                    round.again.push(entry);
                }
                Some(Met::Lost(row)) => round.add(entry.lost(row)),
                Some(Met::Refused(fault)) => match entry.alone() {
                    Ok(alone) => round.add(alone.again()),
                    Err(entry) => self.blame(&mut round, entry, fault).await,
                },
                Some(Met::Taken(row, item)) => self.taken(&mut round, entry, &turn, (row, item)).await,
                Some(Met::Ledger(row)) => match contributed(row.as_ref()) {
                    Ok(seen) => round.add(entry.met(seen.version.as_ref(), seen.contribution)),
                    Err(damaged) => round.failed(entry, damaged),
                },
                Some(Met::Rejected(fault)) => self.blame(&mut round, entry, fault).await,
            }
        }
        round
    }

    /// Which items a refusal concerns, and what it says to them.
    fn meetings(&self, chunk: &Chunk, owner: Owner, refusal: Refusal) -> Vec<(usize, Met)> {
        let seen = match refusal {
            Refusal::Innocent => return Vec::new(),
            Refusal::Rejected(fault) => {
                return match owner {
                    Owner::Ledger(place) | Owner::Lookup(place, _) => vec![(place, Met::Rejected(fault))],
                    Owner::Totals(row) | Owner::Value(row) => {
                        touching(chunk, &row).map(|place| (place, Met::Refused(fault.clone()))).collect()
                    }
                };
            }
            Refusal::Condition(seen) => seen,
        };
        match owner {
            Owner::Ledger(place) => vec![(place, Met::Ledger(seen))],
            Owner::Lookup(place, row) => {
                let enters = chunk.entries.get(place).is_some_and(|(_, turn)| turn.enters(&row));
                vec![(place, if enters { Met::Taken(row, seen) } else { Met::Lost(row) })]
            }
            Owner::Value(row) => touching(chunk, &row).map(|place| (place, Met::Moved)).collect(),
            Owner::Totals(row) => {
                let mut emptied = self.emptied.lock().unwrap_or_else(PoisonError::into_inner);
                emptied.insert(row.clone(), seen);
                touching(chunk, &row).map(|place| (place, Met::Moved)).collect()
            }
        }
    }

    /// An item alone is at fault, unless the ledger holds something else than was thought: then nobody asked for it.
    pub(super) async fn blame(&self, round: &mut Round, entry: Entry, fault: Fault) {
        let guard = entry.candidate().map(|(planned, _)| planned.effect.guard.clone());
        let Some(guard) = guard.filter(|_| fault.kind.verdict() == Verdict::Letter) else {
            return round.failed(entry, fault);
        };
        match self.contributed(guard.digest).await {
            Ok(seen) => {
                let seen = seen.unwrap_or_default();
                let is_stale = seen.version.as_ref().is_some_and(|seen| *seen >= guard.version);
                match is_stale || seen.contribution != *entry.known() {
                    true => round.add(entry.met(seen.version.as_ref(), seen.contribution)),
                    false => round.failed(entry, fault),
                }
            }
            Err(unknown) => round.failed(entry, unknown),
        }
    }

    async fn contributed(&self, digest: KeyDigest) -> Result<Option<Contributed>, Fault> {
        let read = || self.folder.sink.contributed(self.projection, digest);
        self.folder.retry.run(self.folder.deadline, "read the ledger", read).await
    }

    /// A lookup row that an item asks for is another's. If that one moves away in the same batch, it is free in a moment.
    async fn taken(
        &self,
        round: &mut Round,
        mut entry: Entry,
        turn: &Turn,
        (row, item): (Vec<u8>, Option<Item>),
    ) {
        if !entry.blocked() {
            return round.add(entry.again());
        }
        // Whoever gives it up in this very batch has not come to it yet.
        let owner = item.as_ref().and_then(|item| stored_owner(item, self.projection));
        if owner.and_then(|owner| self.wanted.get(&owner)).is_some_and(|rows| !rows.contains(&row)) {
            return round.again.push(entry);
        }
        let row = turn.touches.iter().find(|(bytes, ..)| *bytes == row).map(|(_, row, _)| row);
        let fault = match row {
            Some(row) => self.clash(row, turn, item.as_ref()).await,
            None => Fault::new(FaultKind::Rejected, "a row that it asks for is another's"),
        };
        match fault.kind.verdict() {
            Verdict::Letter => round.take(entry.clashed(fault)),
            Verdict::Retry | Verdict::Unfinished => round.failed(entry, fault),
        }
    }

    /// The letter of a clash names both owners.
    async fn clash(&self, row: &SharedRow, turn: &Turn, item: Option<&Item>) -> Fault {
        let holder = match item.and_then(|item| stored_owner(item, self.projection)) {
            None => "a row that this projection did not write".to_owned(),
            Some(digest) => match self.contributed(digest).await {
                Ok(owner) => match owner.and_then(|owner| owner.source_key) {
                    Some(key) => format!("the item {}", shown_item(&key)),
                    None => format!("an item that the ledger does not know (digest {digest})"),
                },
                Err(fault) if fault.kind == FaultKind::Rejected => format!("the item with digest {digest}"),
                // Who it is can be asked again: the change is not lettered without a name.
                Err(fault) => return fault,
            },
        };
        Fault::new(
            FaultKind::Rejected,
            format!(
                "projection {}: the lookup row {} of table {} belongs to {holder}; the item {} asks for it too",
                self.projection,
                shown(&row.key),
                row.table,
                shown_item(&turn.ledger.source_key),
            ),
        )
    }
}

/// The items of a chunk that change a totals row.
fn touching<'a>(chunk: &'a Chunk, row: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let touches = move |turn: &Turn| turn.touches.iter().any(|(bytes, ..)| bytes == row);
    chunk.entries.iter().enumerate().filter(move |(_, (_, turn))| touches(turn)).map(|(place, _)| place)
}

fn shown(key: &Key) -> String {
    serde_json::to_string(key).unwrap_or_default()
}

fn shown_item(key: &Item) -> String {
    let key: Key = key.iter().map(|(name, value)| (name.as_str().into(), value.clone())).collect();
    shown(&key)
}
